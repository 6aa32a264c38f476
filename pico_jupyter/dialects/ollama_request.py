"""Bytes of a POST to api/chat, api/generate and the model endpoints in, calls out. Knows nothing of answers."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

import msgspec

from pico_jupyter.dialects.durations import read_keep_alive
from pico_jupyter.dialects.fields import INT64_MAX, Fields, decode_body, refuse_type, refuse_value
from pico_jupyter.dialects.media import read_ollama_images
from pico_jupyter.dialects.messages import order_turns, read_content, read_tool_calls
from pico_jupyter.dialects.options import (
    OLLAMA_FALLBACK,
    Options,
    read_draft_model,
    read_draft_tokens,
    read_max_tokens,
    read_options,
    read_sampling,
    read_stop,
)
from pico_jupyter.dialects.reasoning import read_reasoning, read_reasoning_output, read_template_kwargs
from pico_jupyter.dialects.settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.tools import NO_TOOLS, read_tools
from pico_jupyter.errors import InvalidRequest, ModelNotFound
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message, Part, Prompt, RawPrompt, Role, TextPart

Endpoint: TypeAlias = Literal["chat", "generate"]

MAX_TOP_LOGPROBS = 20

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class AnswerCall(msgspec.Struct, frozen=True):
    """A request to generate, and how its caller wants to read the answer. `model` is the name to echo.

    `unknown_options` are members of `options` that nobody knows.
    """

    endpoint: Endpoint
    request: GenerationRequest
    model: str
    stream: bool = True
    reasoning_output: ReasoningOutput = "separate"
    unknown_options: tuple[str, ...] = ()


class LoadCall(msgspec.Struct, frozen=True):
    """A request without a prompt: it loads the model, or with `unload` lets go of it. Always one object in return."""

    endpoint: Endpoint
    model: str
    keep_alive: float | None = None
    unload: bool = False


class PullCall(msgspec.Struct, frozen=True):
    """A request to download a model."""

    model: str
    stream: bool = True


def parse_chat(body: bytes, *, request_id: str, settings: DialectSettings) -> AnswerCall | LoadCall:
    """Raises InvalidRequest, which names the field."""
    fields = decode_body(body)
    model = fields.string("model") or settings.default_model
    if not model:
        raise InvalidRequest("model is required", param="model", code="missing_required_parameter")
    messages, tools = _read_messages(fields, model), read_tools(fields)
    prompt = _chat_prompt(fields, messages, tools=tools)
    return _read_call(fields, "chat", model, prompt, request_id=request_id, settings=settings)


def parse_generate(body: bytes, *, request_id: str, settings: DialectSettings) -> AnswerCall | LoadCall:
    """Raises InvalidRequest, which names the field, or ModelNotFound when no model is named."""
    fields = decode_body(body)
    model = fields.string("model") or settings.default_model
    if not model:
        raise ModelNotFound("model '' not found", param="model")
    prompt = _read_generate_prompt(fields, model)
    return _read_call(fields, "generate", model, prompt, request_id=request_id, settings=settings)


def parse_model_name(body: bytes) -> str:
    """The model that api/show and api/delete are about: `model`, or `name` as older clients call it."""
    return _read_name(decode_body(body))


def parse_pull(body: bytes) -> PullCall:
    fields = decode_body(body)
    return PullCall(_read_name(fields), stream=fields.boolean("stream") is not False)


def _read_name(fields: Fields) -> str:
    # The Go client sends both keys, one of them empty.
    model, name = fields.string("model"), fields.string("name")
    if not (model or name):
        raise InvalidRequest("model is required", param="model", code="missing_required_parameter")
    return model or name or ""


def _read_call(
    fields: Fields,
    endpoint: Endpoint,
    model: str,
    prompt: Prompt,
    *,
    request_id: str,
    settings: DialectSettings,
) -> AnswerCall | LoadCall:
    # All of it is read, so that what is wrong is told also where only a model is loaded.
    options = read_options(fields)
    request = _read_request(fields, model, prompt, options, request_id)
    call = AnswerCall(
        endpoint=endpoint,
        request=request,
        model=model,
        stream=fields.boolean("stream") is not False,
        reasoning_output=read_reasoning_output(fields, settings, asked=request.reasoning_required),
        unknown_options=options.unknown,
    )
    if not _is_empty(prompt):
        return call
    return LoadCall(endpoint, model, request.keep_alive, unload=request.keep_alive == 0)


def _is_empty(prompt: Prompt) -> bool:
    match prompt:
        case ChatPrompt(messages=messages):
            return not messages
        case RawPrompt(text=text):
            return not text
        case _:
            assert_never(prompt)


def _read_request(fields: Fields, model: str, prompt: Prompt, options: Options, request_id: str) -> GenerationRequest:
    reasoning = read_reasoning(fields)
    return GenerationRequest(
        id=request_id,
        model=model,
        prompt=prompt,
        sampling=read_sampling(fields, options),
        fallback_sampling=OLLAMA_FALLBACK,
        reasoning=reasoning.on,
        reasoning_required=reasoning.required,
        reasoning_effort=reasoning.effort,
        max_tokens=read_max_tokens(fields, options),
        max_context=options.max_context,
        stop=read_stop(fields, options),
        top_logprobs=_read_logprobs(fields),
        keep_alive=read_keep_alive(fields),
        draft_model=read_draft_model(fields),
        draft_tokens=read_draft_tokens(fields, options),
        return_context="prompt" in fields and isinstance(prompt, ChatPrompt),
    )


def _read_logprobs(fields: Fields) -> int | None:
    top_logprobs = fields.integer("top_logprobs") or 0
    if not 0 <= top_logprobs <= MAX_TOP_LOGPROBS:
        raise InvalidRequest(
            f"top_logprobs must be between 0 and {MAX_TOP_LOGPROBS}", param="top_logprobs", code="invalid_value"
        )
    return top_logprobs if fields.boolean("logprobs") else None


def _chat_prompt(
    fields: Fields, messages: list[Message], *, tools: str = NO_TOOLS, context: tuple[int, ...] = ()
) -> ChatPrompt:
    return ChatPrompt(
        messages=order_turns(messages),
        tools=tools,
        template_kwargs=read_template_kwargs(fields),
        context=context,
        truncate=fields.boolean("truncate") is not False,
    )


def _read_generate_prompt(fields: Fields, model: str) -> Prompt:
    """What to generate from: `prompt` with `system` and `images`, else `messages`, else nothing: an empty prompt."""
    text = fields.string("prompt")
    system = fields.string("system")
    images, conversation = read_ollama_images(fields), _read_messages(fields, model)
    context = _read_context(fields)
    template = fields.string("template")
    if fields.boolean("raw"):
        if template or system or context:
            raise InvalidRequest("raw mode does not support template, system, or context", param="raw")
        return _raw_prompt(fields, text)
    if template:
        raise InvalidRequest("template is not supported", param="template", code="unsupported_value")
    if fields.string("suffix"):
        raise InvalidRequest(f"{model} does not support insert", param="suffix", code="unsupported_value")
    messages = [Message("system", (TextPart(system),))] if system else []
    turns = [Message("user", (*images, TextPart(text)))] if text else conversation
    return _chat_prompt(fields, messages + turns if turns else [], context=context)


def _raw_prompt(fields: Fields, text: str | None) -> RawPrompt:
    if fields.array("images"):
        raise InvalidRequest("raw mode does not support images", param="images", code="unsupported_value")
    return RawPrompt(text or "")


def _read_context(fields: Fields) -> tuple[int, ...]:
    ids = []
    for i, given in enumerate(fields.array("context") or ()):
        token = int(given) if isinstance(given, float) and given.is_integer() else given
        if isinstance(token, bool) or not isinstance(token, int) or token < 0:
            refuse_type(f"{fields.param('context')}[{i}]", "a token id", given)
        ids.append(min(token, INT64_MAX))
    return tuple(ids)


def _read_messages(fields: Fields, model: str) -> list[Message]:
    return [_read_message(message, model) for message in fields.each("messages")]


def _read_message(message: Fields, model: str) -> Message:
    role = _read_role(message)
    images = read_ollama_images(message)
    if images and role in ("system", "assistant"):
        raise InvalidRequest("invalid message format", param=message.param("images"), code="invalid_value")
    content: tuple[Part, ...] = (*images, *read_content(message, model, media_allowed=role in ("user", "tool")))
    return Message(
        role,
        content,
        reasoning=message.string("thinking") or None,
        tool_calls=read_tool_calls(message),
        tool_call_id=message.string("tool_call_id"),
        name=message.string("tool_name"),
    )


def _read_role(message: Fields) -> Role:
    role = (message.string("role") or "").lower()
    if role not in _ROLES:
        refuse_value(message.param("role"), role, tuple(_ROLES))
    return _ROLES[role]
