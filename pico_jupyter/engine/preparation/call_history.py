"""Prepares past tool calls for chat templates: as fields, or as text for a template that prints no calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from msgspec.structs import replace

from pico_jupyter.engine.formats.call_formats import JSON_IN_TAGS, Body, CallFormat
from pico_jupyter.types import Message, ToolCall


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


def _python_call(call: ToolCall, arguments: dict[str, Any]) -> str:
    named = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{call.name}({', '.join(named)})"
