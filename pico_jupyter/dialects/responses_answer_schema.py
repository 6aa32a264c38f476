"""Declares the answers of v1/responses: the response, its items, and the events of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pico_jupyter.dialects.openai_answer_schema import OpenAILogprob

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
ResponseStatus: TypeAlias = Literal["in_progress", "completed", "incomplete", "failed"]
# The codes that OpenAI's clients accept, and the code for a prompt that is too long, which Codex handles.
FailureCode: TypeAlias = Literal["server_error", "rate_limit_exceeded", "invalid_prompt", "context_length_exceeded"]


class ResponsesOutputText(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """The text of a message."""

    text: str
    annotations: list[Any] = []
    logprobs: list[OpenAILogprob] = []


class ResponsesReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """The text of a reasoning item."""

    text: str


ResponsesPart: TypeAlias = ResponsesOutputText | ResponsesReasoningText


class ResponsesMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message of the model."""

    id: str
    status: ItemStatus
    role: Literal["assistant"] = "assistant"
    content: list[ResponsesOutputText]


class ResponsesReasoning(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """The model's reasoning. It is in `content`, and never summarized."""

    id: str
    status: ItemStatus
    summary: list[Any] = []
    content: list[ResponsesReasoningText]
    encrypted_content: Annotated[
        str | UnsetType, Meta(description="The same text for the next request, if `include` asks for it.")
    ] = UNSET


class ResponsesFunctionCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A call of a function. `arguments` are JSON text as the model wrote it."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str
    namespace: Annotated[str | UnsetType, Meta(description="The namespace that has the function.")] = UNSET


class ResponsesCustomCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """A call of a custom tool."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    input: str
    namespace: Annotated[str | UnsetType, Meta(description="The namespace that has the tool.")] = UNSET


ResponsesOutputItem: TypeAlias = ResponsesMessage | ResponsesReasoning | ResponsesFunctionCall | ResponsesCustomCall


class ResponsesInputDetails(msgspec.Struct, frozen=True):
    """Details of input_tokens: how many were in the prefix cache. Writing to this cache is not counted."""

    cached_tokens: int
    cache_write_tokens: int = 0


class ResponsesOutputDetails(msgspec.Struct, frozen=True):
    """Details of output_tokens: how many belong to the reasoning."""

    reasoning_tokens: int


class ResponsesUsage(msgspec.Struct, frozen=True):
    """Token counts. input_tokens include cached tokens, output_tokens include reasoning."""

    input_tokens: int
    input_tokens_details: ResponsesInputDetails
    output_tokens: int
    output_tokens_details: ResponsesOutputDetails
    total_tokens: int


class ResponsesIncompleteDetails(msgspec.Struct, frozen=True):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponsesFailure(msgspec.Struct, frozen=True):
    """Why a response failed."""

    code: FailureCode
    message: str


class ResponsesReasoningEcho(msgspec.Struct, frozen=True):
    """The effort of the request. There are no summaries."""

    effort: str | None = None
    summary: None = None


class ResponsesObject(msgspec.Struct, frozen=True, kw_only=True):
    """A response. `tools` are those that the model saw. Settings are returned as the request has them."""

    id: str
    object: Literal["response"] = "response"
    created_at: Annotated[int, Meta(description="Seconds since the epoch.")]
    status: ResponseStatus
    completed_at: int | None = None
    error: ResponsesFailure | None = None
    incomplete_details: ResponsesIncompleteDetails | None = None
    background: Literal[False] = False
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    metadata: dict[str, str]
    model: Annotated[str, Meta(description="The name in the request.")]
    output: list[ResponsesOutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ResponsesReasoningEcho
    store: bool
    temperature: float | None
    text: Annotated[Any, Meta(description="The text format.")]
    tool_choice: Annotated[Any, Meta(description="A mode, or an object that names tools.")]
    tools: list[Any]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    usage: ResponsesUsage | None = None
    user: str | None


class ResponsesDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """A response that was deleted."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ResponsesInputList(msgspec.Struct, frozen=True, kw_only=True):
    """The input items of a response, those of the responses before it included."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponsesEvent(msgspec.Struct, kw_only=True, tag_field="type"):
    """Base of the events. They are numbered from 0 when they are written."""

    sequence_number: int = 0


class ResponsesCreated(ResponsesEvent, kw_only=True, tag="response.created"):
    """The first event."""

    response: ResponsesObject


class ResponsesInProgress(ResponsesCreated, kw_only=True, tag="response.in_progress"):
    """The second event."""


class ResponsesCompleted(ResponsesCreated, kw_only=True, tag="response.completed"):
    """The last event of a complete response."""


class ResponsesIncomplete(ResponsesCreated, kw_only=True, tag="response.incomplete"):
    """The last event of a response that a limit on tokens ended."""


class ResponsesFailed(ResponsesCreated, kw_only=True, tag="response.failed"):
    """The last event of a response that failed."""


class ResponsesItemAdded(ResponsesEvent, kw_only=True, tag="response.output_item.added"):
    """An item begins."""

    output_index: int
    item: ResponsesOutputItem


class ResponsesItemDone(ResponsesItemAdded, kw_only=True, tag="response.output_item.done"):
    """An item is complete."""


class ResponsesItemEvent(ResponsesEvent, kw_only=True):
    """Base of the events about one item."""

    item_id: str
    output_index: int


class ResponsesPartAdded(ResponsesItemEvent, kw_only=True, tag="response.content_part.added"):
    """The text of an item begins."""

    content_index: int = 0
    part: ResponsesPart


class ResponsesPartDone(ResponsesPartAdded, kw_only=True, tag="response.content_part.done"):
    """The text of an item is complete."""


class ResponsesTextDelta(ResponsesItemEvent, kw_only=True, tag="response.output_text.delta"):
    """The next piece of a message."""

    content_index: int = 0
    delta: str
    logprobs: list[OpenAILogprob] = []


class ResponsesTextDone(ResponsesItemEvent, kw_only=True, tag="response.output_text.done"):
    """The whole text of a message."""

    content_index: int = 0
    text: str
    logprobs: list[OpenAILogprob] = []


class ResponsesReasoningDelta(ResponsesItemEvent, kw_only=True, tag="response.reasoning_text.delta"):
    """The next piece of the reasoning."""

    content_index: int = 0
    delta: str


class ResponsesReasoningDone(ResponsesItemEvent, kw_only=True, tag="response.reasoning_text.done"):
    """The whole reasoning."""

    content_index: int = 0
    text: str


class ResponsesArgumentsDelta(ResponsesItemEvent, kw_only=True, tag="response.function_call_arguments.delta"):
    """The next piece of the arguments of a call."""

    delta: str


class ResponsesArgumentsDone(ResponsesItemEvent, kw_only=True, tag="response.function_call_arguments.done"):
    """The whole arguments of a call."""

    name: str
    arguments: str


class ResponsesCustomInputDelta(ResponsesItemEvent, kw_only=True, tag="response.custom_tool_call_input.delta"):
    """The input of a call of a custom tool, in one piece."""

    delta: str


class ResponsesCustomInputDone(ResponsesItemEvent, kw_only=True, tag="response.custom_tool_call_input.done"):
    """The whole input of a call of a custom tool."""

    input: str


class ResponsesErrorEvent(ResponsesEvent, kw_only=True, tag="error"):
    """An error. The event response.failed follows."""

    code: str | None
    message: str
    param: str | None


# All events of a stream.
EVENTS = (
    ResponsesCreated,
    ResponsesInProgress,
    ResponsesCompleted,
    ResponsesIncomplete,
    ResponsesFailed,
    ResponsesItemAdded,
    ResponsesItemDone,
    ResponsesPartAdded,
    ResponsesPartDone,
    ResponsesTextDelta,
    ResponsesTextDone,
    ResponsesReasoningDelta,
    ResponsesReasoningDone,
    ResponsesArgumentsDelta,
    ResponsesArgumentsDone,
    ResponsesCustomInputDelta,
    ResponsesCustomInputDone,
    ResponsesErrorEvent,
)
