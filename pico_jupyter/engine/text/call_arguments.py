"""Turns the arguments of tool calls, which a model or a client wrote, into a JSON object."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

from pico_jupyter.engine.text.call_values import NotACall, parse_object

# The key for arguments that are not a JSON object.
_WRAPPING_KEY = "value"
# Arguments with more levels remain text, because escaping is recursive, and so are most chat templates.
_MAX_NESTING = 200


def parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call as an object. An empty text and null become {}.

    Any other value, and text that is invalid or nested too deeply, becomes the single member of an object.
    """
    value = _parse_value(text) if text.strip() else None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _parse_value(value)
    return _as_object(value)


def arguments_as_text(text: str, arguments: dict[str, Any]) -> str:
    """The JSON text of `arguments`. If `text`, which the model wrote, is valid JSON, it is kept."""
    try:
        is_as_written = json.loads(text, parse_constant=_refuse_constant) == arguments
    except (ValueError, RecursionError):
        is_as_written = False
    return text if is_as_written else json.dumps(arguments, ensure_ascii=False)


def arguments_text(arguments: Any) -> str:
    """The arguments that a model wrote, as the JSON text of an object.

    A text is parsed by parse_arguments(). Raises NotACall for a value that JSON cannot represent.
    """
    if isinstance(arguments, str):
        text, arguments = arguments, parse_arguments(arguments)
        if arguments_as_text(text, arguments) is text:
            return text
    try:
        text = json.dumps(_as_object(arguments), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise NotACall("no JSON value") from error
    return text.encode("utf-8", "replace").decode("utf-8")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _as_object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, dict) else {_WRAPPING_KEY: value}


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
