"""Reads the parts of messages that both dialects share: content, earlier tool calls, and the order of turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from pico_jupyter.dialects import media
from pico_jupyter.dialects.reasoning import CLOSE_TAG, OPEN_TAG
from pico_jupyter.dialects.request_bodies import json_text
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import (
    ImagePartFields,
    InputAudioPartFields,
    InputVideoPartFields,
    PartFields,
    PastToolCall,
    RefusalPartFields,
    TextPartFields,
)
from pico_jupyter.types import Message, Part, TextPart, ToolCall


def read_content(
    content: str | Sequence[PartFields] | None,
    message_param: str,
    model: str,
    *,
    media_allowed: bool = True,
    field: str = "content",
) -> tuple[Part, ...]:
    """Return the parts of a message's content, in their order. null and "" have no parts. `field` holds the content.

    Raises InvalidRequest for media that are not valid or not allowed here, and MediaUnsupported for audio and files.
    """
    if not content:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    return tuple(
        _read_part(part, f"{message_param}.{field}[{i}]", model, media_allowed=media_allowed)
        for i, part in enumerate(content)
    )


def read_tool_calls(calls: list[PastToolCall] | None, message_param: str) -> tuple[ToolCall, ...]:
    """Return the tool calls of a message. In both dialects, `arguments` may be JSON text or an object.

    Text that is not valid JSON is kept, because agents return the model's text unchanged.
    """
    if not calls:
        return ()
    return tuple(
        _read_tool_call(call, f"{message_param}.tool_calls[{i}].function.arguments") for i, call in enumerate(calls)
    )


def order_turns(messages: list[Message]) -> tuple[Message, ...]:
    """Merge all system messages into the first one, name tool results, and remove reasoning from earlier answers."""
    return _merge_system(_strip_reasoning(_name_results(messages)))


def _read_part(part: PartFields, param: str, model: str, *, media_allowed: bool) -> Part:
    match part:
        case TextPartFields(text=text) | RefusalPartFields(refusal=text):
            return TextPart(text)
        case _ if not media_allowed:
            raise invalid(param, "invalid message format")
        case ImagePartFields():
            return media.read_image_part(part, param)
        case InputVideoPartFields():
            return media.read_video_part(part, param)
        case InputAudioPartFields():
            raise media.refuse_media(model, param)
        case _:
            assert_never(part)


def _read_tool_call(call: PastToolCall, param: str) -> ToolCall:
    arguments = call.function.arguments
    if not isinstance(arguments, str):
        arguments = json_text(arguments or {}, param)
    return ToolCall(id=call.id or "", name=call.function.name, arguments=arguments)


def _name_results(messages: list[Message]) -> list[Message]:
    names: dict[str, str] = {}
    named = []
    for message in messages:
        if message.tool_calls:
            names.update((call.id, call.name) for call in message.tool_calls if call.id)
        if message.role == "tool" and message.name is None and message.tool_call_id in names:
            message = msgspec.structs.replace(message, name=names[message.tool_call_id])  # noqa: PLW2901 -- the same message
        named.append(message)
    return named


def _strip_reasoning(messages: list[Message]) -> list[Message]:
    last_user = max((i for i, message in enumerate(messages) if message.role == "user"), default=0)
    return [
        _without_reasoning(message) if i < last_user and message.role == "assistant" else message
        for i, message in enumerate(messages)
    ]


def _without_reasoning(message: Message) -> Message:
    first = message.content[0] if message.content else None
    if not isinstance(first, TextPart):
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
