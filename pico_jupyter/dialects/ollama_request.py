"""Reads requests to api/chat, api/generate, api/show and api/pull: the fields, their meaning, and the calls to run."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias, TypeVar, assert_never

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.generation_options import OLLAMA_FALLBACK, build_request, unknown_options
from pico_jupyter.dialects.media import read_ollama_images
from pico_jupyter.dialects.messages import order_turns, read_content, read_tool_calls
from pico_jupyter.dialects.reasoning import read_reasoning_output, read_template_kwargs
from pico_jupyter.dialects.request_bodies import JsonObject, decode_fields, decode_object
from pico_jupyter.dialects.request_errors import Fault, Words, describe_generally, wrong_value
from pico_jupyter.dialects.request_fields import (
    MAX_TOP_LOGPROBS,
    Content,
    GenerationFields,
    Ignored,
    ModelName,
    NotNegative,
    PastToolCall,
    RequestStruct,
    ToolDefinition,
    TopLogprobs,
)
from pico_jupyter.dialects.settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.tools import NO_TOOLS, read_tools
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message, Prompt, RawPrompt, Role, TextPart

Endpoint: TypeAlias = Literal["chat", "generate"]
New = TypeVar("New", bound=RequestStruct)
Old = TypeVar("Old", bound=RequestStruct)

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class OllamaMessage(RequestStruct, frozen=True):
    """A turn of a conversation. Upper and lower case of `role` are the same."""

    role: Annotated[str, Meta(extra_json_schema={"enum": [*_ROLES]})]
    content: Annotated[
        str | Content | None, Meta(description="Text, or parts as in OpenAI's API. Only user and tool have media.")
    ] = None
    images: Annotated[
        list[str] | None,
        Meta(description="Images in base64, for models with the capability vision. Only user and tool have images."),
    ] = None
    thinking: Annotated[str | None, Meta(description="An answer's reasoning, for chat templates that use it.")] = None
    tool_calls: Annotated[list[PastToolCall] | None, Meta(description="An answer's tool calls.")] = None
    tool_call_id: Annotated[str | None, Meta(description="For a tool's result: the id of the call.")] = None
    tool_name: Annotated[
        str | None, Meta(description="For a tool's result: the tool's name. Omitted: that of the call with the id.")
    ] = None


class OllamaGenerationFields(GenerationFields, frozen=True):
    """The fields that api/chat and api/generate share."""

    messages: Annotated[
        list[OllamaMessage] | None, Meta(description="The conversation, with the latest turn last.")
    ] = None
    stream: Annotated[bool | None, Meta(description="Whether the answer is a stream of JSON lines. Omitted: true.")] = (
        None
    )
    truncate: Annotated[
        bool | None, Meta(description="Whether the oldest messages are dropped if not all fit. Omitted: true.")
    ] = None
    top_logprobs: Annotated[
        TopLogprobs | None,
        Meta(description="The number of likely tokens listed for each token; no effect without logprobs."),
    ] = None
    shift: Ignored = None


class OllamaChatRequest(OllamaGenerationFields, frozen=True):
    """A chat request. Without messages it loads the model, or unloads it if keep_alive is 0. Fields that are not listed
    are ignored; null counts as omitted.
    """

    tools: Annotated[list[ToolDefinition] | None, Meta(description="The tools that the model may call.")] = None


class OllamaGenerateRequest(OllamaGenerationFields, frozen=True):
    """A completion request. Without a prompt and messages it loads the model, or unloads it if keep_alive is 0.
    `messages` are used if there is no prompt. Fields that are not listed are ignored; null counts as omitted.
    """

    prompt: Annotated[str | None, Meta(description="The user's turn.")] = None
    system: Annotated[str | None, Meta(description="Instructions.")] = None
    images: Annotated[
        list[str] | None, Meta(description="Images in base64, for models with the capability vision.")
    ] = None
    context: Annotated[
        list[NotNegative] | None, Meta(description="The context of an earlier answer, which the prompt continues.")
    ] = None
    raw: Annotated[bool | None, Meta(description="Whether the model receives the prompt without its template.")] = None
    template: Annotated[
        str | None, Meta(description="Refused unless empty.", extra_json_schema={"enum": ["", None]})
    ] = None
    suffix: Annotated[str | None, Meta(description="Refused unless empty.", extra_json_schema={"enum": ["", None]})] = (
        None
    )


class OllamaShowFields(RequestStruct, frozen=True):
    """The fields that clients send to api/show beside a name."""

    verbose: Ignored = None
    system: Ignored = None
    template: Ignored = None
    options: Ignored = None


class OllamaShowRequest(OllamaShowFields, frozen=True, kw_only=True):
    """Names a model."""

    model: Annotated[ModelName, Meta(description="A name from the list of models.")]
    name: Annotated[str | None, Meta(description="Ignored.")] = None


class OllamaOldShowRequest(OllamaShowFields, frozen=True, kw_only=True):
    """Names a model as older clients do."""

    model: Annotated[Literal[""] | None, Meta(description="Empty or omitted.")] = None
    name: Annotated[ModelName, Meta(description="A name from the list of models.")]


class OllamaPullFields(RequestStruct, frozen=True):
    """The fields of api/pull beside a name."""

    stream: Annotated[bool | None, Meta(description="Whether the answer is a stream of JSON lines. Omitted: true.")] = (
        None
    )
    insecure: Ignored = None


class OllamaPullRequest(OllamaPullFields, frozen=True, kw_only=True):
    """Names a model."""

    model: Annotated[ModelName, Meta(description="A name from the list of models.")]
    name: Annotated[str | None, Meta(description="Ignored.")] = None


class OllamaOldPullRequest(OllamaPullFields, frozen=True, kw_only=True):
    """Names a model as older clients do."""

    model: Annotated[Literal[""] | None, Meta(description="Empty or omitted.")] = None
    name: Annotated[ModelName, Meta(description="A name from the list of models.")]


class OllamaAnswerCall(msgspec.Struct, frozen=True):
    """A request to generate, and the form of its answer.

    `model` is the name to echo. `unknown_options` are names in `options` to log.
    """

    endpoint: Endpoint
    request: GenerationRequest
    model: str
    stream: bool = True
    reasoning_output: ReasoningOutput = "separate"
    unknown_options: tuple[str, ...] = ()


class OllamaLoadCall(msgspec.Struct, frozen=True):
    """A request without a prompt: it loads the model, or unloads it with `unload`. The answer is always one object."""

    endpoint: Endpoint
    model: str
    keep_alive: float | None = None
    unload: bool = False


class OllamaPullCall(msgspec.Struct, frozen=True):
    """A request to download a model."""

    model: str
    stream: bool = True


def parse_ollama_chat(body: bytes, *, request_id: str, settings: DialectSettings) -> OllamaAnswerCall | OllamaLoadCall:
    """The call in the body of a POST to api/chat. Raises InvalidRequest, which names the wrong field."""
    raw = decode_object(body)
    fields = decode_fields(raw, OllamaChatRequest, _WORDS)
    model = fields.model or settings.default_model
    if not model:
        raise _model_required()
    prompt = _chat_prompt(fields, raw, _read_messages(fields, model), tools=read_tools(raw))
    return _read_call(fields, raw, "chat", model, prompt, request_id=request_id, settings=settings)


def parse_ollama_generate(
    body: bytes, *, request_id: str, settings: DialectSettings
) -> OllamaAnswerCall | OllamaLoadCall:
    """The call in the body of a POST to api/generate.

    Raises InvalidRequest, which names the wrong field, or ModelNotFound if there is no model.
    """
    raw = decode_object(body)
    fields = decode_fields(raw, OllamaGenerateRequest, _WORDS)
    model = fields.model or settings.default_model
    if not model:
        raise ModelNotFound("model '' not found", param="model")
    prompt = _read_generate_prompt(fields, raw, model)
    return _read_call(fields, raw, "generate", model, prompt, request_id=request_id, settings=settings)


def parse_ollama_show(body: bytes) -> str:
    """The name of the model in the body of a POST to api/show. Raises InvalidRequest."""
    fields = _decode_named(body, OllamaShowRequest, OllamaOldShowRequest)
    return fields.model or fields.name or ""


def parse_ollama_pull(body: bytes) -> OllamaPullCall:
    """The call in the body of a POST to api/pull. Raises InvalidRequest."""
    fields = _decode_named(body, OllamaPullRequest, OllamaOldPullRequest)
    return OllamaPullCall(fields.model or fields.name or "", stream=fields.stream is not False)


def _decode_named(body: bytes, kind: type[New], old_kind: type[Old]) -> New | Old:
    raw = decode_object(body)
    # The Go client sends both names, and one of them is empty.
    if raw.get("model") in (None, ""):
        return decode_fields(raw, old_kind, (("name", _describe_name),))
    return decode_fields(raw, kind)


def _read_call(
    fields: OllamaGenerationFields,
    raw: JsonObject,
    endpoint: Endpoint,
    model: str,
    prompt: Prompt,
    *,
    request_id: str,
    settings: DialectSettings,
) -> OllamaAnswerCall | OllamaLoadCall:
    # A request that only loads a model is checked as a whole too.
    request = build_request(
        fields,
        request_id=request_id,
        model=model,
        prompt=prompt,
        fallback=OLLAMA_FALLBACK,
        top_logprobs=fields.top_logprobs or 0 if fields.logprobs else None,
        think_requires_reasoning=True,
        return_context=endpoint == "generate" and raw.get("prompt") is not None and isinstance(prompt, ChatPrompt),
    )
    if _is_empty(prompt):
        return OllamaLoadCall(endpoint, model, request.keep_alive, unload=request.keep_alive == 0)
    return OllamaAnswerCall(
        endpoint=endpoint,
        request=request,
        model=model,
        stream=fields.stream is not False,
        reasoning_output=read_reasoning_output(fields, settings, asked=request.reasoning_required),
        unknown_options=unknown_options(raw),
    )


def _is_empty(prompt: Prompt) -> bool:
    match prompt:
        case ChatPrompt(messages=messages):
            return not messages
        case RawPrompt(text=text):
            return not text
        case _:
            assert_never(prompt)


def _chat_prompt(
    fields: OllamaGenerationFields,
    raw: JsonObject,
    messages: list[Message],
    *,
    tools: str = NO_TOOLS,
    context: tuple[int, ...] = (),
) -> ChatPrompt:
    return ChatPrompt(
        messages=order_turns(messages),
        tools=tools,
        template_kwargs=read_template_kwargs(raw),
        context=context,
        truncate=fields.truncate is not False,
    )


def _read_generate_prompt(fields: OllamaGenerateRequest, raw: JsonObject, model: str) -> Prompt:
    """`prompt` with `system` and `images`, or else `messages`, or else an empty prompt."""
    images, conversation = read_ollama_images(fields.images, "images"), _read_messages(fields, model)
    if fields.raw:
        return _raw_prompt(fields)
    if fields.template:
        raise InvalidRequest("template is not supported", param="template", code="unsupported_value")
    if fields.suffix:
        raise InvalidRequest(f"{model} does not support insert", param="suffix", code="unsupported_value")
    messages = [Message("system", (TextPart(fields.system),))] if fields.system else []
    turns = [Message("user", (*images, TextPart(fields.prompt)))] if fields.prompt else conversation
    return _chat_prompt(fields, raw, messages + turns if turns else [], context=tuple(fields.context or ()))


def _raw_prompt(fields: OllamaGenerateRequest) -> RawPrompt:
    if fields.template or fields.system or fields.context:
        raise InvalidRequest("raw mode does not support template, system, or context", param="raw")
    if fields.images:
        raise InvalidRequest("raw mode does not support images", param="images", code="unsupported_value")
    return RawPrompt(fields.prompt or "")


def _read_messages(fields: OllamaGenerationFields, model: str) -> list[Message]:
    return [_read_message(message, f"messages[{i}]", model) for i, message in enumerate(fields.messages or ())]


def _read_message(message: OllamaMessage, param: str, model: str) -> Message:
    role = _ROLES.get(message.role.lower())
    if role is None:
        raise wrong_value(f"{param}.role", message.role, _ROLES)
    has_media = role in ("user", "tool")
    if message.images and not has_media:
        raise InvalidRequest("invalid message format", param=f"{param}.images", code="invalid_value")
    images = read_ollama_images(message.images, f"{param}.images")
    content = read_content(message.content, f"{param}.content", model, media_allowed=has_media)
    return Message(
        role,
        (*images, *content),
        reasoning=message.thinking or None,
        tool_calls=read_tool_calls(message.tool_calls, f"{param}.tool_calls"),
        tool_call_id=message.tool_call_id,
        name=message.tool_name,
    )


def _model_required() -> InvalidRequest:
    return InvalidRequest("model is required", param="model", code="missing_required_parameter")


def _describe_name(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    return describe_generally(fault) if fault.value else _model_required()


def _describe_top_logprobs(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if fault.fitting() is None:
        return describe_generally(fault)
    return InvalidRequest(
        f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}", param="top_logprobs", code="invalid_value"
    )


_WORDS: Words = (("top_logprobs", _describe_top_logprobs),)
