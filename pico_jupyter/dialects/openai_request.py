"""Bytes of a POST to v1/chat/completions or v1/chat in, a ChatCall out. Knows nothing of answers."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pico_jupyter.dialects import media
from pico_jupyter.dialects.durations import read_keep_alive
from pico_jupyter.dialects.fields import Fields, as_fields, decode_body, refuse_type, refuse_value
from pico_jupyter.dialects.messages import order_turns, read_content, read_tool_calls
from pico_jupyter.dialects.options import (
    OPENAI_FALLBACK,
    read_draft_model,
    read_draft_tokens,
    read_max_tokens,
    read_options,
    read_sampling,
    read_stop,
)
from pico_jupyter.dialects.reasoning import read_reasoning, read_reasoning_output, read_template_kwargs
from pico_jupyter.dialects.settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.tools import read_chosen_tools
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt, GenerationRequest, Message, Role

ChatPath: TypeAlias = Literal["v1/chat/completions", "v1/chat"]

MAX_CHOICES = 8
MAX_TOP_LOGPROBS = 20

_ROLES: dict[str, Role] = {
    "system": "system",
    "assistant": "assistant",
    "user": "user",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
_NAMED_ROLES = ("system", "assistant", "user", "developer", "tool")
_RESPONSE_FORMATS = ("text", "json_object", "json_schema")


class ChatCall(msgspec.Struct, frozen=True):
    """One chat request, and how its caller wants to read the answer.

    `model` is the name to echo. `unknown_options` are members of `options` that nobody knows.
    """

    request: GenerationRequest
    model: str
    stream: bool
    include_usage: bool = False
    reasoning_output: ReasoningOutput = "separate"
    parallel_tool_calls: bool = True
    unknown_options: tuple[str, ...] = ()


def parse_chat(body: bytes, *, request_id: str, path: ChatPath, accept: str, settings: DialectSettings) -> ChatCall:
    """Raises InvalidRequest, which names the field. `accept` is the Accept header, "" when there is none."""
    fields = decode_body(body)
    model = _read_model(fields, settings)
    stream = _read_stream(fields, path, accept, settings)
    options = read_options(fields)
    reasoning = read_reasoning(fields)
    _check_unused(fields, model)
    request = GenerationRequest(
        id=request_id,
        model=model,
        prompt=_read_prompt(fields, model),
        sampling=read_sampling(fields, options),
        fallback_sampling=OPENAI_FALLBACK,
        reasoning=reasoning.on,
        reasoning_effort=reasoning.effort,
        max_tokens=read_max_tokens(fields, options),
        max_context=options.max_context,
        stop=read_stop(fields, options),
        n=_read_n(fields),
        top_logprobs=_read_logprobs(fields),
        keep_alive=read_keep_alive(fields),
        draft_model=read_draft_model(fields),
        draft_tokens=read_draft_tokens(fields, options),
    )
    return ChatCall(
        request=request,
        model=model,
        stream=stream,
        include_usage=_read_include_usage(fields, stream=stream),
        reasoning_output=read_reasoning_output(fields, settings, asked=False),
        parallel_tool_calls=fields.boolean("parallel_tool_calls") is not False,
        unknown_options=options.unknown,
    )


def _read_model(fields: Fields, settings: DialectSettings) -> str:
    model = fields.string("model") or settings.default_model
    if not model:
        raise InvalidRequest("model is required", param="model", code="missing_required_parameter")
    return model


def _read_stream(fields: Fields, path: ChatPath, accept: str, settings: DialectSettings) -> bool:
    stream = fields.boolean("stream")
    if stream is not None:
        return stream
    accepted = {entry.partition(";")[0].strip().lower() for entry in accept.split(",")}
    if path == "v1/chat/completions" and settings.openai_stream_default == "openai":
        return "text/event-stream" in accepted
    return "application/json" not in accepted or not accepted.isdisjoint({"text/event-stream", "*/*"})


def _read_include_usage(fields: Fields, *, stream: bool) -> bool:
    options = fields.fields("stream_options")
    if options is None:
        return False
    if not stream:
        raise InvalidRequest(
            "Stream options can only be defined when stream=True", param="stream_options", code="invalid_value"
        )
    return options.boolean("include_usage") is True


def _read_n(fields: Fields) -> int:
    n = fields.integer("n", minimum=1)
    if n is not None and n > MAX_CHOICES:
        raise InvalidRequest(f"'n' can be at most {MAX_CHOICES} here.", param="n", code="unsupported_value")
    return n or 1


def _read_logprobs(fields: Fields) -> int | None:
    wanted = fields.boolean("logprobs") is True
    top_logprobs = fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS) or 0
    if top_logprobs and not wanted:
        raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs", code="invalid_value")
    return top_logprobs if wanted else None


def _check_unused(fields: Fields, model: str) -> None:
    """Fields that change nothing, and are an error all the same when they are malformed."""
    _check_response_format(fields)
    if "audio" in (fields.array("modalities") or ()):
        raise media.refuse_media(model, "modalities")


def _check_response_format(fields: Fields) -> None:
    response_format = fields.fields("response_format")
    if response_format is None:
        return
    kind = response_format.get("type")
    if not isinstance(kind, str):
        refuse_type("response_format.type", "a string", kind)
    if kind not in _RESPONSE_FORMATS:
        refuse_value("response_format.type", kind, _RESPONSE_FORMATS)
    if kind != "json_schema":
        return
    if not isinstance(response_format.get("json_schema"), dict):
        raise InvalidRequest(
            "'response_format' of type 'json_schema' needs a 'json_schema' object.",
            param="response_format",
            code="missing_required_parameter",
        )
    as_fields(response_format.get("json_schema"), "response_format.json_schema").fields("schema")


def _read_prompt(fields: Fields, model: str) -> ChatPrompt:
    turns = list(fields.each("messages"))
    if not turns:
        raise InvalidRequest("[] is too short - 'messages'", param="messages", code="missing_required_parameter")
    messages = order_turns([_read_message(turn, model) for turn in turns])
    continues = fields.boolean("continue_final_message") is True
    if continues and messages[-1].role != "assistant":
        raise InvalidRequest(
            "'continue_final_message' needs a last message of the assistant.",
            param="continue_final_message",
            code="invalid_value",
        )
    return ChatPrompt(
        messages=messages,
        tools=read_chosen_tools(fields),
        template_kwargs=read_template_kwargs(fields),
        continue_final_message=continues,
    )


def _read_message(message: Fields, model: str) -> Message:
    role = _read_role(message)
    match role:
        case "user" | "system":
            if "content" not in message:
                refuse_type(message.param("content"), "a string or an array of parts", None)
            return Message(role, read_content(message, model, media_allowed=role == "user"))
        case "assistant":
            return Message(
                role,
                read_content(message, model, media_allowed=False),
                reasoning=_read_past_reasoning(message),
                tool_calls=read_tool_calls(message),
            )
        case "tool":
            return Message(
                role,
                read_content(message, model, media_allowed=False),
                tool_call_id=message.string("tool_call_id"),
                name=message.string("name"),
            )


def _read_role(message: Fields) -> Role:
    value = message.string("role")
    if value is None:
        param = message.param("role")
        raise InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if value not in _ROLES:
        refuse_value(message.param("role"), value, _NAMED_ROLES)
    return _ROLES[value]


def _read_past_reasoning(message: Fields) -> str | None:
    texts = (message.string(key) for key in ("reasoning_content", "reasoning", "thinking"))
    return next((text for text in texts if text), None)
