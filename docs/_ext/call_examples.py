"""Renders an example of a tool call from the description of its format."""

from __future__ import annotations

import json
import re

from pico_jupyter.engine.formats.call_formats import Body, CallFormat

NAME = "weather"
ARGUMENTS = {"city": "Paris", "days": 2}
_VALUES = {"name": NAME, "id": "0"}


def call_example(call_format: CallFormat) -> str:
    """A call of the tool `weather`, as a model with this format writes it."""
    opening, closing = call_format.sections[0] if call_format.sections else ("", "")
    return opening + _call(call_format) + closing


def _call(call_format: CallFormat) -> str:
    match call_format.body:
        case Body.OBJECTS:
            return json.dumps({"name": NAME, "parameters" if call_format.guards else "arguments": ARGUMENTS})
        case Body.PYTHON:
            return f"[{NAME}({', '.join(f'{key}={json.dumps(value)}' for key, value in ARGUMENTS.items())})]"
    return _filled(call_format.calls[0], _VALUES) + _arguments(call_format) + "".join(call_format.call_closings)


def _arguments(call_format: CallFormat) -> str:
    quote = call_format.quote
    match call_format.body:
        case Body.UNQUOTED:
            return f"{{city:{quote}Paris{quote},days:2}}"
        case Body.TAGS:
            return "".join(f"{quote}<{key}>{value}{quote}</{key}>" for key, value in ARGUMENTS.items())
        case Body.JSON:
            return json.dumps(ARGUMENTS)
    # In DSML, the type says whether the value is a string.
    types = ("true", "false") if 'string="{type}"' in call_format.parameter else ("string", "number")
    return "".join(
        _filled(call_format.parameter, {"key": key, "type": types[not isinstance(value, str)]})
        + f"{value}{call_format.parameter_closing}"
        for key, value in ARGUMENTS.items()
    )


def _filled(pattern: str, values: dict[str, str]) -> str:
    """A pattern with its placeholders filled. A space between two tags may be absent."""
    text = re.sub(r"(?<=[>}]) | (?=[{<])", "", pattern) if pattern.startswith("<") else pattern
    return re.sub(r"\{(name|key|id|type)\}", lambda match: values.get(match[1], ""), text)
