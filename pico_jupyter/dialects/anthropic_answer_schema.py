"""Declares the answers of v1/messages and of v1/models for Anthropic's clients. UNSET fields are omitted."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Raw

StopReason: TypeAlias = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of the answer's text."""

    text: str


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    """The answer's reasoning. The signature is constant, because nothing checks it."""

    thinking: str
    signature: str


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    """A tool call. In a stream, `input` is empty at first, and deltas contain its JSON text."""

    id: str
    name: str
    input: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


AnswerBlock: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """Details of output_tokens: how many belong to the reasoning."""

    thinking_tokens: int


class AnthropicUsage(msgspec.Struct, frozen=True):
    """Token counts. The prompt has input_tokens and cache_read_input_tokens; output_tokens include reasoning."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails


class AnthropicAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. At the start of a stream, it has no content and no reason to stop."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: Annotated[str, Meta(description="The name in the request.")]
    content: list[AnswerBlock]
    stop_reason: StopReason | None
    stop_sequence: Annotated[str | None, Meta(description="The stop sequence that ended the answer.")]
    usage: AnthropicUsage


class MessageStart(msgspec.Struct, frozen=True, tag_field="type", tag="message_start"):
    """The first event of a stream."""

    message: AnthropicAnswer


class ContentBlockStart(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_start"):
    """The start of a block of the answer."""

    index: int
    content_block: AnswerBlock


class TextBlockPiece(msgspec.Struct, frozen=True, tag_field="type", tag="text_delta"):
    """The next piece of a text."""

    text: str


class ThinkingPiece(msgspec.Struct, frozen=True, tag_field="type", tag="thinking_delta"):
    """The next piece of the reasoning."""

    thinking: str


class SignaturePiece(msgspec.Struct, frozen=True, tag_field="type", tag="signature_delta"):
    """The signature of the reasoning, before the end of its block."""

    signature: str


class InputJsonPiece(msgspec.Struct, frozen=True, tag_field="type", tag="input_json_delta"):
    """The next piece of the JSON text of a call's input."""

    partial_json: str


BlockPiece: TypeAlias = TextBlockPiece | ThinkingPiece | SignaturePiece | InputJsonPiece


class ContentBlockDelta(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_delta"):
    """The next piece of a block."""

    index: int
    delta: BlockPiece


class ContentBlockStop(msgspec.Struct, frozen=True, tag_field="type", tag="content_block_stop"):
    """The end of a block."""

    index: int


class StopDelta(msgspec.Struct, frozen=True):
    """Why the answer ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, frozen=True, tag_field="type", tag="message_delta"):
    """The end of the answer, with the final token counts."""

    delta: StopDelta
    usage: AnthropicUsage


class MessageStop(msgspec.Struct, frozen=True, tag_field="type", tag="message_stop"):
    """The last event of a stream."""


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """Keeps the connection alive. Clients skip it."""


AnthropicEvent: TypeAlias = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)


EVENTS: tuple[type[msgspec.Struct], ...] = get_args(AnthropicEvent)


class TokenCount(msgspec.Struct, frozen=True):
    """The number of tokens of a prompt."""

    input_tokens: int


class AnthropicModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this machine. `max_input_tokens` is the size of its context in tokens."""

    type: Literal["model"] = "model"
    id: str
    display_name: str
    created_at: Annotated[str, Meta(description="When the model's files were last changed, in UTC.")]
    lifecycle: Literal["active"] = "active"
    max_input_tokens: int
    max_tokens: Annotated[int, Meta(description="The limit for an answer: the size of the context.")]


class AnthropicModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models on this machine, in one page."""

    data: list[AnthropicModel]
    has_more: Literal[False] = False
    first_id: str | None
    last_id: str | None
