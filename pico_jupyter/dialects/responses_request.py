"""Declares the requests to v1/responses, and parses them into calls for handlers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.dialect_settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.generation_options import OPENAI_FALLBACK, build_request, unknown_options
from pico_jupyter.dialects.messages import order_turns
from pico_jupyter.dialects.reasoning import read_reasoning_output
from pico_jupyter.dialects.reasoning_switch import read_template_kwargs, refuse_unknown_switches
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_errors import ErrorTexts, Fault, describe_generally, invalid, missing_parameter
from pico_jupyter.dialects.request_fields import GenerationFields, Positive, RequestStruct, TopLogprobs, about
from pico_jupyter.dialects.responses_items import (
    ResponseHistory,
    ResponsesItem,
    prepare_input,
    read_items,
    stored_input,
)
from pico_jupyter.dialects.responses_tools import (
    HOSTED_TOOLS,
    ResponsesTool,
    ResponsesToolChoice,
    ResponsesTools,
    read_responses_tools,
)
from pico_jupyter.dialects.structured_output import JsonObjectFormat, TextFormat, read_schema, read_structure
from pico_jupyter.errors import InvalidRequest, NotFound
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message, Structure, TextPart

_LOGPROBS = "message.output_text.logprobs"
_ENCRYPTED = "reasoning.encrypted_content"

ResponsesMetadataText: TypeAlias = Annotated[str, Meta(max_length=512)]
ResponsesMetadata: TypeAlias = Annotated[dict[str, ResponsesMetadataText], Meta(max_length=16)]
ResponsesInclude: TypeAlias = Annotated[str, Meta(extra_json_schema={"examples": [_LOGPROBS, _ENCRYPTED]})]


class ResponsesSchemaFormat(RequestStruct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that matches a schema. It is always enforced, also without `strict`."""

    ignored = frozenset({"description"})
    schema: dict[str, Any]
    name: str | None = None
    strict: bool | None = None


class ResponsesText(RequestStruct, frozen=True):
    """What the text of the answer must be."""

    ignored = frozenset({"verbosity"})
    format: TextFormat | JsonObjectFormat | ResponsesSchemaFormat | None = None


class ResponsesRequest(GenerationFields, frozen=True, kw_only=True):
    """A request for a response. Fields that are not listed are ignored; null counts as omitted."""

    ignored = frozenset(
        {"access_programs", "background_options", "client_metadata", "context_management", "image", "max_tool_calls"}
        | {"moderation", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier"}
        | {"service_tier", "stream_options"}
    )
    input: Annotated[str | list[ResponsesItem] | None, about("The latest items. Text: one message of the user.")] = None
    instructions: Annotated[str | None, about("The system message of this response only.")] = None
    previous_response_id: Annotated[str | None, about("A stored response, whose items are before `input`.")] = None
    store: Annotated[bool | None, about("false: the response is not stored.")] = None
    stream: Annotated[bool | None, about("Whether the answer is a stream of server-sent events.")] = None
    include: Annotated[list[ResponsesInclude] | None, about(f"{_LOGPROBS} and {_ENCRYPTED} have an effect.")] = None
    max_output_tokens: Annotated[Positive | None, about("Token limit for answer and reasoning together.")] = None
    top_logprobs: Annotated[TopLogprobs | None, about("Likeliest candidates to list per token.")] = None
    tools: Annotated[list[ResponsesTool] | None, about("The tools that the model may call.")] = None
    tool_choice: Annotated[ResponsesToolChoice | None, about("The tools that the model may or must call.")] = None
    parallel_tool_calls: Annotated[bool | None, about("false: the answer has one tool call at most.")] = None
    text: Annotated[ResponsesText | None, about("What the text of the answer must be.")] = None
    truncation: Annotated[
        Literal["auto", "disabled"] | None, about("auto: leave the oldest messages out if the context is too small.")
    ] = None
    metadata: Annotated[ResponsesMetadata | None, about("Returned in the response.")] = None
    user: Annotated[str | None, about("Returned in the response.")] = None
    background: Annotated[bool | None, about("true is refused.")] = None
    conversation: Annotated[Any, about("Refused unless null.")] = None
    prompt: Annotated[Any, about("Refused unless null.")] = None


class ResponsesCall(msgspec.Struct, frozen=True):
    """A request to run, and the form of its answer.

    `fields` are returned in the response. `stored_input` has the input items as JSON text. With `has_packed_reasoning`,
    reasoning items have encrypted_content. `unknown_options` are the names in `options` that the server logs.
    """

    request: GenerationRequest
    model: str
    fields: ResponsesRequest
    tools: ResponsesTools
    stored_input: bytes
    stream: bool = False
    store: bool = True
    reasoning_output: ReasoningOutput = "separate"
    has_packed_reasoning: bool = False
    unknown_options: tuple[str, ...] = ()

    @property
    def response_id(self) -> str:
        """The id of the response."""
        return f"resp_{self.request.id}"


def parse_responses(
    body: bytes, *, request_id: str, settings: DialectSettings, history: ResponseHistory
) -> ResponsesCall:
    """Parse the body of a POST to v1/responses. Raises InvalidRequest, which names the wrong field."""
    raw = decode_object(body)
    prepare_input(raw, history)
    fields = decode_fields(raw, ResponsesRequest, _TEXTS)
    refuse_unknown_switches(raw, ResponsesRequest)
    _refuse_unsupported(fields)
    model = fields.model or settings.default_model
    if not model:
        raise invalid("model", "model is required", "missing_required_parameter")
    tools = read_responses_tools(fields.tools, fields.tool_choice, parallel=fields.parallel_tool_calls is not False)
    include = fields.include or ()
    request = build_request(
        msgspec.structs.replace(fields, max_completion_tokens=fields.max_output_tokens or fields.max_completion_tokens),
        request_id=request_id,
        model=model,
        prompt=ChatPrompt(
            messages=_read_messages(fields, model, history),
            tools=tools.offered.tools,
            template_kwargs=read_template_kwargs(raw),
            truncate=fields.truncation == "auto",
        ),
        fallback=OPENAI_FALLBACK,
        top_logprobs=_read_top_logprobs(fields),
        structure=read_structure(fields, _read_text_format(fields.text), settings),
        tool_choice=tools.offered.choice,
    )
    return ResponsesCall(
        request=request,
        model=model,
        fields=fields,
        tools=tools,
        stored_input=stored_input(raw.get("input"), request_id),
        stream=fields.stream is True,
        store=fields.store is not False,
        reasoning_output=read_reasoning_output(fields, settings),
        has_packed_reasoning=_ENCRYPTED in include,
        unknown_options=unknown_options(raw),
    )


def _refuse_unsupported(fields: ResponsesRequest) -> None:
    if fields.background:
        text = "'background' is not supported here: a response is generated while its connection is open."
        raise invalid("background", text, "unsupported_value")
    for name in ("conversation", "prompt"):
        if getattr(fields, name) is not None:
            raise invalid(name, f"'{name}' is not supported here.", "unsupported_value")


def _read_messages(fields: ResponsesRequest, model: str, history: ResponseHistory) -> tuple[Message, ...]:
    earlier = _read_history(fields.previous_response_id, model, history)
    if not fields.input and not earlier:
        raise missing_parameter("input")
    if isinstance(fields.input, str):
        latest = [Message("user", (TextPart(fields.input),))]
    else:
        latest = read_items(fields.input or (), "input", model)
    instructions = [Message("system", (TextPart(fields.instructions),))] if fields.instructions else []
    return order_turns([*instructions, *earlier, *latest])


def _read_history(response_id: str | None, model: str, history: ResponseHistory) -> list[Message]:
    if response_id is None:
        return []
    try:
        items = history.conversation(response_id)
    except NotFound as error:
        raise invalid("previous_response_id", error.message, "previous_response_not_found") from None
    return read_items(msgspec.convert(items, list[ResponsesItem]), "previous_response_id", model)


def _read_top_logprobs(fields: ResponsesRequest) -> int | None:
    is_wanted = _LOGPROBS in (fields.include or ())
    return fields.top_logprobs or (0 if is_wanted else None)


def _read_text_format(text: ResponsesText | None) -> Structure | None:
    match text.format if text is not None else None:
        case ResponsesSchemaFormat(schema=schema) | JsonObjectFormat(schema=dict() as schema):
            return read_schema(schema, "text.format")
        case JsonObjectFormat():
            return Structure("json_object", param="text.format")
        case _:
            return None


def _describe_tool(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if fault.value not in HOSTED_TOOLS:
        return describe_generally(fault)
    text = f"The tool '{fault.value}' is not available on this server. Use a function instead."
    return invalid(fault.param, text, "unsupported_value")


_TEXTS: ErrorTexts = (((r"(tools\[\d+\]|tool_choice)\.type"), _describe_tool),)
