"""Declares the requests to v1/messages and v1/messages/count_tokens, and parses them into calls for handlers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from pico_jupyter.dialects.anthropic_content import AnthropicText, Messages, read_anthropic_message, read_text
from pico_jupyter.dialects.dialect_settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.generation_options import OPENAI_FALLBACK, build_request, unknown_options
from pico_jupyter.dialects.messages import order_turns
from pico_jupyter.dialects.reasoning import read_reasoning_output
from pico_jupyter.dialects.reasoning_switch import read_template_kwargs, refuse_unknown_switches
from pico_jupyter.dialects.request_bodies import JsonObject, decode_fields, decode_object
from pico_jupyter.dialects.request_errors import ErrorTexts, describe_generally, invalid
from pico_jupyter.dialects.request_fields import (
    ForcedTool,
    FunctionName,
    GenerationFields,
    Name,
    RequestStruct,
    Stops,
    ThinkingField,
    about,
)
from pico_jupyter.dialects.structured_output import read_schema, read_structure
from pico_jupyter.dialects.tools import OfferedTools, read_chosen_tools
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message

AnthropicEffort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]


class AnthropicTool(RequestStruct, frozen=True, kw_only=True):
    """A tool that the model may call, and that the client runs. Tools that only Anthropic's server or models know, such
    as web_search_20250305, are refused.
    """

    ignored = frozenset(
        {"allowed_callers", "cache_control", "defer_loading", "eager_input_streaming", "input_examples"}
    )
    type: Annotated[Literal["custom"] | None, about("Omitted: custom.")] = None
    name: Name
    description: str | None = None
    input_schema: Annotated[dict[str, Any], about("A JSON schema.")]
    strict: Annotated[bool | None, about("Whether the arguments of every call match the schema.")] = None


class ToolChoiceAuto(RequestStruct, frozen=True, tag_field="type", tag="auto"):
    """The answer may have calls."""

    disable_parallel_tool_use: Annotated[bool | None, about("true: one call at most.")] = None


class ToolChoiceAny(ToolChoiceAuto, frozen=True, tag="any"):
    """The answer has at least one call."""


class ToolChoiceTool(ToolChoiceAuto, frozen=True, kw_only=True, tag="tool"):
    """The answer is one call of one tool."""

    name: str


class ToolChoiceNone(RequestStruct, frozen=True, tag_field="type", tag="none"):
    """The model sees no tools."""


AnthropicToolChoice: TypeAlias = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone


class JsonOutputFormat(RequestStruct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that matches a schema."""

    schema: dict[str, Any]


class OutputConfig(RequestStruct, frozen=True):
    """What the answer is, and how much the model reasons."""

    effort: Annotated[AnthropicEffort | None, about("The level, for chat templates that have levels.")] = None
    format: Annotated[JsonOutputFormat | None, about("What the text of the answer must be.")] = None


class AnthropicThinkingField(ThinkingField, frozen=True):
    """The reasoning switch. enabled and disabled turn it on and off; the other types leave the model's default."""

    display: Annotated[
        Literal["summarized", "omitted"] | None, about("omitted: the blocks of reasoning are empty.")
    ] = None


class AnthropicRequest(GenerationFields, frozen=True, kw_only=True):
    """A conversation to continue. Fields that are not listed are ignored; null counts as omitted."""

    ignored = frozenset(
        {"betas", "billing_policy", "cache_control", "container", "context_management", "diagnostics", "fallbacks"}
    ) | {"inference_geo", "mcp_servers", "metadata", "service_tier", "speed", "user_profile_id", "workspace_id"}
    messages: Annotated[Messages, about("The conversation, the latest turn last.")]
    system: Annotated[str | list[AnthropicText] | None, about("Instructions.")] = None
    thinking: Annotated[AnthropicThinkingField | None, about("The fourth switch.")] = None
    stop_sequences: Annotated[Stops | None, about("Texts that end the answer. It does not include them.")] = None
    tools: Annotated[list[AnthropicTool] | None, about("The tools that the model may call.")] = None
    tool_choice: Annotated[AnthropicToolChoice | None, about("The tools that the model may or must call.")] = None
    output_config: Annotated[OutputConfig | None, about("Effort, and structure of the answer.")] = None
    output_format: Annotated[JsonOutputFormat | None, about("The older place of output_config.format.")] = None
    stream: Annotated[bool | None, about("Whether the answer is a stream of server-sent events.")] = None


class AnthropicCall(msgspec.Struct, frozen=True):
    """A request to run, and the form of its answer. With `omits_thinking`, blocks of reasoning are empty."""

    request: GenerationRequest
    model: str
    stream: bool = False
    reasoning_output: ReasoningOutput = "separate"
    omits_thinking: bool = False
    unknown_options: tuple[str, ...] = ()


def parse_anthropic_messages(body: bytes, *, request_id: str, settings: DialectSettings) -> AnthropicCall:
    """Parse the body of a POST to v1/messages or v1/messages/count_tokens.

    Raises InvalidRequest, which names the wrong field.
    """
    raw = decode_object(body)
    _refuse_server_tools(raw)
    fields = decode_fields(raw, AnthropicRequest, _TEXTS)
    refuse_unknown_switches(raw, AnthropicRequest)
    model = fields.model or settings.default_model
    if not model:
        raise invalid("model", "model is required", "missing_required_parameter")
    tools = _read_tools(fields)
    schema, param = _output_schema(fields)
    own = None if schema is None else read_schema(schema, param)
    request = build_request(
        fields,
        request_id=request_id,
        model=model,
        prompt=_read_prompt(fields, raw, tools),
        fallback=OPENAI_FALLBACK,
        top_logprobs=None,
        structure=read_structure(fields, own, settings),
        tool_choice=tools.choice,
    )
    return AnthropicCall(
        request=_complete(request, fields),
        model=model,
        stream=fields.stream is True,
        reasoning_output=read_reasoning_output(fields, settings),
        omits_thinking=fields.thinking is not None and fields.thinking.display == "omitted",
        unknown_options=unknown_options(raw),
    )


def _complete(request: GenerationRequest, fields: AnthropicRequest) -> GenerationRequest:
    """Add the stop sequences and the effort, which have other fields in Anthropic's API than in OpenAI's."""
    effort = None if fields.output_config is None else fields.output_config.effort
    changes: dict[str, Any] = {}
    if fields.stop_sequences is not None:
        changes["stop"] = tuple(dict.fromkeys((*request.stop, *(stop for stop in fields.stop_sequences if stop))))
    if effort is not None and request.reasoning is not False and request.reasoning_effort is None:
        changes["reasoning_effort"] = effort
    return msgspec.structs.replace(request, **changes)


def _output_schema(fields: AnthropicRequest) -> tuple[dict[str, Any] | None, str]:
    config = None if fields.output_config is None else fields.output_config.format
    if config is not None:
        return config.schema, "output_config.format"
    return (None if fields.output_format is None else fields.output_format.schema), "output_format"


def _read_prompt(fields: AnthropicRequest, raw: JsonObject, tools: OfferedTools) -> ChatPrompt:
    messages = [Message("system", read_text(fields.system))] if fields.system else []
    for i, message in enumerate(fields.messages):
        messages += read_anthropic_message(message, f"messages[{i}]")
    last = messages[-1]
    return ChatPrompt(
        messages=order_turns(messages),
        tools=tools.tools,
        template_kwargs=read_template_kwargs(raw),
        continue_final_message=last.role == "assistant" and not last.tool_calls and bool(last.content),
    )


def _read_tools(fields: AnthropicRequest) -> OfferedTools:
    """Return the tools in the form of OpenAI's API, which chat templates expect."""
    choice = fields.tool_choice
    tools = [_describe_tool(tool) for tool in fields.tools or ()]
    parallel = not (isinstance(choice, ToolChoiceAuto) and choice.disable_parallel_tool_use)
    raw: JsonObject = {"tools": tools}
    match choice:
        case ToolChoiceTool(name=name):
            return read_chosen_tools(ForcedTool(function=FunctionName(name=name)), raw, parallel=parallel)
        case ToolChoiceAny():
            return read_chosen_tools("required", raw, parallel=parallel)
        case ToolChoiceNone():
            return read_chosen_tools("none", raw, parallel=parallel)
        case _:
            return read_chosen_tools("auto", raw, parallel=parallel)


def _describe_tool(tool: AnthropicTool) -> JsonObject:
    function: JsonObject = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _refuse_server_tools(raw: JsonObject) -> None:
    """Refuse tools of a type that this server does not have. The error names the type."""
    tools = raw.get("tools")
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and kind != "custom":
            text = f"tools of the type '{kind[:64]}' are not available here; only tools that the client runs are"
            raise invalid(f"tools[{i}].type", text, "unsupported_value")


# Other endpoints describe content with texts that name the parts of OpenAI's messages.
_TEXTS: ErrorTexts = ((r"messages\[\d+\]\.content.*", lambda fault, _: describe_generally(fault)),)
