"""Declares the requests to v1/chat/completions and v1/chat, and parses them into calls for handlers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects import media
from pico_jupyter.dialects.dialect_settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.generation_options import OPENAI_FALLBACK, build_request, unknown_options
from pico_jupyter.dialects.messages import order_turns, read_content, read_tool_calls
from pico_jupyter.dialects.reasoning import read_reasoning_output
from pico_jupyter.dialects.reasoning_switch import read_template_kwargs, refuse_unknown_switches
from pico_jupyter.dialects.request_bodies import JsonObject, decode_fields, decode_object
from pico_jupyter.dialects.request_errors import ErrorTexts, Fault, describe_generally, invalid, wrong_value
from pico_jupyter.dialects.request_fields import (
    LOGPROBS,
    Content,
    GenerationFields,
    PastToolCall,
    RequestStruct,
    TextContent,
    ToolChoiceField,
    ToolDefinition,
    TopLogprobs,
    about,
)
from pico_jupyter.dialects.structured_output import ResponseFormat, read_response_format, read_structure
from pico_jupyter.dialects.tools import OfferedTools, read_chosen_tools
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message

ChatPath: TypeAlias = Literal["v1/chat/completions", "v1/chat"]

MAX_CHOICES = 8
Choices: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]


class OpenAISystemMessage(RequestStruct, frozen=True, tag_field="role", tag="system"):
    """Instructions. Several of them are joined into one leading message."""

    ignored = frozenset({"name"})
    content: str | TextContent


class OpenAIDeveloperMessage(OpenAISystemMessage, frozen=True, tag="developer"):
    """The same as `system`."""


class OpenAIUserMessage(RequestStruct, frozen=True, tag_field="role", tag="user"):
    """The user's turn: text, images and videos."""

    ignored = frozenset({"name"})
    content: str | Content


class OpenAIAssistantMessage(RequestStruct, frozen=True, tag_field="role", tag="assistant"):
    """An earlier answer."""

    ignored = frozenset({"name"})
    content: str | TextContent | None = None
    reasoning_content: Annotated[str | None, about("The answer's reasoning, for chat templates that use it.")] = None
    reasoning: Annotated[str | None, about("The same. Used if reasoning_content is omitted.")] = None
    thinking: Annotated[str | None, about("The same. Used if reasoning_content and reasoning are omitted.")] = None
    tool_calls: list[PastToolCall] | None = None


class OpenAIToolMessage(RequestStruct, frozen=True, tag_field="role", tag="tool"):
    """The result of a tool call."""

    content: str | TextContent | None = None
    tool_call_id: Annotated[str | None, about("The id of the tool call.")] = None
    name: Annotated[str | None, about("The tool's name. If omitted: the name of the call with this id.")] = None


class OpenAIFunctionMessage(OpenAIToolMessage, frozen=True, tag="function"):
    """The same as `tool`, under its older name."""


OpenAIMessage: TypeAlias = (
    OpenAISystemMessage
    | OpenAIAssistantMessage
    | OpenAIUserMessage
    | OpenAIDeveloperMessage
    | OpenAIToolMessage
    | OpenAIFunctionMessage
)


class StreamOptions(RequestStruct, frozen=True):
    """Options of a streamed answer."""

    ignored = frozenset({"include_obfuscation"})
    include_usage: Annotated[bool | None, about("Whether the last chunk contains the token counts.")] = None


class OpenAIChatRequest(GenerationFields, frozen=True, kw_only=True):
    """A chat request. Fields that are not listed are ignored; null counts as omitted. If `stream` is omitted,
    v1/chat streams and v1/chat/completions does not, unless openai_stream_default or the Accept header says
    otherwise.
    """

    ignored = (
        frozenset({"add_generation_prompt", "audio", "chat_template", "function_call", "functions"})
        | {
            "format",
            "metadata",
            "moderation",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
        }
        | {"safety_identifier", "service_tier", "store", "verbosity", "web_search_options"}
    )
    messages: Annotated[list[OpenAIMessage], Meta(min_length=1, description="The conversation, the latest turn last.")]
    stream: Annotated[bool | None, about("Whether the answer is a stream of server-sent events.")] = None
    stream_options: Annotated[StreamOptions | None, about("Only for streams.")] = None
    n: Annotated[Choices | None, about("The number of answers.")] = None
    logprobs: Annotated[bool | None, LOGPROBS] = None
    top_logprobs: Annotated[TopLogprobs | None, about("Likeliest candidates to list per token; needs logprobs.")] = None
    tools: Annotated[list[ToolDefinition] | None, about("The tools that the model may call.")] = None
    tool_choice: Annotated[ToolChoiceField | None, about("The tools that the model may or must call.")] = None
    parallel_tool_calls: Annotated[bool | None, about("false: the answer has one tool call at most.")] = None
    continue_final_message: Annotated[bool | None, about("Whether the model continues the assistant's last turn.")] = (
        None
    )
    response_format: Annotated[ResponseFormat | None, about("What the text of the answer must be.")] = None
    modalities: Annotated[list[Any] | None, about("No effect; audio is refused.")] = None


class OpenAIChatCall(msgspec.Struct, frozen=True):
    """A chat request to run, and the form of its answer.

    `model` is the model's name in the answer. `unknown_options` are the names in `options` that the server logs.
    """

    request: GenerationRequest
    model: str
    stream: bool
    include_usage: bool = False
    reasoning_output: ReasoningOutput = "separate"
    unknown_options: tuple[str, ...] = ()


def parse_openai_chat(
    body: bytes, *, request_id: str, path: ChatPath, accept: str, settings: DialectSettings
) -> OpenAIChatCall:
    """Parse the body of a POST to `path`. `accept` is the Accept header ("": absent).

    Raises InvalidRequest, which names the invalid field.
    """
    raw = decode_object(body)
    fields = decode_fields(raw, OpenAIChatRequest, _TEXTS)
    refuse_unknown_switches(raw, OpenAIChatRequest)
    model = fields.model or settings.default_model
    if not model:
        raise invalid("model", "model is required", "missing_required_parameter")
    if "audio" in (fields.modalities or ()):
        raise media.refuse_media(model, "modalities")
    stream = _read_stream(fields.stream, path, accept, settings)
    tools = read_chosen_tools(fields.tool_choice, raw, parallel=fields.parallel_tool_calls is not False)
    request = build_request(
        fields,
        request_id=request_id,
        model=model,
        prompt=_read_prompt(fields, raw, model, tools),
        fallback=OPENAI_FALLBACK,
        top_logprobs=_read_logprobs(fields),
        n=fields.n or 1,
        structure=read_structure(fields, read_response_format(fields.response_format), settings),
        tool_choice=tools.choice,
    )
    return OpenAIChatCall(
        request=request,
        model=model,
        stream=stream,
        include_usage=read_include_usage(fields.stream_options, stream=stream),
        reasoning_output=read_reasoning_output(fields, settings),
        unknown_options=unknown_options(raw),
    )


def _read_stream(stream: bool | None, path: ChatPath, accept: str, settings: DialectSettings) -> bool:
    if stream is not None:
        return stream
    accepted = {entry.partition(";")[0].strip().lower() for entry in accept.split(",")}
    if path == "v1/chat/completions" and settings.openai_stream_default == "openai":
        return "text/event-stream" in accepted
    is_json_only = "application/json" in accepted and accepted.isdisjoint({"text/event-stream", "*/*"})
    return not is_json_only


def read_include_usage(options: StreamOptions | None, *, stream: bool) -> bool:
    """Return whether a stream ends with the token counts. Raises InvalidRequest for options without a stream."""
    if options is None:
        return False
    if not stream:
        raise invalid("stream_options", "Stream options can only be defined when stream=True")
    return options.include_usage is True


def _read_logprobs(fields: OpenAIChatRequest) -> int | None:
    if fields.top_logprobs and not fields.logprobs:
        raise invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    return (fields.top_logprobs or 0) if fields.logprobs else None


def _read_prompt(fields: OpenAIChatRequest, raw: JsonObject, model: str, tools: OfferedTools) -> ChatPrompt:
    messages = order_turns(
        [_read_message(message, f"messages[{i}]", model) for i, message in enumerate(fields.messages)]
    )
    continues = fields.continue_final_message is True
    if continues and messages[-1].role != "assistant":
        raise invalid("continue_final_message", "'continue_final_message' needs an assistant message at the end.")
    return ChatPrompt(
        messages=messages,
        tools=tools.tools,
        template_kwargs=read_template_kwargs(raw),
        continue_final_message=continues,
    )


def _read_message(message: OpenAIMessage, param: str, model: str) -> Message:
    content = read_content(message.content, param, model)
    match message:
        case OpenAISystemMessage():
            return Message("system", content)
        case OpenAIUserMessage():
            return Message("user", content)
        case OpenAIAssistantMessage():
            return Message(
                "assistant",
                content,
                reasoning=message.reasoning_content or message.reasoning or message.thinking or None,
                tool_calls=read_tool_calls(message.tool_calls, param),
            )
        case OpenAIToolMessage():
            return Message("tool", content, tool_call_id=message.tool_call_id, name=message.name)


def _describe_messages(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if fault.value not in (None, []):
        return describe_generally(fault)
    return invalid("messages", "[] is too short - 'messages'", "missing_required_parameter")


def _describe_role(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if not isinstance(fault.value, str):
        return describe_generally(fault)
    return wrong_value(fault.param, fault.value, ("system", "assistant", "user", "developer", "tool"))


def _describe_n(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if not isinstance(fault.value, int) or fault.value <= MAX_CHOICES:
        return describe_generally(fault)
    return invalid("n", f"'n' can be at most {MAX_CHOICES} here.", "unsupported_value")


def _describe_json_schema(fault: Fault, place: re.Match[str]) -> InvalidRequest:
    if place["schema"] and not fault.is_missing:
        return describe_generally(fault)
    return invalid(
        "response_format",
        "'response_format' of type 'json_schema' needs a 'json_schema' object with a 'schema'.",
        "missing_required_parameter",
    )


_TEXTS: ErrorTexts = (
    ("messages", _describe_messages),
    (r"messages\[\d+\]\.role", _describe_role),
    ("n", _describe_n),
    (r"response_format\.json_schema(?P<schema>\.schema)?", _describe_json_schema),
)
