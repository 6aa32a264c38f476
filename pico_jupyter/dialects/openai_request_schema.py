"""What v1/* takes, field by field, for people and programs that ask. The parser decides."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.openai_request import MAX_CHOICES, MAX_TOP_LOGPROBS
from pico_jupyter.dialects.request_schema import (
    Content,
    GenerationFields,
    Ignored,
    Name,
    PastToolCall,
    TextContent,
    ToolDefinition,
)


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    """Instructions. Several of them are put together and come first."""

    content: str | TextContent
    name: Ignored = None


class DeveloperMessage(SystemMessage, tag_field="role", tag="developer"):
    """The same as `system`."""


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    """What the user says and shows."""

    content: str | Content
    name: Ignored = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """An earlier answer."""

    content: str | TextContent | None = None
    reasoning_content: Annotated[str | None, Meta(description="Its thinking, for models whose template keeps it.")] = (
        None
    )
    reasoning: Annotated[str | None, Meta(description="The same, where there is no reasoning_content.")] = None
    thinking: Annotated[str | None, Meta(description="The same, where there is neither.")] = None
    tool_calls: list[PastToolCall] | None = None
    name: Ignored = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """What a tool gave back."""

    content: str | TextContent | None = None
    tool_call_id: Annotated[str | None, Meta(description="The id of the call that it answers.")] = None
    name: Annotated[str | None, Meta(description="The tool's name; omitted, it follows from the id.")] = None


class FunctionMessage(ToolMessage, tag_field="role", tag="function"):
    """The same as `tool`, as it once was called."""


class StreamOptions(msgspec.Struct):
    """How to stream."""

    include_usage: Annotated[bool | None, Meta(description="Whether a last chunk tells the usage.")] = None
    include_obfuscation: Ignored = None


class SchemaHolder(msgspec.Struct):
    """A JSON schema and its name."""

    schema: dict[str, Any] | None = None
    name: Ignored = None
    description: Ignored = None
    strict: Ignored = None


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    """Text, as always."""


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """JSON is asked for; answers do not follow it yet."""


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    """JSON of a form is asked for; answers do not follow it yet."""

    json_schema: SchemaHolder


class NamedFunction(msgspec.Struct):
    """A tool by its name."""

    name: Name


class NamedTool(msgspec.Struct):
    """A tool by its name."""

    function: NamedFunction
    type: Ignored = None


class ToolsLeft(msgspec.Struct, kw_only=True):
    """The tools that are left, and how. Forcing a call is refused."""

    tools: list[NamedTool] | None = None
    mode: Annotated[Literal["auto", ""] | None, Meta(description="auto, or not there.")] = None


class AllowedTools(ToolsLeft, tag_field="type", tag="allowed_tools"):
    """Leaves some of `tools`."""

    allowed_tools: Annotated[ToolsLeft | None, Meta(description="Where the two may also stand.")] = None


ToolChoice: TypeAlias = Literal["none", "auto"] | AllowedTools | None


class ChatRequest(GenerationFields, kw_only=True):
    """A chat. Fields that are not listed are ignored; null counts as omitted."""

    messages: Annotated[
        list[SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage],
        Meta(min_length=1, description="The conversation, the latest turn last."),
    ]
    stream: Annotated[
        bool | None,
        Meta(
            description="Whether the answer comes as server-sent events. Omitted: on v1/chat it does, on "
            "v1/chat/completions it does not, unless openai_stream_default or the Accept header say otherwise."
        ),
    ] = None
    stream_options: Annotated[StreamOptions | None, Meta(description="For streams only.")] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None, Meta(description="How many answers are generated.")
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Whether the answer tells how likely its tokens were.")] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None,
        Meta(description="Likely tokens that are told beside each; needs logprobs."),
    ] = None
    tools: Annotated[list[ToolDefinition] | None, Meta(description="What the model may call.")] = None
    tool_choice: Annotated[
        ToolChoice, Meta(description="Which of the tools the model sees. Forcing a call is refused.")
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="With false the first call ends the calls.")] = None
    continue_final_message: Annotated[
        bool | None, Meta(description="Whether the model goes on with the last message, which is the assistant's.")
    ] = None
    response_format: Annotated[
        TextFormat | JsonObjectFormat | JsonSchemaFormat | None,
        Meta(description="Checked for its form; answers do not follow it yet."),
    ] = None
    modalities: Annotated[list[Any] | None, Meta(description="Changes nothing; audio is refused.")] = None
    add_generation_prompt: Ignored = None
    audio: Ignored = None
    chat_template: Ignored = None
    function_call: Ignored = None
    functions: Ignored = None
    metadata: Ignored = None
    moderation: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    verbosity: Ignored = None
    web_search_options: Ignored = None
