"""Defines the protocol Source, the requests that a Source answers, and the pieces of an answer.

The chat panel's JavaScript exchanges requests and pieces with Python as JSON of these Structs.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from pico_jupyter.engine_reports import MemoryReport
from pico_jupyter.errors import EngineUnavailable, InvalidRequest

Reasoning: TypeAlias = Literal["default", "on", "off"]
MediaKind: TypeAlias = Literal["image", "video"]


class Attachment(msgspec.Struct, frozen=True):
    """A file that is sent with a message. `data` is the URL of an image or video, or the content of a text file."""

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
        """The attached text files and the content, separated by blank lines."""
        texts = [_fenced(attachment) for attachment in self.attachments if attachment.kind == "text"]
        return "\n\n".join(part for part in (*texts, self.content) if part)


class AnswerRequest(msgspec.Struct, frozen=True):
    """A request for one answer.

    continues: the model continues the last message instead of answering it. temperature: 0 to 2; None: the model's
    default. max_tokens: limit on reasoning and text together; None: only the context limits them. seed: None: random.
    schema: the JSON schema of the answer's text; "": any text.
    """

    model: str
    messages: tuple[Turn, ...]
    reasoning: Reasoning = "default"
    system: str = ""
    temperature: float | None = None
    continues: bool = False
    max_tokens: int | None = None
    seed: int | None = None
    schema: str = ""


def read_turns(messages: list[dict[str, Any]]) -> tuple[Turn, ...]:
    """Convert `messages`, dicts with role, content and attachments, to turns. Raises InvalidRequest."""
    try:
        return msgspec.convert(messages, tuple[Turn, ...])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"messages: {error}", param="messages") from None


class _TextlessPiece(msgspec.Struct, frozen=True):
    """Base of pieces without text. Their `text` is empty, so that callers can print `text` of every piece."""

    @property
    def text(self) -> str:
        """Always the empty string."""
        return ""


class ProgressPiece(_TextlessPiece, frozen=True, tag="progress", tag_field="kind"):
    """Progress before the first token. `done` and `total` count bytes while loading, and prompt tokens in prefill."""

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

    size: bytes of its files. quantization: such as "4bit". parameters: their number, such as "2.0M". context: maximum
    number of tokens. resident: bytes in memory; None: not loaded.
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

    async def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> list[bytes]:
        """Return the vector of each text: 32-bit floats. `dimensions` shortens the vectors. Cancelling aborts it."""
        ...

    async def models(self) -> list[ListedModel]:
        """Return the models, in the order of the catalog."""
        ...

    async def memory(self) -> MemoryReport:
        """Return the memory budget for models, the memory in use, and which models fit."""
        ...

    async def load(self, name: str) -> None:
        """Load a model."""
        ...

    async def unload(self, name: str) -> None:
        """Unload a model. Does nothing if the model is not loaded."""
        ...


def choose_model(models: list[ListedModel], turns: Iterable[Turn] = ()) -> ListedModel:
    """Choose the model for a request without one: the first that accepts the images and videos of `turns`.

    If no model accepts them, return the first model; the request then fails with an error that gives the reason.
    Raises EngineUnavailable if there are no models.
    """
    if not models:
        raise EngineUnavailable("there is no model on this machine")
    kinds = {attachment.kind for turn in turns for attachment in turn.attachments}
    capability = "video" if "video" in kinds else "vision" if "image" in kinds else "completion"
    return next((model for model in models if capability in model.capabilities), models[0])


def choose_embedding_model(models: list[ListedModel]) -> ListedModel:
    """Choose the first model that embeds texts. Raises EngineUnavailable without such a model."""
    found = next((model for model in models if "embedding" in model.capabilities), None)
    if found is None:
        raise EngineUnavailable("there is no embedding model on this machine")
    return found


def _fenced(attachment: Attachment) -> str:
    """The name and a Markdown code block. Its fence is longer than all runs of backticks in the text."""
    text = attachment.data.removesuffix("\n")
    longest = max(map(len, re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{attachment.name}:\n{fence}\n{text}\n{fence}"
