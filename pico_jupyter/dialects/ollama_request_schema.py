"""What api/* takes, field by field, for people and programs that ask. The parser decides."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.ollama_request import MAX_TOP_LOGPROBS
from pico_jupyter.dialects.request_schema import (
    Content,
    GenerationFields,
    Ignored,
    ModelName,
    NotNegative,
    PastToolCall,
    TextContent,
    ToolDefinition,
)


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    """Instructions. Several of them are put together and come first."""

    content: str | TextContent | None = None


class DeveloperMessage(SystemMessage, tag_field="role", tag="developer"):
    """The same as `system`."""


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    """What the user says and shows."""

    content: Annotated[str | Content | None, Meta(description="Text, or parts as OpenAI's API has them.")] = None
    images: Annotated[
        list[str] | None, Meta(description="Pictures, in base64, for models with the capability vision.")
    ] = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    """An earlier answer."""

    content: str | TextContent | None = None
    thinking: Annotated[str | None, Meta(description="Its thinking, for models whose template keeps it.")] = None
    tool_calls: list[PastToolCall] | None = None


class ToolMessage(UserMessage, tag_field="role", tag="tool"):
    """What a tool gave back."""

    tool_call_id: Annotated[str | None, Meta(description="The id of the call that it answers.")] = None
    tool_name: Annotated[str | None, Meta(description="The tool's name; omitted, it follows from the id.")] = None


Message: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class AnswerFields(GenerationFields, kw_only=True):
    """What api/chat and api/generate have in common."""

    stream: Annotated[bool | None, Meta(description="Whether the answer comes as lines of JSON. Omitted: it does.")] = (
        None
    )
    truncate: Annotated[
        bool | None, Meta(description="Whether the oldest messages are left out where not all fit. Omitted: they are.")
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Whether the answer tells how likely its tokens were.")] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None,
        Meta(description="Likely tokens that are told beside each; without logprobs it changes nothing."),
    ] = None
    shift: Ignored = None


class ChatRequest(AnswerFields, kw_only=True):
    """A chat. Without messages the model is loaded, or with a keep_alive of 0 unloaded. Fields that are not listed are
    ignored; null counts as omitted.
    """

    messages: Annotated[list[Message] | None, Meta(description="The conversation, the latest turn last.")] = None
    tools: Annotated[list[ToolDefinition] | None, Meta(description="What the model may call.")] = None


class GenerateRequest(AnswerFields, kw_only=True):
    """A completion. Without a prompt and messages the model is loaded, or with a keep_alive of 0 unloaded. Fields that
    are not listed are ignored; null counts as omitted.
    """

    prompt: Annotated[str | None, Meta(description="What the user says.")] = None
    system: Annotated[str | None, Meta(description="Instructions.")] = None
    images: Annotated[
        list[str] | None, Meta(description="Pictures, in base64, for models with the capability vision.")
    ] = None
    messages: Annotated[list[Message] | None, Meta(description="A conversation, where there is no prompt.")] = None
    context: Annotated[
        list[NotNegative] | None, Meta(description="The context of an earlier answer, which the prompt follows.")
    ] = None
    raw: Annotated[bool | None, Meta(description="Whether the prompt goes to the model without its template.")] = None
    template: Annotated[Literal[""] | None, Meta(description="Refused unless it is empty.")] = None
    suffix: Annotated[Literal[""] | None, Meta(description="Refused unless it is empty: no model here inserts.")] = None


class ShowFields(msgspec.Struct, kw_only=True):
    """What clients send to api/show beside a name."""

    verbose: Ignored = None
    system: Ignored = None
    template: Ignored = None
    options: Ignored = None


class ShowRequest(ShowFields, kw_only=True):
    """Names a model."""

    model: Annotated[ModelName, Meta(description="A name from the list of models.")]
    name: Annotated[str | None, Meta(description="Not looked at where there is a model.")] = None


class OldShowRequest(ShowFields, kw_only=True):
    """Names a model as older clients do."""

    model: Annotated[Literal[""] | None, Meta(description="Empty, or not there.")] = None
    name: Annotated[ModelName, Meta(description="A name from the list of models.")]


class PullFields(msgspec.Struct, kw_only=True):
    """How the pull of a model is answered."""

    stream: Annotated[bool | None, Meta(description="Whether the answer comes as lines of JSON. Omitted: it does.")] = (
        None
    )
    insecure: Ignored = None


class PullRequest(PullFields, kw_only=True):
    """Names a model."""

    model: Annotated[ModelName, Meta(description="A name from the list of models.")]
    name: Annotated[str | None, Meta(description="Not looked at where there is a model.")] = None


class OldPullRequest(PullFields, kw_only=True):
    """Names a model as older clients do."""

    model: Annotated[Literal[""] | None, Meta(description="Empty, or not there.")] = None
    name: Annotated[ModelName, Meta(description="A name from the list of models.")]
