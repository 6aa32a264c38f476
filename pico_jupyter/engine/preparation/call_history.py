"""Past tool calls for chat templates: as fields, or as text where a template prints no calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pico_jupyter.engine.formats.call_formats import JSON_IN_TAGS, Body, CallFormat
from pico_jupyter.engine.text.call_values import NotACall, parse_object
from pico_jupyter.types import Part, TextPart, ToolCall

# The key of arguments that are no JSON object.
_WRAPPING_KEY = "value"


def parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of a past call. Nothing and null are {}; what is no object becomes an object with one value."""
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
    """Calls and their arguments as a model of this format writes them. Some formats become JSON in tags."""
    opening, closing = call_format.sections[0] if call_format.sections else ("", "")
    if opening and call_format.body is Body.PYTHON:
        return f"{opening}[{', '.join(_python_call(call, arguments) for call, arguments in calls)}]{closing}"
    objects = [{"name": call.name, "arguments": arguments} for call, arguments in calls]
    if opening and call_format.body is Body.OBJECTS and call_format is not JSON_IN_TAGS:
        return f"{opening}{json.dumps(objects, ensure_ascii=False)}{closing}"
    opening, closing = JSON_IN_TAGS.sections[0]
    return "\n".join(f"{opening}\n{json.dumps(item, ensure_ascii=False)}\n{closing}" for item in objects)


def result_as_text(content: Sequence[Part]) -> tuple[Part, ...]:
    """The content of a tool result for a message of the user."""
    return (TextPart("<tool_response>\n"), *content, TextPart("\n</tool_response>"))


def _parse_value(text: str) -> Any:
    try:
        return parse_object(text)
    except (NotACall, RecursionError):
        return text


def _python_call(call: ToolCall, arguments: dict[str, Any]) -> str:
    named = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{call.name}({', '.join(named)})"
