"""Converts the messages of a conversation into the dicts that chat templates expect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pico_jupyter.engine.catalog.content_format import Content
from pico_jupyter.engine.formats.output_format import OutputFormat
from pico_jupyter.types import Message, Part, TextPart, ToolCall

PARAGRAPH = "\n\n"


def text_of(parts: Sequence[Part]) -> str:
    """The joined texts of a message's content, without its media."""
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def system_text(messages: Sequence[Message]) -> str:
    """The texts of all system messages, one paragraph each."""
    return PARAGRAPH.join(text_of(message.content) for message in messages if message.role == "system")


def merge_system_messages(messages: Sequence[Message]) -> list[Message]:
    """Merge all system messages into one at the start, the only place where templates accept one."""
    if all(message.role != "system" for message in messages):
        return list(messages)
    merged = Message("system", (TextPart(system_text(messages)),))
    return [merged, *(message for message in messages if message.role != "system")]


def shortened_conversations(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Yield the conversation without its oldest turn, without its two oldest, etc. System and last message remain."""
    system = [message for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    for start in range(1, len(others)):
        if others[start].role == "user" or start == len(others) - 1:
            yield [*system, *others[start:]]


def template_messages(
    messages: Sequence[Message], output_format: OutputFormat, content_of: Callable[[Sequence[Part]], Content]
) -> Iterator[dict[str, Any]]:
    """The messages as a chat template expects them. `content_of` converts the parts of one message.

    A tool result without a name gets the name of the latest tool call with the same id.
    """
    names: dict[str, str] = {}
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        reasoning, content = _split_reasoning(message, output_format)
        converted: dict[str, Any] = {"role": message.role, "content": content_of(content)}
        if reasoning is not None:
            converted["reasoning_content"] = reasoning
        if message.tool_calls:
            converted["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
        if message.tool_call_id is not None:
            converted["tool_call_id"] = message.tool_call_id
        name = message.name or (names.get(message.tool_call_id or "") if message.role == "tool" else None)
        if name is not None:
            converted["name"] = name
        yield converted


def merge_roles(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge consecutive template messages of one role, except tool results. Some templates need alternating roles."""
    merged: list[dict[str, Any]] = []
    for role, group in groupby(messages, key=lambda message: str(message["role"])):
        same = list(group)
        if role == "tool" or len(same) == 1:
            merged.extend(same)
        else:
            merged.append(_merge(role, same))
    return merged


def _merge(role: str, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"role": role, "content": _join([m["content"] for m in messages if m["content"]])}
    if reasoning := [m["reasoning_content"] for m in messages if m.get("reasoning_content")]:
        merged["reasoning_content"] = PARAGRAPH.join(reasoning)
    if calls := [call for m in messages for call in m.get("tool_calls", ())]:
        merged["tool_calls"] = calls
    return merged


def _join(contents: Sequence[Content]) -> Content:
    """Join contents as paragraphs: to a string if all are strings, else to a list of parts."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return PARAGRAPH.join(texts)
    joined: list[dict[str, str]] = []
    for content in contents:
        joined += [{"type": "text", "text": PARAGRAPH}] if joined else []
        joined += [{"type": "text", "text": content}] if isinstance(content, str) else content
    return joined


def _split_reasoning(message: Message, output_format: OutputFormat) -> tuple[str | None, Sequence[Part]]:
    """The reasoning and the content of a message. Some clients begin the content with the reasoning in tags."""
    opened, closed = output_format.reasoning_open, output_format.reasoning_close
    if message.role != "assistant" or message.reasoning is not None or not opened or not closed:
        return message.reasoning, message.content
    head, tag, rest = text_of(message.content).partition(closed)
    if not tag or not head.lstrip().startswith(opened):
        return None, message.content
    return head.lstrip().removeprefix(opened).strip(), (TextPart(rest.lstrip()),)


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _parse_arguments(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _parse_arguments(text: str) -> Any:
    """The arguments of a tool call as a dict. Agents may send anything else, which remains a string."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text
