"""What is asked for and what answers are made of, as the panel's page writes it. Knows no transport and no engine."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import MemoryReport

Reasoning: TypeAlias = Literal["default", "on", "off"]


class Attachment(msgspec.Struct, frozen=True):
    """What a message carries: a data URL (image, video), or text."""

    kind: Literal["image", "video", "text"]
    name: str
    data: str


class Turn(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: str
    attachments: tuple[Attachment, ...] = ()

    @property
    def text(self) -> str:
        """The message with its texts attached in front of the question."""
        texts = [_fenced(attachment) for attachment in self.attachments if attachment.kind == "text"]
        return "\n\n".join(part for part in (*texts, self.content) if part)


class ChatCall(msgspec.Struct, frozen=True):
    """A request for one answer. `continues`: the last turn is written on.

    `temperature`, `seed` None: the model's own, a random one. `max_tokens` None: as many as the context holds.
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
    """The turns of `messages`. Raises InvalidRequest."""
    try:
        return msgspec.convert(messages, tuple[Turn, ...])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"messages: {error}", param="messages") from None


class _Silent(msgspec.Struct, frozen=True):
    """A piece that adds no text, so that whoever prints pieces can print them all."""

    @property
    def text(self) -> str:
        """Nothing."""
        return ""


class ProgressPiece(_Silent, frozen=True, tag="progress", tag_field="kind"):
    """How much of a load or of the prompt is done."""

    done: int
    total: int


class ReasoningPiece(msgspec.Struct, frozen=True, tag="reasoning", tag_field="kind"):
    """A stretch of thinking."""

    text: str


class TextPiece(msgspec.Struct, frozen=True, tag="text", tag_field="kind"):
    """A stretch of the answer."""

    text: str


class FinishPiece(_Silent, frozen=True, tag="finish", tag_field="kind"):
    """Why the answer ended, as OpenAI names it."""

    reason: str


class Stats(msgspec.Struct, frozen=True, rename="camel"):
    """Token counts; `completion_tokens` include `reasoning_tokens`, `prompt_tokens` include `cached_tokens`."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int = 0


class UsagePiece(_Silent, frozen=True, tag="usage", tag_field="kind"):
    """What the answer took."""

    stats: Stats


Piece: TypeAlias = ProgressPiece | ReasoningPiece | TextPiece | FinishPiece | UsagePiece


class Model(msgspec.Struct, frozen=True):
    """A model on this machine. `size` are the bytes of its files, `resident` those that it takes in memory, if any.

    `parameters` is like "2.0M", `quantization` like "4bit", `context` in tokens.
    """

    name: str
    size: int = 0
    quantization: str = ""
    parameters: str = ""
    capabilities: tuple[str, ...] = ()
    context: int = 0
    resident: int | None = None


class Source(Protocol):
    """Where answers come from. All methods raise PicoError."""

    def chat(self, call: ChatCall) -> AsyncGenerator[Piece, None]:
        """Stream one answer. Closing the iterator stops the model."""
        ...

    async def models(self) -> list[Model]:
        """The models, in the catalog's order."""
        ...

    async def memory(self) -> MemoryReport:
        """How the memory for models stands."""
        ...

    async def load(self, name: str) -> None:
        """Load a model now."""
        ...

    async def unload(self, name: str) -> None:
        """Unload a model."""
        ...


def _fenced(attachment: Attachment) -> str:
    longest = max((len(run) for run in re.findall("`{3,}", attachment.data)), default=2)
    fence = "`" * (longest + 1)
    return f"{attachment.name}:\n{fence}\n{attachment.data.removesuffix(chr(10))}\n{fence}"
