"""Writes the answers of v1/messages, whole or as a stream, and the list of models for Anthropic's clients."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import assert_never

import msgspec
from msgspec import Raw

from pico_jupyter.client import Choice, Completion
from pico_jupyter.dialects import anthropic_answer_schema as schema
from pico_jupyter.dialects.anthropic_errors import describe_anthropic_error
from pico_jupyter.dialects.anthropic_request import AnthropicCall
from pico_jupyter.dialects.framing import SSE_TYPE, encode_json
from pico_jupyter.dialects.reasoning import InlineReasoning, fold_inline
from pico_jupyter.errors import PicoError
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    ModelInfo,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)

# Clients send the signature back with the reasoning. Some drop reasoning that has no signature. It is not checked.
SIGNATURE = "pico_jupyter"
_EMPTY_INPUT = Raw(b"{}")


class AnthropicStream:
    """Writes the SSE events of one streamed answer with the id `message_id`. Its errors contain `request_id`."""

    content_type = SSE_TYPE

    def __init__(self, call: AnthropicCall, message_id: str, request_id: str) -> None:
        self._call = call
        self._id = message_id
        self._request_id = request_id
        self._inline = InlineReasoning() if call.reasoning_output == "inline" else None
        self._prompt_tokens = 0
        self._is_begun = False
        self._blocks = 0
        self._open: type[schema.AnswerBlock] | None = None
        self._calls = 0
        self._is_surplus_call = False

    def __repr__(self) -> str:
        return f"<AnthropicStream {self._id} [{self._blocks} blocks]>"

    def encode(self, delta: Delta) -> bytes:
        match delta:
            case Accepted():
                self._prompt_tokens = delta.prompt_tokens
                return b""
            case Progress():
                return b""
            case TextDelta(text=text):
                return self._text(text)
            case ReasoningDelta(text=text):
                return self._thinking(text)
            case ToolCallDelta(call=call):
                return self._begin_call(call.id, call.name) + self._input(_object_text(call.arguments))
            case ToolCallPart():
                beginning = self._begin_call(delta.id, delta.name) if delta.id else b""
                return beginning + self._input(delta.arguments)
            case Finished():
                return self._finish(delta)
            case _:
                assert_never(delta)

    def keepalive(self, done: int, total: int) -> bytes:
        return _event(schema.Ping())

    def error(self, error: PicoError) -> bytes:
        return b"event: error\ndata: " + encode_json(describe_anthropic_error(error, self._request_id)) + b"\n\n"

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        return self._texts([text] if self._inline is None else self._inline.text(text))

    def _texts(self, texts: list[str]) -> bytes:
        return b"".join([self._continue(schema.TextBlock(""), schema.TextBlockPiece(text)) for text in texts])

    def _thinking(self, text: str) -> bytes:
        if not text or self._call.reasoning_output == "hidden":
            return b""
        if self._inline is not None:
            return self._texts(self._inline.reasoning(text))
        block = schema.ThinkingBlock("", "")
        if self._call.omits_thinking:
            return b"" if self._open is schema.ThinkingBlock else self._begin_block(block)
        return self._continue(block, schema.ThinkingPiece(text))

    def _begin_call(self, call_id: str, name: str) -> bytes:
        self._is_surplus_call = self._calls > 0 and not self._call.request.tool_choice.parallel
        self._calls += 1
        if self._is_surplus_call:
            return b""
        closing = self._texts(self._inline.close()) if self._inline is not None else b""
        return closing + self._begin_block(schema.ToolUseBlock(call_id, name, _EMPTY_INPUT))

    def _input(self, text: str) -> bytes:
        if self._is_surplus_call or not text:
            return b""
        return self._piece(schema.InputJsonPiece(text))

    def _continue(self, block: schema.AnswerBlock, piece: schema.BlockPiece) -> bytes:
        """Write a piece of a block. Starts the block first, unless it is open."""
        beginning = b"" if self._open is type(block) else self._begin_block(block)
        return beginning + self._piece(piece)

    def _begin_block(self, block: schema.AnswerBlock) -> bytes:
        beginning = self._begin() + self._end_block()
        self._open = type(block)
        self._blocks += 1
        return beginning + _event(schema.ContentBlockStart(self._blocks - 1, block))

    def _piece(self, piece: schema.BlockPiece) -> bytes:
        return _event(schema.ContentBlockDelta(self._blocks - 1, piece))

    def _end_block(self) -> bytes:
        if self._open is None:
            return b""
        signed = self._piece(schema.SignaturePiece(SIGNATURE)) if self._open is schema.ThinkingBlock else b""
        self._open = None
        return signed + _event(schema.ContentBlockStop(self._blocks - 1))

    def _begin(self) -> bytes:
        """Write message_start before the first block. Until then, an error is a response with an error status."""
        if self._is_begun:
            return b""
        self._is_begun = True
        usage = TokenUsage(self._prompt_tokens, 0)
        return _event(schema.MessageStart(_answer(self._call, self._id, [], usage)))

    def _finish(self, finished: Finished) -> bytes:
        reason = finished.finish_reasons[0]
        closing = self._texts(self._inline.finish(reason)) if self._inline is not None else b""
        stop = _stop(self._call, reason, finished.stop_strings)
        end = schema.MessageDelta(stop, _usage(finished.usage))
        return self._begin() + closing + self._end_block() + _event(end) + _event(schema.MessageStop())


def anthropic_message(call: AnthropicCall, answer: Completion, message_id: str) -> bytes:
    """Encode a whole answer as one JSON object."""
    [choice] = answer.choices
    stop = _stop(call, choice.finish_reason, (choice.stop_string,))
    return encode_json(_answer(call, message_id, list(_blocks(call, choice)), answer.usage, stop=stop))


def token_count(tokens: Sequence[int]) -> bytes:
    """Encode the answer of v1/messages/count_tokens."""
    return encode_json(schema.TokenCount(len(tokens)))


def anthropic_models(infos: Iterable[ModelInfo]) -> bytes:
    """Encode the list of models."""
    models = [_model(info) for info in infos]
    ends = (models[0].id, models[-1].id) if models else (None, None)
    return encode_json(schema.AnthropicModelList(data=models, first_id=ends[0], last_id=ends[1]))


def anthropic_model(info: ModelInfo) -> bytes:
    """Encode the description of a model."""
    return encode_json(_model(info))


def _event(event: schema.AnthropicEvent) -> bytes:
    name = type(event).__struct_config__.tag
    assert isinstance(name, str)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode_json(event))


def _answer(
    call: AnthropicCall,
    message_id: str,
    content: list[schema.AnswerBlock],
    usage: TokenUsage,
    *,
    stop: schema.StopDelta | None = None,
) -> schema.AnthropicAnswer:
    return schema.AnthropicAnswer(
        id=message_id,
        model=call.model,
        content=content,
        stop_reason=None if stop is None else stop.stop_reason,
        stop_sequence=None if stop is None else stop.stop_sequence,
        usage=_usage(usage),
    )


def _blocks(call: AnthropicCall, choice: Choice) -> Iterable[schema.AnswerBlock]:
    if choice.reasoning and call.reasoning_output == "separate":
        yield schema.ThinkingBlock("" if call.omits_thinking else choice.reasoning, SIGNATURE)
    if text := fold_inline(choice) if call.reasoning_output == "inline" else choice.text:
        yield schema.TextBlock(text)
    calls = choice.tool_calls if call.request.tool_choice.parallel else choice.tool_calls[:1]
    yield from map(_tool_use, calls)


def _tool_use(call: ToolCall) -> schema.ToolUseBlock:
    return schema.ToolUseBlock(call.id, call.name, Raw(_object_text(call.arguments).encode()))


def _object_text(arguments: str) -> str:
    """Return arguments as the text of a JSON object. Text that is not a JSON object becomes {"arguments": text}."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.MsgspecError, RecursionError):
        value = None
    return json.dumps(value if isinstance(value, dict) else {"arguments": arguments})


def _stop(call: AnthropicCall, reason: FinishReason, stops: Sequence[str]) -> schema.StopDelta:
    """Return why the answer ended, and the stop sequence of the request that ended it."""
    stop = stops[0] if stops else ""
    match reason:
        case "length":
            return schema.StopDelta("max_tokens", None)
        case "tool_calls":
            return schema.StopDelta("tool_use", None)
        case "stop" if stop in call.request.stop:
            return schema.StopDelta("stop_sequence", stop)
        case "stop":
            return schema.StopDelta("end_turn", None)
        case _:
            assert_never(reason)


def _usage(usage: TokenUsage) -> schema.AnthropicUsage:
    return schema.AnthropicUsage(
        input_tokens=usage.prompt_tokens - usage.cached_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.completion_tokens,
        output_tokens_details=schema.OutputTokensDetails(usage.reasoning_tokens),
    )


def _model(info: ModelInfo) -> schema.AnthropicModel:
    changed = datetime.fromtimestamp(int(info.modified), UTC)
    return schema.AnthropicModel(
        id=info.name,
        display_name=info.name,
        created_at=f"{changed:%Y-%m-%dT%H:%M:%SZ}",
        max_input_tokens=info.context_length,
        max_tokens=info.context_length,
    )
