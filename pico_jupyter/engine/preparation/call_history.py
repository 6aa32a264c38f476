"""Prepares past tool calls for chat templates: as fields, or as text for a template that prints no calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, takewhile
from typing import Any

from msgspec.structs import replace

from pico_jupyter.engine.formats.call_formats import JSON_IN_TAGS, Body, CallFormat
from pico_jupyter.engine.text.call_values import NotACall, parse_object
from pico_jupyter.types import Message, ToolCall

# The key for arguments that are not a JSON object.
_WRAPPING_KEY = "value"
# Arguments with more levels remain text. Escaping them, and most chat templates, are recursive.
_MAX_NESTING = 200


def parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of a past call as an object. An empty text and null become {}.

    Any other value, and text that is invalid or nested too deeply, becomes the single member of an object.
    """
    value = _parse_value(text) if text.strip() else None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _parse_value(value)
    if value is None:
        return {}
    return value if isinstance(value, dict) else {_WRAPPING_KEY: value}


def arguments_as_text(text: str, arguments: dict[str, Any]) -> str:
    """The JSON text of `arguments`: as the model wrote it in `text`, if that is valid JSON."""
    try:
        is_as_written = json.loads(text) == arguments
    except (ValueError, RecursionError):
        is_as_written = False
    return text if is_as_written else json.dumps(arguments, ensure_ascii=False)


def calls_as_text(calls: Sequence[tuple[ToolCall, dict[str, Any]]], call_format: CallFormat) -> str:
    """Calls and their arguments as a model of this format writes them. Some formats are replaced by JSON in tags."""
    opening, closing = call_format.sections[0] if call_format.sections else ("", "")
    if opening and call_format.body is Body.PYTHON:
        return f"{opening}[{', '.join(_python_call(call, arguments) for call, arguments in calls)}]{closing}"
    objects = [{"name": call.name, "arguments": arguments} for call, arguments in calls]
    if opening and call_format.body is Body.OBJECTS and call_format is not JSON_IN_TAGS:
        return f"{opening}{json.dumps(objects, ensure_ascii=False)}{closing}"
    opening, closing = JSON_IN_TAGS.sections[0]
    return "\n".join(f"{opening}\n{json.dumps(item, ensure_ascii=False)}\n{closing}" for item in objects)


def split_parallel_calls(messages: Sequence[Message]) -> list[Message]:
    """Split messages with several calls: each message has at most one call, and its result follows."""
    split: list[Message] = []
    rest = list(messages)
    while rest:
        message = rest.pop(0)
        if len(message.tool_calls) < 2:
            split.append(message)
            continue
        results = list(takewhile(lambda following: following.role == "tool", rest))
        del rest[: len(results)]
        split += _one_by_one(message, results)
    return split


def _one_by_one(message: Message, results: list[Message]) -> Iterator[Message]:
    for index, call in enumerate(message.tool_calls):
        if index == 0:
            yield replace(message, tool_calls=(call,))
        else:
            yield Message("assistant", tool_calls=(call,))
        is_last = index == len(message.tool_calls) - 1
        for result in [result for result in results if is_last or result.tool_call_id == call.id]:
            results.remove(result)
            yield result


def _parse_value(text: str) -> Any:
    try:
        value = parse_object(text)
    except (NotACall, RecursionError):
        return text
    return text if _is_nested_too_deeply(value) else value


def _is_nested_too_deeply(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_NESTING):
        objects = [item for item in level if isinstance(item, dict)]
        lists = [item for item in level if isinstance(item, list)]
        level = [*chain.from_iterable(lists), *chain.from_iterable(item.values() for item in objects)]
        if not level:
            return False
    return True


def _python_call(call: ToolCall, arguments: dict[str, Any]) -> str:
    named = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{call.name}({', '.join(named)})"
