"""Reads the values in tool calls: JSON with the errors of small models, Python literals, and text with a schema."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import regex


class NotACall(ValueError):
    """The text is not a tool call."""


class Incomplete(Exception):
    """The text may be the beginning of a tool call. One of the texts `awaited` must follow; (): any text may."""

    def __init__(self, *awaited: str) -> None:
        super().__init__()
        self.awaited = awaited


_STRINGS = regex.compile(r""""(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'""", regex.DOTALL)
# A string, or a name before "(" or "=".
_NAMED = regex.compile(_STRINGS.pattern + r"|(?<![\w.])(\w[\w.\-]*+)(?=\s*+(?:\(|=(?!=)))", regex.DOTALL)
_BAD_ESCAPE = regex.compile(r'\\(?:u(?![0-9a-fA-F]{4})|[^"\\/bfnrtu])')
# Longer chains of references in a schema are not followed.
_MAX_REFERENCES = 8
_UNIONS = ("anyOf", "oneOf")
_PYTHON_NAMES = {"true": True, "false": False, "null": None}
# Numbers that JSON does not have. They become texts, so that the tool can report them.
_NOT_FINITE = ("NaN", "Infinity")
# What JavaScript has and Python does not: comments, keys without quotes, strings between backticks, and undefined.
_JSON5 = regex.compile(
    rf"""(?P<string>{_STRINGS.pattern})|(?P<comment>//[^\n]*+|/\*.*?\*/)"""
    r"""|(?<=[{,\s/])(?P<key>[\p{L}_$][\w$\-]*+)(?=\s*+:)|\b(?P<undefined>undefined)\b|`(?P<text>[^`\\]*+)`""",
    regex.DOTALL,
)


def parse_object(text: str) -> Any:
    """Parse JSON, JSON5 or a Python literal. Raw line breaks in strings and unknown escapes are accepted.

    Numbers that are not finite become texts. Raises NotACall.
    """
    for candidate in (text, _BAD_ESCAPE.sub(lambda match: "\\" + match[0], text)):
        try:
            return json.loads(candidate, strict=False, parse_constant=str)
        except (ValueError, RecursionError):
            pass
    try:
        is_nested = text.lstrip().startswith(("{", "["))
        return _literal(_parse_python(_JSON5.sub(_without_json5, text) if is_nested else text))
    except RecursionError as error:
        raise NotACall("nested too deeply") from error


def _without_json5(match: Any) -> str:
    """A part of JSON5 in Python's syntax."""
    if match["comment"]:
        return " "
    if match["undefined"]:
        return "None"
    text = next((match[name] for name in ("key", "text") if match[name] is not None), None)
    return str(match[0]) if text is None else json.dumps(text, ensure_ascii=False)


def parse_python_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The names and arguments in a list of calls in Python's syntax. Raises NotACall.

    The names of tools and parameters may contain dashes and dots, and may be keywords of Python.
    """
    aliases: dict[str, str] = {}
    expression = _parse_python(_NAMED.sub(lambda match: _alias(match, aliases), text))
    names = {alias: name for name, alias in aliases.items()}
    if not isinstance(expression, ast.List) or not expression.elts:
        raise NotACall("not a list of calls")
    calls: list[tuple[str, dict[str, Any]]] = []
    for node in expression.elts:
        if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
            raise NotACall("not a call with named arguments")
        if not isinstance(node.func, ast.Name):
            raise NotACall("no name")
        arguments = {names.get(key := str(keyword.arg), key): _literal(keyword.value) for keyword in node.keywords}
        calls.append((names.get(node.func.id, node.func.id), arguments))
    return calls


def _alias(match: Any, aliases: dict[str, str]) -> str:
    """A name that Python can parse, in place of the name in `match`. Strings remain."""
    return aliases.setdefault(match[1], f"_{len(aliases)}") if match[1] else str(match[0])


def _parse_python(text: str) -> ast.expr:
    escaped = _STRINGS.sub(lambda match: match[0].replace("\n", "\\n"), text)
    try:
        return ast.parse(escaped.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise NotACall("not valid JSON") from error


def _literal(node: ast.expr) -> Any:
    """The value of a Python literal, which may also contain true, false and null."""
    match node:
        case ast.Dict(keys, values):
            return {str(_literal(key)): _literal(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elements) | ast.Tuple(elements):
            return [_literal(element) for element in elements]
        case ast.Name(name) if name in _PYTHON_NAMES:
            return _PYTHON_NAMES[name]
        case ast.Name(name) if name in _NOT_FINITE:
            return name
        case ast.UnaryOp(ast.USub(), ast.Name(name)) if name in _NOT_FINITE:
            return f"-{name}"
        case ast.UnaryOp(ast.UAdd(), ast.Constant(int() | float() as number)):
            return number
        case ast.Constant(value) if value is None or isinstance(value, str | int | float | bool):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
            return -number
        case _:
            raise NotACall("not a literal")


def convert_text(text: str, schema: Any) -> Any:
    """The value of a parameter that a model wrote as plain text, with the type that its JSON schema names.

    A schema without a type accepts any JSON value. Text that does not have one of the schema's types is returned as is,
    except null: models write it for a parameter that they leave out, and as a text it has a wrong type too.
    """
    types = schema_types(schema)
    if types == {"string"}:
        return text
    try:
        value = parse_object(text.strip())
    except NotACall:
        return text
    if isinstance(value, float) and value.is_integer() and "integer" in types and "number" not in types:
        value = int(value)
    if value is None and "string" not in types:
        return None
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if is_finite and (not types or _type_names(value) & types) else text


def schema_types(schema: Any) -> set[str]:
    """The names of the JSON types that a schema allows; an empty set if it allows any type."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type")
    types = {named} if isinstance(named, str) else {str(name) for name in named} if isinstance(named, list) else set()
    for keyword in _UNIONS:
        options = [schema_types(option) for option in _options(schema, keyword)]
        if not types and not all(options):
            return set()
        types = types.union(*options)
    if not types and isinstance(schema.get("enum"), list):
        types = {name for value in schema["enum"] for name in _type_names(value)}
    if not types and "const" in schema:
        types = _type_names(schema["const"])
    return types | ({"null"} if types and schema.get("nullable") else set())


def resolve_schema(schema: Any, root: Mapping[str, Any]) -> Any:
    """Replace the local references at the top of a schema and in its unions. `root` is the schema's document."""
    schema = _follow_references(schema, root)
    if not isinstance(schema, Mapping):
        return schema
    unions = {
        keyword: [_follow_references(option, root) for option in _options(schema, keyword)]
        for keyword in _UNIONS
        if keyword in schema
    }
    return {**schema, **unions}


def _options(schema: Mapping[str, Any], keyword: str) -> Sequence[Any]:
    """The options of a union; an empty list for a union that is not well formed."""
    options = schema.get(keyword)
    return options if isinstance(options, list) else []


def _follow_references(schema: Any, root: Mapping[str, Any]) -> Any:
    """The schema at the end of a chain of local references, merged with the keywords beside each reference."""
    for _ in range(_MAX_REFERENCES):
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        target = _at_pointer(root, reference[1:]) if isinstance(reference, str) and reference[:1] == "#" else None
        if not isinstance(target, Mapping):
            break
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
        if "$ref" in target:
            schema["$ref"] = target["$ref"]
    return schema


def _at_pointer(root: Any, pointer: str) -> Any:
    """The part of a document at a JSON pointer, or None."""
    for name in pointer.split("/")[1:]:
        key = name.replace("~1", "/").replace("~0", "~")
        root = root.get(key) if isinstance(root, Mapping) else None
    return root


def _type_names(value: Any) -> set[str]:
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
        case _:
            return {"object"}


def tool_name(tool: Mapping[str, Any]) -> str:
    """The name of a tool in the JSON array of a request."""
    return tool_parameters(tool)[0]


def tool_parameters(tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name of a tool, and the schemas of its parameters without local references."""
    inner = tool.get("function")
    function = inner if isinstance(inner, Mapping) else tool
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    schemas = properties if isinstance(properties, Mapping) else {}
    name = str(function.get("name") or "")
    return name, {key: resolve_schema(schema, parameters) for key, schema in schemas.items()}


def item_schema(schema: Any, key: str) -> Any:
    """The schema of the tag `key` inside a value with `schema`."""
    if not isinstance(schema, Mapping):
        return None
    for option in (schema, *_options(schema, "anyOf"), *_options(schema, "oneOf")):
        if not isinstance(option, Mapping):
            continue
        properties = option.get("properties")
        if isinstance(properties, Mapping) and key in properties:
            return properties[key]
        if key == "item" and "items" in option:
            return option["items"]
    return None


def nested_value(items: list[tuple[str, Any]], text: str, schema: Any) -> Any:
    """The value of a tag that contains the tags `items`, or else `text`."""
    if not items:
        is_empty_object = isinstance(schema, Mapping) and schema.get("type") == "object" and not text.strip()
        return {} if is_empty_object else convert_text(text, schema)
    if all(key == "item" for key, _ in items):
        return [value for _, value in items]
    return dict(items)
