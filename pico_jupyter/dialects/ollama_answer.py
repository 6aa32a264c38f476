"""Writes the answers of api/chat, api/generate and api/pull, and the errors of the Ollama dialect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import msgspec
from msgspec import UNSET, Raw, UnsetType

from pico_jupyter.client import Completion, add_call_part
from pico_jupyter.dialects import ollama_answer_schema as schema
from pico_jupyter.dialects.failures import describe
from pico_jupyter.dialects.framing import NDJSON_KEEPALIVE, NDJSON_TYPE, finite_logprob, ndjson_line
from pico_jupyter.dialects.ollama_models import format_time
from pico_jupyter.dialects.ollama_request import OllamaAnswerCall, OllamaLoadCall, OllamaPullCall
from pico_jupyter.dialects.reasoning import InlineReasoning, fold_inline
from pico_jupyter.download_reports import Download
from pico_jupyter.errors import (
    ContextLengthExceeded,
    ModelNotFound,
    PicoError,
    QueueFull,
    ReasoningUnsupported,
    Unauthenticated,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    Progress,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)

JSON_TYPE = "application/json; charset=utf-8"

# A longer context is omitted: aiohttp 3.14 raises LineTooLong above 512 KiB, and Go clients stop at 8 MB.
_MAX_CONTEXT_TOKENS = 8192


class OllamaAnswerStream:
    """Writes the NDJSON lines of one streamed answer. `clock` returns seconds since the epoch."""

    content_type = NDJSON_TYPE

    def __init__(self, call: OllamaAnswerCall, clock: Callable[[], float]) -> None:
        self._call = call
        self._clock = clock
        self._inline = InlineReasoning() if call.reasoning_output == "inline" else None
        self._call_count = 0
        self._open_calls: list[ToolCall] = []  # At most one call, which is still incomplete.

    def __repr__(self) -> str:
        return f"<OllamaAnswerStream {self._call.endpoint} {self._call.request.id}>"

    def encode(self, delta: Delta) -> bytes:
        if isinstance(delta, ToolCallPart) and not delta.id:
            add_call_part(self._open_calls, delta)
            return b""
        return self._end_open_call(is_last=isinstance(delta, Finished)) + self._encode(delta)

    def _encode(self, delta: Delta) -> bytes:
        match delta:
            case Accepted() | Progress():
                return b""
            case ToolCallPart():
                add_call_part(self._open_calls, delta)
                return b""
            case TextDelta(text=text, logprobs=logprobs):
                return self._text(text, logprobs)
            case ReasoningDelta(text=text, logprobs=logprobs):
                return self._reasoning(text, logprobs)
            case ToolCallDelta(call=call):
                return self._tool_call(call)
            case Finished():
                return self._finish(delta)
            case _:
                assert_never(delta)

    def keepalive(self, done: int, total: int) -> bytes:
        return NDJSON_KEEPALIVE

    def error(self, error: PicoError) -> bytes:
        return error_body(error)

    def _text(self, text: str, logprobs: Sequence[TokenLogprob]) -> bytes:
        if not text and not logprobs:
            return b""
        return self._texts([text] if self._inline is None else self._inline.text(text), logprobs)

    def _reasoning(self, text: str, logprobs: Sequence[TokenLogprob]) -> bytes:
        if self._call.reasoning_output == "hidden" or (not text and not logprobs):
            return b""
        if self._inline is not None:
            return self._texts(self._inline.reasoning(text) if text else [""], logprobs)
        return ndjson_line(_piece(self._call, self._now(), thinking=text, logprobs=logprobs))

    def _tool_call(self, call: ToolCall) -> bytes:
        closing = self._texts(self._inline.close()) if self._inline is not None else b""
        tool_call = _describe_call(call, self._call_count)
        self._call_count += 1
        return closing + ndjson_line(_piece(self._call, self._now(), tool_calls=[tool_call]))

    def _end_open_call(self, *, is_last: bool) -> bytes:
        calls, self._open_calls = self._open_calls, []
        return b"".join([self._tool_call(call) for call in (_without_cut_call(calls) if is_last else calls)])

    def _finish(self, finished: Finished) -> bytes:
        reason = finished.finish_reasons[0]
        closing = self._texts(self._inline.finish(reason)) if self._inline is not None else b""
        last = _piece(self._call, self._now())
        return closing + ndjson_line(_final(last, reason, finished.usage, finished.timings, finished.context))

    def _texts(self, texts: list[str], logprobs: Sequence[TokenLogprob] = ()) -> bytes:
        """Encode each text as a line. The last text has the log-probabilities; the others are tags."""
        lines = [ndjson_line(_piece(self._call, self._now(), text=text)) for text in texts[:-1]]
        if texts:
            lines.append(ndjson_line(_piece(self._call, self._now(), text=texts[-1], logprobs=logprobs)))
        return b"".join(lines)

    def _now(self) -> str:
        return format_time(self._clock())


def answer(call: OllamaAnswerCall, completion: Completion, now: float) -> bytes:
    """Encode a whole answer as one line. `now` is in seconds since the epoch."""
    [choice] = completion.choices
    is_inline, is_hidden = call.reasoning_output == "inline", call.reasoning_output == "hidden"
    tool_calls = _without_cut_call(choice.tool_calls) if choice.finish_reason == "length" else choice.tool_calls
    whole = _piece(
        call,
        format_time(now),
        text=fold_inline(choice) if is_inline else choice.text,
        thinking="" if is_inline or is_hidden else choice.reasoning,
        tool_calls=[_describe_call(tool_call, index) for index, tool_call in enumerate(tool_calls)],
        logprobs=choice.logprobs if is_hidden else [*choice.reasoning_logprobs, *choice.logprobs],
    )
    return ndjson_line(_final(whole, choice.finish_reason, completion.usage, completion.timings, completion.context))


def load_answer(call: OllamaLoadCall, now: float) -> bytes:
    """Encode the answer to a load or unload. It is one line even if the request asks for a stream."""
    reason: schema.DoneReason = "unload" if call.unload else "load"
    created_at = format_time(now)
    if call.endpoint == "chat":
        message = schema.OllamaAnswerMessage(content="")
        return ndjson_line(
            schema.OllamaChatAnswer(
                model=call.model, created_at=created_at, message=message, done=True, done_reason=reason
            )
        )
    return ndjson_line(
        schema.OllamaGenerateAnswer(model=call.model, created_at=created_at, response="", done=True, done_reason=reason)
    )


def pull_success(call: OllamaPullCall) -> bytes:
    """Encode the answer to a pull of an installed model."""
    steps = ["pulling manifest", "success"] if call.stream else ["success"]
    return b"".join([ndjson_line(schema.OllamaPullStatus(step)) for step in steps])


def pull_progress(record: Download) -> bytes:
    """Encode the state of a download as lines of a stream. All files count as one layer."""
    match record.state:
        case "failed":  # The error is a line of its own.
            return b""
        case "paused":
            return error_body(PicoError(f"the download of {record.model} was paused"))
        case "complete":
            steps = ("verifying sha256 digest", "writing manifest", "success")
            return _layer(record) + b"".join([ndjson_line(schema.OllamaPullStatus(step)) for step in steps])
        case _:
            return _layer(record) if record.total else ndjson_line(schema.OllamaPullStatus("pulling manifest"))


def _layer(record: Download) -> bytes:
    digest = hashlib.sha256(record.model.encode()).hexdigest()
    total = record.total or 0
    return ndjson_line(schema.OllamaPullStatus(f"pulling {digest[:12]}", f"sha256:{digest}", total, record.completed))


def error_body(error: PicoError) -> bytes:
    return ndjson_line(schema.OllamaError(_describe_error(error)))


def _piece(
    call: OllamaAnswerCall,
    created_at: str,
    *,
    text: str = "",
    thinking: str = "",
    tool_calls: list[schema.OllamaToolCall] | UnsetType = UNSET,
    logprobs: Sequence[TokenLogprob] = (),
) -> schema.OllamaChatAnswer | schema.OllamaGenerateAnswer:
    """Build a part of the answer. Empty values are omitted, because some clients react to empty fields."""
    entries = _describe_logprobs(call, logprobs)
    if call.endpoint == "chat":
        message = schema.OllamaAnswerMessage(content=text, thinking=thinking or UNSET, tool_calls=tool_calls or UNSET)
        return schema.OllamaChatAnswer(model=call.model, created_at=created_at, message=message, logprobs=entries)
    return schema.OllamaGenerateAnswer(
        model=call.model,
        created_at=created_at,
        response=text,
        thinking=thinking or UNSET,
        tool_calls=tool_calls or UNSET,
        logprobs=entries,
    )


def _final(
    piece: schema.OllamaChatAnswer | schema.OllamaGenerateAnswer,
    reason: FinishReason,
    usage: TokenUsage,
    timings: Timings,
    context: tuple[int, ...],
) -> schema.OllamaChatAnswer | schema.OllamaGenerateAnswer:
    """Return `piece` as the last object of an answer. A duration of 0 becomes 1, because clients treat 0 as missing."""
    load, prefill, decode = (max(ns, 1) for ns in (timings.load_ns, timings.prefill_ns, timings.decode_ns))
    done: schema.OllamaChatAnswer | schema.OllamaGenerateAnswer = msgspec.structs.replace(
        piece,
        done=True,
        done_reason="length" if reason == "length" else "stop",
        total_duration=max(timings.total_ns, load + prefill + decode),
        load_duration=load,
        prompt_eval_count=usage.prompt_tokens,
        prompt_eval_duration=prefill,
        eval_count=usage.completion_tokens,
        eval_duration=decode,
    )
    if isinstance(done, schema.OllamaGenerateAnswer) and 0 < len(context) <= _MAX_CONTEXT_TOKENS:
        return msgspec.structs.replace(done, context=context)
    return done


def _without_cut_call(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls without the last one if the limit of tokens has cut its arguments."""
    return [*calls[:-1], *(call for call in calls[-1:] if _decode_object(call.arguments) is not None)]


def _describe_call(call: ToolCall, index: int) -> schema.OllamaToolCall:
    return schema.OllamaToolCall(call.id, schema.OllamaFunction(index, call.name, _arguments(call.arguments)))


def _arguments(text: str) -> Raw:
    """Return the arguments as a JSON object on one line. Other text becomes {"arguments": text}."""
    value = _decode_object(text or "{}")
    return Raw(json.dumps({"arguments": text} if value is None else value, separators=(",", ":")).encode())


def _decode_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is; None for any other text."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _describe_logprobs(
    call: OllamaAnswerCall, logprobs: Sequence[TokenLogprob]
) -> list[schema.OllamaLogprob] | UnsetType:
    if not logprobs or call.request.top_logprobs is None:
        return UNSET
    wants_top = call.request.top_logprobs > 0
    return [_describe_logprob(entry, wants_top=wants_top) for entry in logprobs]


def _describe_logprob(entry: TokenLogprob, *, wants_top: bool) -> schema.OllamaLogprob:
    top = [schema.OllamaTopLogprob(c.token, finite_logprob(c.logprob), list(c.token_bytes)) for c in entry.top]
    logprob = finite_logprob(entry.logprob)
    return schema.OllamaLogprob(entry.token, logprob, list(entry.token_bytes), top if wants_top else UNSET)


def _describe_error(error: PicoError) -> str:
    match error:
        case ModelNotFound():
            return f"model '{error.model}' not found"
        case ReasoningUnsupported():
            return f'"{error.model}" does not support thinking'
        case ContextLengthExceeded():
            return "the input length exceeds the context length"
        case Unauthenticated():
            return "unauthorized"
        case QueueFull():
            return "server busy, please try again.  maximum pending requests exceeded"
        case _:
            return describe(error)
