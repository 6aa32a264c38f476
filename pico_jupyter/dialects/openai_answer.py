"""Writes the answers and errors of the OpenAI dialect, v1/*."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from msgspec import UNSET, UnsetType

from pico_jupyter.client import Choice, Completion
from pico_jupyter.dialects import openai_answer_schema as schema
from pico_jupyter.dialects.failures import describe
from pico_jupyter.dialects.framing import SSE_DONE, SSE_TYPE, encode_json, finite_logprob, sse_event, sse_keepalive
from pico_jupyter.dialects.openai_request import OpenAIChatCall
from pico_jupyter.dialects.reasoning import InlineReasoning, fold_inline
from pico_jupyter.engine_reports import MemoryReport
from pico_jupyter.errors import (
    Conflict,
    ContextLengthExceeded,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    NotSupported,
    PicoError,
    RequestTooLarge,
    Unauthenticated,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    ModelInfo,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)

JSON_TYPE = "application/json"

_EMPTY_DELTA = schema.OpenAIDelta()
_ROLE_DELTA = schema.OpenAIDelta(role="assistant", content="")


class OpenAIChatStream:
    """Writes the SSE events of one streamed answer. `created` is in seconds since the epoch."""

    content_type = SSE_TYPE

    def __init__(self, call: OpenAIChatCall, completion_id: str, created: int) -> None:
        self._call = call
        self._id = completion_id
        self._created = created
        self._usage: UnsetType | None = None if call.include_usage else UNSET
        self._choices = [_ChoiceWriter(call, index) for index in range(call.request.n)]

    def __repr__(self) -> str:
        return f"<OpenAIChatStream {self._id} [{len(self._choices)} choices]>"

    def encode(self, delta: Delta) -> bytes:
        match delta:
            case Accepted() | Progress():
                return b""
            case TextDelta() | ReasoningDelta() | ToolCallDelta() | ToolCallPart():
                return self._frames(self._choices[delta.index].write(delta))
            case Finished():
                return self._finish(delta)
            case _:
                assert_never(delta)

    def keepalive(self, done: int, total: int) -> bytes:
        return sse_keepalive(done, total)

    def error(self, error: PicoError) -> bytes:
        return sse_event(describe_openai_error(error)) + SSE_DONE

    def _finish(self, finished: Finished) -> bytes:
        frames = [
            self._frames(choice.finish(reason))
            for choice, reason in zip(self._choices, finished.finish_reasons, strict=True)
        ]
        if self._call.include_usage:
            frames.append(self._frame([], describe_usage(finished.usage)))
        return b"".join([*frames, SSE_DONE])

    def _frames(self, choices: Iterable[schema.OpenAIChunkChoice]) -> bytes:
        return b"".join([self._frame([choice], self._usage) for choice in choices])

    def _frame(self, choices: list[schema.OpenAIChunkChoice], usage: schema.OpenAIUsage | UnsetType | None) -> bytes:
        return sse_event(
            schema.ChatCompletionChunk(
                id=self._id, created=self._created, model=self._call.model, choices=choices, usage=usage
            )
        )


class _ChoiceWriter:
    """Builds the chunks of one choice. The first has the role, the last the finish reason, the others content."""

    __slots__ = (
        "_calls",
        "_index",
        "_inline",
        "_is_begun",
        "_is_hidden",
        "_is_surplus_call",
        "_max_calls",
        "_top_logprobs",
    )

    def __init__(self, call: OpenAIChatCall, index: int) -> None:
        self._index = index
        self._inline = InlineReasoning() if call.reasoning_output == "inline" else None
        self._is_hidden = call.reasoning_output == "hidden"
        self._top_logprobs = call.request.top_logprobs
        self._max_calls = None if call.request.tool_choice.parallel else 1
        self._calls = 0
        self._is_surplus_call = False
        self._is_begun = False

    def __repr__(self) -> str:
        return f"<_ChoiceWriter {self._index} [{self._calls} calls]>"

    def write(self, delta: TextDelta | ReasoningDelta | ToolCallDelta | ToolCallPart) -> list[schema.OpenAIChunkChoice]:
        match delta:
            case TextDelta(text=text, logprobs=logprobs):
                return self._write_text(text, logprobs)
            case ReasoningDelta(text=text, logprobs=logprobs):
                return self._write_reasoning(text, logprobs)
            case ToolCallDelta(call=call):
                return self._begin_call(call.id, call.name, call.arguments or "{}")
            case ToolCallPart() if delta.id:
                return self._begin_call(delta.id, delta.name, delta.arguments)
            case ToolCallPart(arguments=arguments):
                return self._continue_call(arguments)
            case _:
                assert_never(delta)

    def finish(self, reason: FinishReason) -> list[schema.OpenAIChunkChoice]:
        closing = self._inline.finish(reason) if self._inline is not None else []
        deltas = [schema.OpenAIDelta(content=piece) for piece in closing]
        last = schema.OpenAIChunkChoice(self._index, _EMPTY_DELTA, finish_reason=reason)
        return [*self._begin(), *self._chunks(deltas), last]

    def _write_text(self, text: str, logprobs: Sequence[TokenLogprob]) -> list[schema.OpenAIChunkChoice]:
        if not text and not logprobs:
            return []
        pieces = [text] if self._inline is None else self._inline.text(text)
        deltas = [schema.OpenAIDelta(content=piece) for piece in pieces]
        return [*self._begin(), *self._chunks(deltas, logprobs)]

    def _write_reasoning(self, text: str, logprobs: Sequence[TokenLogprob]) -> list[schema.OpenAIChunkChoice]:
        if self._is_hidden or (not text and not logprobs):
            return []
        if self._inline is None:
            delta = schema.OpenAIDelta(reasoning_content=text, reasoning=text)
            found = _logprobs((), logprobs) if logprobs and self._top_logprobs is not None else None
            return [*self._begin(), schema.OpenAIChunkChoice(self._index, delta, found)]
        pieces = self._inline.reasoning(text) if text else [""]
        return [*self._begin(), *self._chunks([schema.OpenAIDelta(content=piece) for piece in pieces], logprobs)]

    def _begin_call(self, call_id: str, name: str, arguments: str) -> list[schema.OpenAIChunkChoice]:
        self._is_surplus_call = self._calls == self._max_calls
        if self._is_surplus_call:
            return []
        closing = self._inline.close() if self._inline is not None else []
        function = schema.OpenAIFunctionPiece(name=name, arguments=arguments)
        chunk = schema.OpenAIToolCallChunk(index=self._calls, id=call_id, type="function", function=function)
        self._calls += 1
        deltas = [schema.OpenAIDelta(content=piece) for piece in closing]
        return [*self._begin(), *self._chunks([*deltas, schema.OpenAIDelta(tool_calls=[chunk])])]

    def _continue_call(self, arguments: str) -> list[schema.OpenAIChunkChoice]:
        if self._is_surplus_call or not arguments:
            return []
        function = schema.OpenAIFunctionPiece(arguments=arguments)
        chunk = schema.OpenAIToolCallChunk(index=self._calls - 1, function=function)
        return self._chunks([schema.OpenAIDelta(tool_calls=[chunk])])

    def _begin(self) -> list[schema.OpenAIChunkChoice]:
        """Build the chunk with the role on the first call, and no chunk on later calls."""
        if self._is_begun:
            return []
        self._is_begun = True
        return [schema.OpenAIChunkChoice(self._index, _ROLE_DELTA)]

    def _chunks(
        self, deltas: list[schema.OpenAIDelta], logprobs: Sequence[TokenLogprob] = ()
    ) -> list[schema.OpenAIChunkChoice]:
        """Build one chunk for each delta. The last delta has the log-probabilities; the deltas before it are tags."""
        chunks = [schema.OpenAIChunkChoice(self._index, delta) for delta in deltas]
        if logprobs and self._top_logprobs is not None:
            chunks[-1] = schema.OpenAIChunkChoice(self._index, deltas[-1], _logprobs(logprobs))
        return chunks


def completion(call: OpenAIChatCall, answer: Completion, completion_id: str, created: int) -> bytes:
    """Encode a whole answer as one JSON object."""
    return encode_json(
        schema.ChatCompletion(
            id=completion_id,
            created=created,
            model=call.model,
            choices=[_choice(call, index, choice) for index, choice in enumerate(answer.choices)],
            usage=describe_usage(answer.usage),
        )
    )


def models_list(infos: Iterable[ModelInfo]) -> bytes:
    return encode_json(schema.OpenAIModelList(data=[_model(info) for info in infos]))


def model_object(info: ModelInfo) -> bytes:
    return encode_json(_model(info))


def memory(report: MemoryReport) -> bytes:
    """Encode the answer of v1/memory, an endpoint that OpenAI does not have."""
    return encode_json(report)


def usage_report(report: schema.UsageReport) -> bytes:
    """Encode the answer of v1/usage, an endpoint that OpenAI does not have."""
    return encode_json(report)


def error_body(error: PicoError) -> bytes:
    return encode_json(describe_openai_error(error))


def _choice(call: OpenAIChatCall, index: int, choice: Choice) -> schema.OpenAIChoice:
    return schema.OpenAIChoice(
        index=index,
        message=_message(call, choice),
        logprobs=_choice_logprobs(call, choice) if call.request.top_logprobs is not None else None,
        finish_reason=choice.finish_reason,
    )


def _choice_logprobs(call: OpenAIChatCall, choice: Choice) -> schema.OpenAIChoiceLogprobs:
    match call.reasoning_output:
        case "separate":
            return _logprobs(choice.logprobs, choice.reasoning_logprobs)
        case "inline":
            return _logprobs([*choice.reasoning_logprobs, *choice.logprobs])
        case "hidden":
            return _logprobs(choice.logprobs)
        case _:
            assert_never(call.reasoning_output)


def _message(call: OpenAIChatCall, choice: Choice) -> schema.OpenAIAnswerMessage:
    calls = choice.tool_calls if call.request.tool_choice.parallel else choice.tool_calls[:1]
    is_inline = call.reasoning_output == "inline"
    text = fold_inline(choice) if is_inline else choice.text
    reasoning = choice.reasoning if choice.reasoning and call.reasoning_output == "separate" else UNSET
    return schema.OpenAIAnswerMessage(
        content=text if text or not calls else None,
        reasoning_content=reasoning,
        reasoning=reasoning,
        tool_calls=[_tool_call(tool_call) for tool_call in calls] if calls else UNSET,
    )


def _tool_call(call: ToolCall) -> schema.OpenAIToolCall:
    return schema.OpenAIToolCall(id=call.id, function=schema.OpenAIFunction(call.name, call.arguments or "{}"))


def _logprobs(content: Sequence[TokenLogprob], reasoning: Sequence[TokenLogprob] = ()) -> schema.OpenAIChoiceLogprobs:
    return schema.OpenAIChoiceLogprobs(
        [describe_logprob(entry) for entry in content],
        reasoning_content=[describe_logprob(entry) for entry in reasoning] if reasoning else UNSET,
    )


def describe_logprob(entry: TokenLogprob) -> schema.OpenAILogprob:
    """Return a sampled token with its log-probability."""
    top = [schema.OpenAITopLogprob(c.token, finite_logprob(c.logprob), list(c.token_bytes)) for c in entry.top]
    return schema.OpenAILogprob(entry.token, finite_logprob(entry.logprob), list(entry.token_bytes), top)


def describe_usage(usage: TokenUsage) -> schema.OpenAIUsage:
    """Return the token counts of an answer."""
    return schema.OpenAIUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=schema.PromptTokensDetails(usage.cached_tokens),
        completion_tokens_details=schema.CompletionTokensDetails(usage.reasoning_tokens),
    )


def _model(info: ModelInfo) -> schema.OpenAIModel:
    return schema.OpenAIModel(
        id=info.name, created=int(info.modified), max_model_len=info.context_length, source=info.source
    )


def describe_openai_error(error: PicoError, prompt: str = "messages") -> schema.OpenAIError:
    """Return an error in OpenAI's format. `prompt` is the request's field that has the prompt."""
    message, param = describe(error), error.param
    kind: schema.ErrorKind
    match error:
        case Unauthenticated():
            kind = "authentication_error"
        case Forbidden():
            kind = "permission_error"
        case ModelNotFound():
            kind, param = "not_found_error", "model"
            message = f"The model '{error.model}' does not exist"
        case NotFound():
            kind = "not_found_error"
        case ContextLengthExceeded():
            kind, param = "invalid_request_error", param or prompt
        case InvalidRequest() | MethodNotAllowed() | Conflict() | RequestTooLarge() | NotSupported():
            kind = "invalid_request_error"
        case _:
            kind = "server_error"
    if param is not None and param.startswith("messages"):  # The engine names its own field.
        param = param if prompt == "messages" else prompt
    return schema.OpenAIError(schema.OpenAIErrorDetail(message, kind, param, error.code))
