"""The protocol of a Source of answers, its requests, and the pieces of its answers.

The page of the chat panel encodes requests and pieces as the same JSON.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from pico_jupyter.errors import EngineUnavailable, InvalidRequest
from pico_jupyter.types import MemoryReport

Reasoning: TypeAlias = Literal["default", "on", "off"]
MediaKind: TypeAlias = Literal["image", "video"]


class Attachment(msgspec.Struct, frozen=True):
    """A file that is sent with a message. `data` is a URL for an image or a video, and the text itself for a text."""

    kind: MediaKind | Literal["text"]
    name: str
    data: str


class Turn(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    content: str
    attachments: tuple[Attachment, ...] = ()

    @property
    def text(self) -> str:
        """The attached texts and the content, one paragraph each."""
        texts = [_fenced(attachment) for attachment in self.attachments if attachment.kind == "text"]
        return "\n\n".join(part for part in (*texts, self.content) if part)


class AnswerRequest(msgspec.Struct, frozen=True):
    """A request for one answer.

    With `continues` the model continues the last message. `temperature` is 0 to 2 (None: the model's default),
    `max_tokens` counts reasoning and text (None: no limit but the context), `seed` None is a random seed.
    """

    model: str
    messages: tuple[Turn, ...]
    reasoning: Reasoning = "default"
    system: str = ""
    temperature: float | None = None
    continues: bool = False
    max_tokens: int | None = None
    seed: int | None = None


def read_turns(messages: list[dict[str, Any]]) -> tuple[Turn, ...]:
    """Convert `messages`, dicts with role, content and attachments, to turns. Raises InvalidRequest."""
    try:
        return msgspec.convert(messages, tuple[Turn, ...])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"messages: {error}", param="messages") from None


class _TextlessPiece(msgspec.Struct, frozen=True):
    """A piece with an empty text, so that callers can print the text of every piece."""

    @property
    def text(self) -> str:
        """The empty string."""
        return ""


class ProgressPiece(_TextlessPiece, frozen=True, tag="progress", tag_field="kind"):
    """Progress before the first token: `done` of `total` bytes are loaded, or prompt tokens are prefilled."""

    done: int
    total: int


class ReasoningPiece(msgspec.Struct, frozen=True, tag="reasoning", tag_field="kind"):
    """A part of the reasoning."""

    text: str


class TextPiece(msgspec.Struct, frozen=True, tag="text", tag_field="kind"):
    """A part of the answer's text."""

    text: str


class FinishPiece(_TextlessPiece, frozen=True, tag="finish", tag_field="kind"):
    """The reason why the answer ended, in OpenAI's terms: "stop", "length" or "tool_calls"."""

    reason: str


class Usage(msgspec.Struct, frozen=True, rename="camel"):
    """Token counts. `prompt_tokens` include `cached_tokens`; `completion_tokens` include `reasoning_tokens`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0


class UsagePiece(_TextlessPiece, frozen=True, tag="usage", tag_field="kind"):
    """The token counts of the answer."""

    stats: Usage


Piece: TypeAlias = ProgressPiece | ReasoningPiece | TextPiece | FinishPiece | UsagePiece


class ListedModel(msgspec.Struct, frozen=True):
    """A model on this machine.

    `size` is the size of its files in bytes, `resident` its size in memory (None: not loaded). `parameters` is like
    "2.0M", `quantization` like "4bit". `context` is in tokens.
    """

    name: str
    size: int = 0
    quantization: str = ""
    parameters: str = ""
    capabilities: tuple[str, ...] = ()
    context: int = 0
    resident: int | None = None


class Source(Protocol):
    """Streams answers and manages models. All methods raise PicoError."""

    def chat(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream one answer. Closing the iterator aborts the request."""
        ...

    async def models(self) -> list[ListedModel]:
        """Return the models, in the order of the catalog."""
        ...

    async def memory(self) -> MemoryReport:
        """Return the memory for models: the budget, what is used, and which models fit."""
        ...

    async def load(self, name: str) -> None:
        """Load a model."""
        ...

    async def unload(self, name: str) -> None:
        """Unload a model. A model that is not loaded is no error."""
        ...


def choose_model(models: list[ListedModel], turns: Iterable[Turn] = ()) -> ListedModel:
    """Return the first model that accepts the images and videos of `turns`, for a request without a model.

    If none does, return the first model, whose error message then explains the reason. Raises EngineUnavailable if
    there are no models.
    """
    if not models:
        raise EngineUnavailable("there is no model on this machine")
    kinds = {attachment.kind for turn in turns for attachment in turn.attachments}
    capability = "video" if "video" in kinds else "vision" if "image" in kinds else "completion"
    return next((model for model in models if capability in model.capabilities), models[0])


def _fenced(attachment: Attachment) -> str:
    longest = max((len(run) for run in re.findall("`{3,}", attachment.data)), default=2)
    fence = "`" * (longest + 1)
    return f"{attachment.name}:\n{fence}\n{attachment.data.removesuffix(chr(10))}\n{fence}"
