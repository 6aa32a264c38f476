"""Declares the requests to api/chat, api/generate, api/show and api/pull, and parses them into calls for handlers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, assert_never

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.dialect_settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.generation_options import OLLAMA_FALLBACK, build_request, unknown_options
from pico_jupyter.dialects.media import read_ollama_images
from pico_jupyter.dialects.messages import order_turns, read_content, read_tool_calls
from pico_jupyter.dialects.reasoning import read_reasoning_output
from pico_jupyter.dialects.reasoning_switch import read_template_kwargs, refuse_unknown_switches
from pico_jupyter.dialects.request_bodies import JsonObject, decode_fields, decode_object
from pico_jupyter.dialects.request_errors import ErrorTexts, Fault, describe_generally, invalid, wrong_value
from pico_jupyter.dialects.request_fields import (
    LOGPROBS,
    MAX_TOP_LOGPROBS,
    Content,
    GenerationFields,
    ModelName,
    NotNegative,
    PastToolCall,
    RequestStruct,
    ToolDefinition,
    TopLogprobs,
    about,
)
from pico_jupyter.dialects.structured_output import read_ollama_format, read_structure
from pico_jupyter.dialects.tools import NO_TOOLS, OfferedTools, read_tools
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import (
    ChatPrompt,
    CompletionPrompt,
    GenerationRequest,
    Message,
    Prompt,
    RawPrompt,
    Role,
    TextPart,
)

Endpoint: TypeAlias = Literal["chat", "generate"]
New = TypeVar("New", bound=RequestStruct)
Old = TypeVar("Old", bound=RequestStruct)

_IMAGES = about("Images in base64, for models with the capability vision.")
_MESSAGES = about("The conversation, the latest turn last. The model continues the text of a last assistant message.")
_FORMAT = about(
    'A JSON schema that the text of the answer matches. A text has no effect, except "json" if the setting '
    "structured_outputs is enforce: any JSON object."
)
_STREAM = about("Whether the answer is a stream of JSON lines. Omitted: true.")
_MODEL = about("A name from the list of models.")
_REFUSED = Meta(description="Refused unless empty.", extra_json_schema={"enum": ["", None]})
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class OllamaMessage(RequestStruct, frozen=True):
    """A turn of a conversation. `role` is case-insensitive. Only user and tool messages have images and videos.
    `thinking` and `tool_calls` are for assistant messages, `tool_call_id` and `tool_name` for tool messages.
    """

    role: Annotated[str, Meta(extra_json_schema={"enum": [*_ROLES]})]
    content: Annotated[str | Content | None, about("Text, or parts as in OpenAI's API.")] = None
    images: Annotated[list[str] | None, _IMAGES] = None
    thinking: Annotated[str | None, about("An answer's reasoning, for chat templates that use it.")] = None
    tool_calls: list[PastToolCall] | None = None
    tool_call_id: Annotated[str | None, about("The id of the tool call.")] = None
    tool_name: Annotated[str | None, about("The tool's name. If omitted: the name of the call with this id.")] = None


class OllamaGenerationFields(GenerationFields, frozen=True):
    """The fields that api/chat and api/generate share."""

    ignored = frozenset({"shift"})
    messages: Annotated[list[OllamaMessage] | None, _MESSAGES] = None
    stream: Annotated[bool | None, _STREAM] = None
    truncate: Annotated[bool | None, about("false: refuse a conversation that exceeds the context, not cut it.")] = None
    format: Annotated[dict[str, Any] | str | None, _FORMAT] = None
    logprobs: Annotated[bool | None, LOGPROBS] = None
    top_logprobs: Annotated[TopLogprobs | None, about("Likeliest candidates to list per token; needs logprobs.")] = None


class OllamaChatRequest(OllamaGenerationFields, frozen=True):
    """A chat request. Without messages it loads the model, or unloads it if keep_alive is 0. Fields that are not listed
    are ignored; null counts as omitted.
    """

    tools: Annotated[list[ToolDefinition] | None, about("The tools that the model may call.")] = None


class OllamaGenerateRequest(OllamaGenerationFields, frozen=True):
    """A completion request. Without a prompt and messages it loads the model, or unloads it if keep_alive is 0.
    `messages` are used if there is no prompt. Fields that are not listed are ignored; null counts as omitted.
    """

    prompt: Annotated[str | None, about("The user's turn.")] = None
    system: Annotated[str | None, about("Instructions.")] = None
    images: Annotated[list[str] | None, _IMAGES] = None
    context: Annotated[list[NotNegative] | None, about("An earlier answer's `context`, to continue it.")] = None
    raw: Annotated[bool | None, about("Whether the prompt is used as it is, without the chat template.")] = None
    template: Annotated[str | None, _REFUSED] = None
    suffix: Annotated[str | None, about("Text after the answer, for models with the capability insert.")] = None


class OllamaShowRequest(RequestStruct, frozen=True):
    """Names a model."""

    ignored = frozenset({"verbose", "system", "template", "options"})
    model: Annotated[ModelName, _MODEL]
    name: str | None = None


class OllamaOldShowRequest(RequestStruct, frozen=True, kw_only=True):
    """Names a model in `name`, as older clients do."""

    ignored = frozenset({"verbose", "system", "template", "options"})
    model: Annotated[Literal[""] | None, about("Empty or omitted.")] = None
    name: Annotated[ModelName, _MODEL]


class OllamaPullRequest(OllamaShowRequest, frozen=True):
    """Names a model."""

    ignored = frozenset({"insecure"})
    stream: Annotated[bool | None, _STREAM] = None


class OllamaOldPullRequest(OllamaOldShowRequest, frozen=True):
    """Names a model in `name`, as older clients do."""

    ignored = frozenset({"insecure"})
    stream: Annotated[bool | None, _STREAM] = None


class OllamaAnswerCall(msgspec.Struct, frozen=True):
    """A request to generate, and the form of its answer.

    `model` is the model's name in the answer. `unknown_options` are the names in `options` that the server logs.
    """

    endpoint: Endpoint
    request: GenerationRequest
    model: str
    stream: bool = True
    reasoning_output: ReasoningOutput = "separate"
    unknown_options: tuple[str, ...] = ()


class OllamaLoadCall(msgspec.Struct, frozen=True):
    """A request without a prompt. It loads the model, or unloads it if `unload` is set. The answer is no stream."""

    endpoint: Endpoint
    model: str
    keep_alive: float | None = None
    unload: bool = False


class OllamaPullCall(msgspec.Struct, frozen=True):
    """A request to download a model."""

    model: str
    stream: bool = True


def parse_ollama_chat(body: bytes, *, request_id: str, settings: DialectSettings) -> OllamaAnswerCall | OllamaLoadCall:
    """Parse the body of a POST to api/chat. Raises InvalidRequest, which names the invalid field."""
    raw = decode_object(body)
    fields = decode_fields(raw, OllamaChatRequest, _TEXTS)
    refuse_unknown_switches(raw, OllamaChatRequest)
    model = fields.model or settings.default_model
    if not model:
        raise _model_required()
    tools = read_tools(raw)
    prompt = _chat_prompt(fields, raw, _read_messages(fields, model), tools=tools)
    request = _build(fields, request_id, model, prompt, settings, tools=tools)
    return _finish_call(fields, "chat", request, settings, unknown_options(raw))


def parse_ollama_generate(
    body: bytes, *, request_id: str, settings: DialectSettings
) -> OllamaAnswerCall | OllamaLoadCall:
    """Parse the body of a POST to api/generate.

    Raises InvalidRequest, which names the invalid field, and ModelNotFound if no model is named.
    """
    raw = decode_object(body)
    fields = decode_fields(raw, OllamaGenerateRequest, _TEXTS)
    refuse_unknown_switches(raw, OllamaGenerateRequest)
    model = fields.model or settings.default_model
    if not model:
        raise ModelNotFound("model '' not found", param="model")
    prompt = _read_generate_prompt(fields, raw, model)
    return_context = fields.prompt is not None and isinstance(prompt, ChatPrompt)
    request = _build(fields, request_id, model, prompt, settings, return_context=return_context)
    return _finish_call(fields, "generate", request, settings, unknown_options(raw))


def parse_ollama_show(body: bytes) -> str:
    """Return the model's name in the body of a POST to api/show. Raises InvalidRequest."""
    fields = _decode_named(body, OllamaShowRequest, OllamaOldShowRequest)
    return fields.model or fields.name or ""


def parse_ollama_pull(body: bytes) -> OllamaPullCall:
    """Parse the body of a POST to api/pull. Raises InvalidRequest."""
    fields = _decode_named(body, OllamaPullRequest, OllamaOldPullRequest)
    return OllamaPullCall(fields.model or fields.name or "", stream=fields.stream is not False)


def _decode_named(body: bytes, kind: type[New], old_kind: type[Old]) -> New | Old:
    raw = decode_object(body)
    # The Go client sends both `model` and `name`, and one of them is empty.
    if raw.get("model") in (None, ""):
        return decode_fields(raw, old_kind, (("name", _describe_name),))
    return decode_fields(raw, kind)


def _build(
    fields: OllamaGenerationFields,
    request_id: str,
    model: str,
    prompt: Prompt,
    settings: DialectSettings,
    *,
    return_context: bool = False,
    tools: OfferedTools = NO_TOOLS,
) -> GenerationRequest:
    return build_request(
        fields,
        request_id=request_id,
        model=model,
        prompt=prompt,
        fallback=OLLAMA_FALLBACK,
        top_logprobs=(fields.top_logprobs or 0) if fields.logprobs else None,
        think_requires_reasoning=True,
        return_context=return_context,
        structure=read_structure(fields, read_ollama_format(fields.format, settings), settings),
        tool_choice=tools.choice,
    )


def _finish_call(
    fields: OllamaGenerationFields,
    endpoint: Endpoint,
    request: GenerationRequest,
    settings: DialectSettings,
    unknown: tuple[str, ...],
) -> OllamaAnswerCall | OllamaLoadCall:
    if _is_empty(request.prompt):
        return OllamaLoadCall(endpoint, request.model, request.keep_alive, unload=request.keep_alive == 0)
    output = read_reasoning_output(fields, settings, asked=request.reasoning_required)
    return OllamaAnswerCall(endpoint, request, request.model, fields.stream is not False, output, unknown)


def _is_empty(prompt: Prompt) -> bool:
    match prompt:
        case ChatPrompt(messages=messages):
            return not messages
        case RawPrompt(text=text):
            return not text
        case CompletionPrompt():
            return False
        case _:
            assert_never(prompt)


def _chat_prompt(
    fields: OllamaGenerationFields,
    raw: JsonObject,
    messages: list[Message],
    *,
    tools: OfferedTools = NO_TOOLS,
    context: tuple[int, ...] = (),
) -> ChatPrompt:
    messages = _without_empty_answer(messages)
    return ChatPrompt(
        messages=order_turns(messages),
        tools=tools.tools,
        template_kwargs=read_template_kwargs(raw),
        context=context,
        continue_final_message=bool(messages) and _is_begun_answer(messages[-1]),
        truncate=fields.truncate is not False,
    )


def _is_begun_answer(message: Message) -> bool:
    """Whether the model continues this last message, as in Ollama. A message with tool calls is complete."""
    return message.role == "assistant" and not message.tool_calls and bool(_text_of(message).strip())


def _without_empty_answer(messages: list[Message]) -> list[Message]:
    """Remove an empty answer at the end, which some clients send to begin the model's turn."""
    last = messages[-1] if len(messages) > 1 else None
    if last is None or last.role != "assistant" or last.tool_calls or last.reasoning or _text_of(last).strip():
        return messages
    return messages[:-1]


def _text_of(message: Message) -> str:
    return "".join(part.text for part in message.content if isinstance(part, TextPart))


def _read_generate_prompt(fields: OllamaGenerateRequest, raw: JsonObject, model: str) -> Prompt:
    """Return `prompt` with `images`, or else `messages`, after `system`. Without both, the prompt is empty."""
    images, conversation = read_ollama_images(fields.images or [], "images"), _read_messages(fields, model)
    if fields.raw:
        return _raw_prompt(fields)
    if fields.template:
        raise invalid("template", "template is not supported", "unsupported_value")
    if fields.suffix:
        return _insertion(fields)
    system = [Message("system", (TextPart(fields.system),))] if fields.system else []
    turns = [Message("user", (*images, TextPart(fields.prompt)))] if fields.prompt else conversation
    messages = [*system, *turns] if turns else []
    return _chat_prompt(fields, raw, messages, context=tuple(fields.context or ()))


def _insertion(fields: OllamaGenerateRequest) -> CompletionPrompt:
    """The prompt for the text between `prompt` and `suffix`. Like Ollama's templates for it, it has no system text."""
    if fields.images or fields.context:
        raise invalid("suffix", "suffix does not support images or context", "unsupported_value")
    return CompletionPrompt(fields.prompt or "", suffix=fields.suffix or "")


def _raw_prompt(fields: OllamaGenerateRequest) -> RawPrompt:
    if fields.template or fields.system or fields.context:
        raise InvalidRequest("raw mode does not support template, system, or context", param="raw")
    if fields.images:
        raise invalid("images", "raw mode does not support images", "unsupported_value")
    return RawPrompt(fields.prompt or "")


def _read_messages(fields: OllamaGenerationFields, model: str) -> list[Message]:
    return [_read_message(message, f"messages[{i}]", model) for i, message in enumerate(fields.messages or ())]


def _read_message(message: OllamaMessage, param: str, model: str) -> Message:
    role = _ROLES.get(message.role.lower())
    if role is None:
        raise wrong_value(f"{param}.role", message.role, _ROLES)
    has_media = role in ("user", "tool")
    if message.images and not has_media:
        raise invalid(f"{param}.images", "invalid message format")
    content = read_content(message.content, param, model, media_allowed=has_media)
    if message.images:
        content = (*read_ollama_images(message.images, f"{param}.images"), *content)
    return Message(
        role,
        content,
        reasoning=message.thinking or None,
        tool_calls=read_tool_calls(message.tool_calls, param),
        tool_call_id=message.tool_call_id,
        name=message.tool_name,
    )


def _model_required() -> InvalidRequest:
    return invalid("model", "model is required", "missing_required_parameter")


def _describe_name(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    return _model_required() if fault.value in (None, "") else describe_generally(fault)


def _describe_top_logprobs(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if not isinstance(fault.value, int) or isinstance(fault.value, bool):
        return describe_generally(fault)
    return invalid("top_logprobs", f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}")


_TEXTS: ErrorTexts = (("top_logprobs", _describe_top_logprobs),)
