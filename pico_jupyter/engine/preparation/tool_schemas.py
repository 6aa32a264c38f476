"""Completes tool definitions: adds the fields that the API allows to be absent and that some templates require."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pico_jupyter.engine.formats.call_formats import JSON_IN_TAGS

# The types of JSON schema without "null". For others, such as "float", the templates of Hermes never end.
_TYPES = ("string", "number", "integer", "boolean", "object", "array")
# The schema of values of any type. The template of Command R+ requires a type.
_ANY_VALUE = {"type": ["string", "number", "boolean"]}


def complete_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tools with all optional fields: descriptions, parameters, and the types of parameters."""
    return [{"type": "function", **tool, "function": _complete_function(tool.get("function"))} for tool in tools]


def describe_tools(tools: Sequence[Mapping[str, Any]]) -> str:
    """Instructions for a model whose chat template has no place for tools."""
    opening, closing = JSON_IN_TAGS.sections[0]
    functions = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    return (
        f"# Tools\n\nThese functions are available, one JSON object each:\n\n{functions}\n\n"
        "Call a function only if the answer needs it. A call is one JSON object between tags. It ends the answer:\n\n"
        f'{opening}\n{{"name": "NAME", "arguments": {{"PARAMETER": "VALUE"}}}}\n{closing}\n\n'
        "The result follows in the next message, between <tool_response> and </tool_response>."
    )


def _complete_function(function: Any) -> dict[str, Any]:
    given = {key: value for key, value in dict(function or {}).items() if value is not None}
    return {
        "name": "",
        "description": "",
        "strict": False,
        **given,
        "parameters": _complete_object(_schema(given.get("parameters"))),
    }


def _complete_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    named = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    return {
        "type": "object",
        **schema,
        "properties": {name: _complete_schema(_schema(property_)) for name, property_ in named.items()},
        "required": required if isinstance(required, list) else [],
    }


def _complete_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with description and type. Of several types, the first one that is not null is used."""
    completed = {"description": "", **schema, "type": _type_name(schema)}
    if "enum" in schema and "default" in schema and not isinstance(schema["default"], str):
        # The template of gpt-oss appends the default of an enum to a text.
        completed["default"] = json.dumps(schema["default"], ensure_ascii=False)
    if completed["type"] == "object":
        completed = {"description": "", "additionalProperties": _ANY_VALUE, **_complete_object(completed)}
        if members := _schema(schema.get("additionalProperties")):
            completed["additionalProperties"] = _complete_schema(members)
    if completed["type"] == "array":
        completed["items"] = _complete_schema(_schema(schema.get("items")))
    return completed


def _type_name(schema: Mapping[str, Any]) -> str:
    named = schema.get("type")
    if isinstance(named, list):
        named = next((name for name in named if name != "null"), None)
    if isinstance(named, str):
        return named.lower() if named.lower() in _TYPES else "string"
    options: Any = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if isinstance(schema.get(key), list)), [])
    found = (_type_name(_schema(option)) for option in options if _schema(option).get("type") != "null")
    return next(found, "object" if "properties" in schema else "string")


def _schema(value: Any) -> Mapping[str, Any]:
    """A JSON schema as an object. The schema true accepts any value."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, Mapping) else {}
