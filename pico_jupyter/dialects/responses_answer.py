"""Writes the answers and errors of v1/responses. Calls of functions are reported as calls of the client's tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, assert_never

from pico_jupyter.client import Completion
from pico_jupyter.dialects import responses_answer_schema as schema
from pico_jupyter.dialects.framing import SSE_TYPE, encode_json, sse_keepalive
from pico_jupyter.dialects.openai_answer import describe_logprob, describe_openai_error
from pico_jupyter.dialects.openai_answer_schema import OpenAILogprob
from pico_jupyter.dialects.reasoning import InlineReasoning
from pico_jupyter.dialects.request_fields import ReasoningField
from pico_jupyter.dialects.responses_output import (
    CustomCallWriter,
    Events,
    FunctionCallWriter,
    ItemWriter,
    MessageWriter,
    ReasoningWriter,
)
from pico_jupyter.dialects.responses_request import ResponsesCall
from pico_jupyter.dialects.responses_tools import CalledTool
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, PicoError, QueueFull
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    TokenUsage,
    ToolCallDelta,
    ToolCallPart,
)

JSON_TYPE = "application/json"
_TEXT_FORMAT = {"format": {"type": "text"}}


class ResponsesStream:
    """Writes one response: the events of a stream, or one object.

    `now` returns seconds since the epoch. `save` receives the JSON of a response that is complete or incomplete,
    before the client receives it.
    """

    content_type = SSE_TYPE

    def __init__(self, call: ResponsesCall, now: Callable[[], float], save: Callable[[bytes], None]) -> None:
        self._call = call
        self._now = now
        self._save = save
        self._created = int(now())
        self._events = 0
        self._done: list[schema.ResponsesOutputItem] = []
        self._open: ItemWriter | None = None
        self._is_begun = False
        self._calls = 0
        self._is_surplus_call = False
        self._inline = InlineReasoning() if call.reasoning_output == "inline" else None

    def __repr__(self) -> str:
        return f"<ResponsesStream {self._call.response_id} [{len(self._done)} items]>"

    def encode(self, delta: Delta) -> bytes:
        return self._frames(self._report(delta))

    def keepalive(self, done: int, total: int) -> bytes:
        return sse_keepalive(done, total)

    def error(self, error: PicoError) -> bytes:
        detail = describe_openai_error(error, prompt="input").error
        reported = schema.ResponsesErrorEvent(code=detail.code, message=detail.message, param=detail.param)
        failed = self._response("failed", error=schema.ResponsesFailure(_failure_code(error), detail.message))
        return self._frames([*self._begin(), reported, schema.ResponsesFailed(response=failed)])

    def whole(self, answer: Completion) -> bytes:
        """Return a collected answer as one JSON object."""
        choice = answer.choices[0]
        self._report(ReasoningDelta(choice.reasoning, logprobs=tuple(choice.reasoning_logprobs)))
        self._report(TextDelta(choice.text, logprobs=tuple(choice.logprobs)))
        for call in choice.tool_calls:
            self._report(ToolCallDelta(call))
        last = self._report(Finished((choice.finish_reason,), answer.usage, answer.timings))[-1]
        assert isinstance(last, schema.ResponsesCreated)
        return encode_json(last.response)

    def _frames(self, events: Iterable[schema.ResponsesEvent]) -> bytes:
        frames = []
        for event in events:
            event.sequence_number = self._events
            self._events += 1
            name = str(type(event).__struct_config__.tag).encode()
            frames.append(b"event: %b\ndata: %b\n\n" % (name, encode_json(event)))
        return b"".join(frames)

    def _report(self, delta: Delta) -> Events:
        match delta:
            case Accepted() | Progress():
                return []
            case TextDelta(text=text, logprobs=logprobs):
                return self._write_text(text, logprobs)
            case ReasoningDelta(text=text, logprobs=logprobs):
                return self._write_reasoning(text, logprobs)
            case ToolCallDelta(call=call):
                return self._begin_call(call.id, call.name, call.arguments)
            case ToolCallPart() if delta.id:
                return self._begin_call(delta.id, delta.name, delta.arguments)
            case ToolCallPart(arguments=arguments):
                return self._continue_call(arguments)
            case Finished(finish_reasons=reasons, usage=usage):
                return self._finish(reasons[0], usage)
            case _:
                assert_never(delta)

    def _begin(self) -> Events:
        """Return the first two events on the first call, and no events on later calls."""
        if self._is_begun:
            return []
        self._is_begun = True
        response = self._response("in_progress")
        return [schema.ResponsesCreated(response=response), schema.ResponsesInProgress(response=response)]

    def _close(self, status: schema.ItemStatus = "completed") -> Events:
        """Finish the open item, if there is one."""
        if self._open is None:
            return []
        events = self._open.finish(status)
        self._done.append(self._open.item(status))
        self._open = None
        return events

    def _place(self, prefix: str) -> tuple[str, int]:
        """Return the id and the index of the next item."""
        index = len(self._done)
        return f"{prefix}_{self._call.request.id}_o{index}", index

    def _message(self) -> tuple[MessageWriter, Events]:
        """Return the open message. If no message is open, open one, and return its events too."""
        if isinstance(self._open, MessageWriter):
            return self._open, []
        events = [*self._begin(), *self._close()]
        self._open = writer = MessageWriter(*self._place("msg"))
        return writer, [*events, *writer.begin()]

    def _write_text(self, text: str, logprobs: Sequence[TokenLogprob]) -> Events:
        shown = self._shown(logprobs)
        if not text and not shown:
            return []
        pieces = [text] if self._inline is None else self._inline.text(text)
        return self._write_pieces(pieces, shown)

    def _write_pieces(self, pieces: list[str], logprobs: list[OpenAILogprob]) -> Events:
        """Write pieces of the message. Log-probabilities belong to the last piece; the pieces before it are tags."""
        if not pieces:
            return []
        writer, events = self._message()
        for piece in pieces[:-1]:
            events += writer.add(piece, [])
        return [*events, *writer.add(pieces[-1], logprobs)]

    def _write_reasoning(self, text: str, logprobs: Sequence[TokenLogprob]) -> Events:
        if not text or self._call.reasoning_output == "hidden":
            return []
        if self._inline is not None:
            return self._write_pieces(self._inline.reasoning(text), self._shown(logprobs))
        if isinstance(self._open, ReasoningWriter):
            return self._open.add(text)
        events = [*self._begin(), *self._close()]
        self._open = writer = ReasoningWriter(*self._place("rs"), packs=self._call.has_packed_reasoning)
        return [*events, *writer.begin(), *writer.add(text)]

    def _begin_call(self, call_id: str, name: str, arguments: str) -> Events:
        self._is_surplus_call = self._calls == 1 and not self._call.request.tool_choice.parallel
        if self._is_surplus_call:
            return []
        self._calls += 1
        tags = self._write_pieces(self._inline.close(), []) if self._inline is not None else []
        events = [*self._begin(), *tags, *self._close()]
        tool = self._call.tools.names.get(name) or CalledTool(name)
        writer: FunctionCallWriter | CustomCallWriter
        if tool.is_custom:
            writer = CustomCallWriter(*self._place("ctc"), call_id, tool)
        else:
            writer = FunctionCallWriter(*self._place("fc"), call_id, tool)
        self._open = writer
        return [*events, *writer.begin(), *writer.add(arguments)]

    def _continue_call(self, arguments: str) -> Events:
        if self._is_surplus_call or not isinstance(self._open, FunctionCallWriter | CustomCallWriter):
            return []
        return self._open.add(arguments)

    def _finish(self, reason: FinishReason, usage: TokenUsage) -> Events:
        tags = self._write_pieces(self._inline.finish(reason), []) if self._inline is not None else []
        # An answer without text and calls gets an empty message.
        is_silent = not self._calls and not isinstance(self._open, MessageWriter)
        empty = self._message()[1] if is_silent and reason == "stop" else []
        is_cut = reason == "length"
        events = [*self._begin(), *tags, *empty, *self._close("incomplete" if is_cut else "completed")]
        details = schema.ResponsesIncompleteDetails() if is_cut else None
        response = self._response(
            "incomplete" if is_cut else "completed",
            usage=_usage(usage),
            incomplete_details=details,
            completed_at=None if is_cut else int(self._now()),
        )
        self._save(encode_json(response))
        last = schema.ResponsesIncomplete if is_cut else schema.ResponsesCompleted
        return [*events, last(response=response)]

    def _shown(self, logprobs: Sequence[TokenLogprob]) -> list[OpenAILogprob]:
        return [] if self._call.request.top_logprobs is None else [describe_logprob(entry) for entry in logprobs]

    def _response(self, status: schema.ResponseStatus, **members: Any) -> schema.ResponsesObject:
        fields = self._call.fields
        return schema.ResponsesObject(
            id=self._call.response_id,
            created_at=self._created,
            status=status,
            instructions=fields.instructions,
            max_output_tokens=fields.max_output_tokens,
            metadata=fields.metadata or {},
            model=self._call.model,
            output=[*self._done, *([self._open.item("incomplete")] if self._open is not None else [])],
            parallel_tool_calls=fields.parallel_tool_calls is not False,
            previous_response_id=fields.previous_response_id,
            reasoning=schema.ResponsesReasoningEcho(
                fields.reasoning.effort if isinstance(fields.reasoning, ReasoningField) else None
            ),
            store=self._call.store,
            temperature=fields.temperature,
            text=fields.text if fields.text is not None and fields.text.format is not None else _TEXT_FORMAT,
            tool_choice=fields.tool_choice or "auto",
            tools=list(self._call.tools.shown),
            top_logprobs=self._call.request.top_logprobs or 0,
            top_p=fields.top_p,
            truncation=fields.truncation or "disabled",
            user=fields.user,
            **members,
        )


def input_list(items: list[dict[str, Any]], *, after: str, limit: int, descending: bool) -> bytes:
    """Encode a page of input items: at most `limit` items after the one with the id `after`."""
    ordered = items[::-1] if descending else items
    start = next((i + 1 for i, item in enumerate(ordered) if item["id"] == after), len(ordered)) if after else 0
    page = ordered[start : start + limit]
    return encode_json(
        schema.ResponsesInputList(
            data=page,
            first_id=page[0]["id"] if page else None,
            last_id=page[-1]["id"] if page else None,
            has_more=start + limit < len(ordered),
        )
    )


def deleted(response_id: str) -> bytes:
    return encode_json(schema.ResponsesDeleted(id=response_id))


def error_body(error: PicoError) -> bytes:
    return encode_json(describe_openai_error(error, prompt="input"))


def _failure_code(error: PicoError) -> schema.FailureCode:
    match error:
        case ContextLengthExceeded():
            return "context_length_exceeded"
        case InvalidRequest():
            return "invalid_prompt"
        case QueueFull():
            return "rate_limit_exceeded"
        case _:
            return "server_error"


def _usage(usage: TokenUsage) -> schema.ResponsesUsage:
    return schema.ResponsesUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=schema.ResponsesInputDetails(usage.cached_tokens),
        output_tokens=usage.completion_tokens,
        output_tokens_details=schema.ResponsesOutputDetails(usage.reasoning_tokens),
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )
