"""What conversations have in common in both dialects: content parts, tool calls of the past, order of turns."""

from __future__ import annotations

import msgspec

from pico_jupyter.dialects import media
from pico_jupyter.dialects.fields import Fields, as_fields, json_text, refuse_type
from pico_jupyter.dialects.reasoning import CLOSE_TAG, OPEN_TAG
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import Message, Part, TextPart, ToolCall

_TEXT_KEYS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}


def read_content(message: Fields, model: str, *, media_allowed: bool) -> tuple[Part, ...]:
    """The parts of `content`, in their order; none for null and for ""."""
    content = message.get("content")
    if content is None or content == "":
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    param = message.param("content")
    if not isinstance(content, list):
        refuse_type(param, "a string or an array of parts", content)
    parts = (as_fields(part, f"{param}[{i}]") for i, part in enumerate(content))
    return tuple(_read_part(part, model, media_allowed=media_allowed) for part in parts)


def read_tool_calls(message: Fields) -> tuple[ToolCall, ...]:
    """The calls of an assistant turn. `arguments` may be JSON text or an object, in either dialect.

    Text that is not valid JSON stays: agents replay what the model wrote, malformed as it may be.
    """
    return tuple(_read_tool_call(call) for call in message.each("tool_calls"))


def order_turns(messages: list[Message]) -> tuple[Message, ...]:
    """One leading system message, tool results that know their tool's name, no reasoning of past turns in content."""
    return _merge_system(_strip_reasoning(_name_results(messages)))


def _read_part(part: Fields, model: str, *, media_allowed: bool) -> Part:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXT_KEYS:
        key = _TEXT_KEYS[kind]
        text = part.string(key)
        if text is None:
            refuse_type(part.param(key), "a string", None)
        return TextPart(text)
    if media_allowed and kind in media.IMAGE_TYPES:
        return media.read_image_part(part)
    if media_allowed and kind in media.VIDEO_TYPES:
        return media.read_video_part(part)
    if media_allowed and kind in media.UNSUPPORTED_TYPES:
        raise media.refuse_media(model, part.path)
    raise InvalidRequest("invalid message format", param=part.path, code="invalid_value")


def _read_tool_call(call: Fields) -> ToolCall:
    function = call.fields("function")
    name = function.string("name") if function is not None else None
    if function is None or not name:
        raise InvalidRequest(
            f"Missing required parameter: '{call.param('function')}.name'.",
            param=call.param("function"),
            code="missing_required_parameter",
        )
    arguments = function.get("arguments")
    if arguments is None:
        arguments = "{}"
    elif isinstance(arguments, dict):
        arguments = json_text(arguments, function.param("arguments"))
    elif not isinstance(arguments, str):
        refuse_type(function.param("arguments"), "a string or an object", arguments)
    return ToolCall(id=call.string("id") or "", name=name, arguments=arguments)


def _name_results(messages: list[Message]) -> list[Message]:
    names: dict[str, str] = {}
    named = []
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls if call.id)
        if message.role == "tool" and message.name is None and message.tool_call_id in names:
            message = msgspec.structs.replace(message, name=names[message.tool_call_id])  # noqa: PLW2901 -- the same turn
        named.append(message)
    return named


def _strip_reasoning(messages: list[Message]) -> list[Message]:
    last_user = max((i for i, message in enumerate(messages) if message.role == "user"), default=0)
    return [
        _without_tags(message) if i < last_user and message.role == "assistant" else message
        for i, message in enumerate(messages)
    ]


def _without_tags(message: Message) -> Message:
    if not message.content or not isinstance(first := message.content[0], TextPart):
        return message
    text = first.text.lstrip()
    if not text.startswith(OPEN_TAG) or CLOSE_TAG not in text:
        return message
    answer = text.partition(CLOSE_TAG)[2].lstrip("\n")
    visible = (TextPart(answer),) if answer else ()
    return msgspec.structs.replace(message, content=visible + message.content[1:])


def _merge_system(messages: list[Message]) -> tuple[Message, ...]:
    systems = [message for message in messages if message.role == "system"]
    if not systems:
        return tuple(messages)
    others = (message for message in messages if message.role != "system")
    texts = ["".join(part.text for part in system.content if isinstance(part, TextPart)) for system in systems]
    merged = "\n\n".join(text for text in texts if text)
    return (Message("system", (TextPart(merged),) if merged else ()), *others)
