"""Builds the grammar rules for the arguments of a tool call, for each way in which models write arguments.

The parser can read every text that these rules accept, and the result matches the tool's JSON schema. If rules cannot
enforce a keyword of the schema, NotForcible names it.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import llguidance

from pico_jupyter.engine.formats.call_formats import Body, CallFormat, fits_pattern
from pico_jupyter.engine.structure.lark import (
    SPACE,
    LarkRules,
    Literal,
    has_references,
    json_expression,
    pattern_expression,
    text_literal,
)
from pico_jupyter.engine.structure.schema_members import grammar_schema
from pico_jupyter.engine.structure.schema_spelling import DATE_FORMATS, DEFINED_FORMATS
from pico_jupyter.engine.structure.tool_arguments import JSON_ONLY, UNIONS, NotForcible, ToolSchema, refuse_keywords
from pico_jupyter.engine.text.call_values import convert_text, resolve_schema, schema_types

_TEXT_KEYWORDS = ("enum", "const", "pattern", "minLength", "maxLength", "format")
# The values of the keyword `format` that are supported outside JSON, as regular expressions.
_TEXT_FORMATS = {
    **DATE_FORMATS,
    "email": r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,4}",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "ipv4": r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    "uri": r"[a-z][a-z0-9+.-]{1,15}://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,2000}",
}
_SCALAR_KEYWORDS = (
    *("minLength", "maxLength", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
)
# Keywords that cannot be combined with a union.
_BESIDE_UNIONS = ("type", "properties", "required", "items", *_SCALAR_KEYWORDS)
_ANY_TEXT = "/(?s:.*)/"
_CONTAINERS = {"object", "array"}
_ANY_TYPES = ("string", "number", "boolean", "null", "object", "array")


@dataclass(frozen=True, slots=True)
class ArgumentGrammar:
    """The rules of the arguments of one tool in one format."""

    rules: LarkRules
    literal: Literal
    call_format: CallFormat
    tool: ToolSchema

    def parameters(self) -> str:
        """The parameters between tags, in the order of the schema. Optional parameters may be missing."""
        self._check_parameters()
        items = [(self._parameter(key, schema), key) for key, schema in self.tool.properties.items()]
        return " ".join(item if key in self.tool.required else f"{item}?" for item, key in items)

    def keywords(self) -> str:
        """The arguments in Python's syntax: key=value, …"""
        self._check_parameters()
        invalid = next((key for key in self.tool.properties if not _is_python_name(key)), None)
        if invalid is not None:
            raise NotForcible(
                f"{self._where(invalid)} is not a valid Python name, which the model's format of tool calls needs"
            )
        pairs = [
            (f"{text_literal(key + '=')} {self.value(schema)}", key in self.tool.required)
            for key, schema in self.tool.properties.items()
        ]
        return self._sequence(pairs)

    def value(self, schema: Any) -> str:
        """A value in Python's syntax, or in the syntax of objects with bare keys."""
        key = json.dumps(schema, sort_keys=True)
        return self.rules.recursive(f"{self.tool.name} {key}", lambda: self._value(schema))

    def arguments(self) -> str:
        """The arguments as an object with bare keys."""
        self._check_parameters()
        return self.value({**self.tool.schema, "properties": self.tool.properties})

    def _check_parameters(self) -> None:
        where = f"the tool {self.tool.name!r}"
        refuse_keywords(self.tool.schema, (*UNIONS, *JSON_ONLY, "$ref"), where)
        invalid = next((key for key in self.tool.properties if not fits_pattern(key)), None)
        if invalid is not None:
            raise NotForcible(f"{self._where(invalid)} has a name that the model's format of tool calls cannot hold")

    def _where(self, key: str) -> str:
        return f"the parameter {key!r} of the tool {self.tool.name!r}"

    # Parameters between tags

    def _parameter(self, key: str, schema: Any) -> str:
        options = []
        for kind, body in self._parameter_values(key, schema):
            head = pattern_expression(self.call_format.parameter, self.literal, {"key": key, "type": kind}, {})
            options.append(f"{head} {body} {SPACE}")
        return self.rules.rule(" | ".join(options))

    def _parameter_values(self, key: str, schema: Any) -> list[tuple[str, str]]:
        """One pair for each way to write the value: the text for `{type}`, and the value with its closing tag."""
        closing = self.call_format.parameter_closing.replace("{key}", key)
        types = schema_types(schema)
        text_type = self.call_format.string_type
        if types == {"string"}:
            return [(text_type, self._text(self._text_terminal(schema, self._where(key), closing), closing))]
        other_type = self.call_format.other_type or _type_attribute(types)
        end = f"{SPACE} {self.literal(closing)}"
        if types == {"string", "null"} and _is_free_text(schema):
            null = [(other_type, f'{SPACE} "null" {end}')] if "{type}" in self.call_format.parameter else []
            return [(text_type, self._text("", closing)), *null]
        if isinstance(schema, Mapping) and isinstance(schema.get("enum"), list):
            self._refuse_markup(schema["enum"], closing, self._where(key))
            return [(other_type, f"{self._enumeration(schema)} {self.literal(closing)}")]
        return [(other_type, f"{SPACE} {self._json(key, schema)} {end}")]

    def _enumeration(self, schema: Mapping[str, Any]) -> str:
        """The values of an enumeration. Strings have no quotes, unless the parser would read them as another value."""
        choices = " | ".join(text_literal(_plain_text(value, schema)) for value in schema["enum"])
        line_break = r" /\n?/ " if self.call_format.body is Body.PARAMETERS else ""
        return self.rules.terminal(f"{line_break}({choices}){line_break}")

    def _json(self, key: str, schema: Any) -> str:
        """The value of a parameter as JSON."""
        if self.call_format.body is Body.TAGS and (not schema_types(schema) or schema_types(schema) & _CONTAINERS):
            raise NotForcible(f"{self._where(key)} may be an object or a list, which cannot be forced in tags")
        original = (self.tool.schema.get("properties") or {}).get(key, schema)
        if not has_references(original):
            return json_expression(grammar_schema(original))
        place = "#/$defs/arguments"
        pointer = key.replace("~", "~0").replace("/", "~1")
        document = {"$defs": {"arguments": grammar_schema(self.tool.schema, place)}}
        return json_expression({**document, "$ref": f"{place}/properties/{pointer}"})

    # Texts outside JSON

    def _text(self, terminal: str, closing: str) -> str:
        """A text that matches `terminal` ("" for any text), and `closing`, which is not part of the text."""
        end = self.literal(closing)
        before, has_special, _ = end.partition("<[")
        if not has_special:
            # In nested tags, the parser reads every beginning of a tag as a tag, so a text must not contain one.
            in_tags = self.call_format.body is Body.TAGS
            excluded = self.call_format.quote if in_tags else closing
            body = self._bounded(terminal or _ANY_TEXT, excluded) if terminal or in_tags else _ANY_TEXT
            return self.rules.rule(self.rules.terminal(body), options=f"suffix={end}")
        if not before:
            bounded = self.rules.terminal(self._bounded(terminal or _ANY_TEXT, closing, is_free=not terminal))
            return f"{bounded} {end}"
        # Each piece ends with the text before the special token. The special token ends the last piece.
        opening = before.strip()
        body = self._bounded(terminal, json.loads(opening)) if terminal else _ANY_TEXT
        piece = self.rules.rule(self.rules.terminal(f"({body}) {opening}"), options="lazy")
        return f"{piece}{'' if terminal else '+'} {end.removeprefix(before)}"

    def _bounded(self, terminal: str, closing: str, *, is_free: bool = False) -> str:
        """A terminal without the closing text.

        A parameter may have one line break at each end, which the parser removes.
        """
        body = f"({terminal}) & ~({_ANY_TEXT} {text_literal(closing)} {_ANY_TEXT})"
        if is_free or self.call_format.body is not Body.PARAMETERS:
            return body
        return rf"/\n?/ ({body} & ~/\n(?s:.*)/ & ~/(?s:.*)\n/) /\n?/"

    def _refuse_markup(self, values: Sequence[Any], closing: str, where: str) -> None:
        """Raise NotForcible if a text among the values would end before its end, or lose a line break."""
        before, has_special, _ = self.literal(closing).partition("<[")
        end = json.loads(before) if before and has_special else closing
        marks = tuple(filter(None, (end, self.call_format.quote)))
        for text in (value for value in values if isinstance(value, str)):
            is_stripped = self.call_format.body is Body.PARAMETERS and text != text.strip("\n")
            if is_stripped or any(mark in text for mark in marks):
                raise NotForcible(f"{where} has the value {text!r}, which the model's format of calls cannot hold")

    def _text_terminal(self, schema: Any, where: str, closing: str) -> str:
        """The terminal of the texts that match a schema; "" for any text. The text `closing` follows."""
        refuse_keywords(schema, JSON_ONLY, where)
        for texts in _choices(schema):
            self._refuse_markup(texts, closing, where)
        conditions = [f"({' | '.join(map(text_literal, texts))})" for texts in _choices(schema)]
        if "minLength" in schema or "maxLength" in schema:
            conditions.append(f"/(?s:.){{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}}/")
        if "pattern" in schema:
            conditions.append(_search_expression(schema["pattern"]))
        if schema.get("format") in DEFINED_FORMATS:
            if schema["format"] not in _TEXT_FORMATS:
                raise NotForcible(f"{where} has the format {schema['format']!r}, which is not supported")
            conditions.append(f"/{llguidance.regex_to_lark(_TEXT_FORMATS[schema['format']])}/")
        for options in _union_options(schema, where):
            terminals = [self._text_terminal(option, where, closing) for option in options]
            conditions += [f"({' | '.join(f'({terminal})' for terminal in terminals)})"] if all(terminals) else []
        return " & ".join(conditions)

    # Values in Python's syntax, and objects with bare keys

    @property
    def _is_python(self) -> bool:
        return self.call_format.body is Body.PYTHON

    @property
    def _separator(self) -> str:
        return '", "' if self._is_python else '","'

    def _value(self, schema: Any) -> str:
        schema = {} if schema is True else resolve_schema(schema, self.tool.schema)
        where = f"a parameter of the tool {self.tool.name!r}"
        refuse_keywords(schema, JSON_ONLY, where)
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            return " | ".join(self._constant(value) for value in values)
        if unions := _union_options(schema, where):
            refuse_keywords(schema, _BESIDE_UNIONS, where)
            return " | ".join(self.value(option) for options in unions for option in options)
        return " | ".join(self._typed(kind, schema, where) for kind in _value_types(schema))

    def _typed(self, kind: str, schema: Mapping[str, Any], where: str) -> str:
        match kind:
            case "string" if not self._is_python:
                quote = self.call_format.quote
                return f"{self.literal(quote)} {self._text(self._text_terminal(schema, where, quote), quote)}"
            case "boolean":
                return f"{self._constant(True)} | {self._constant(False)}"
            case "null":
                return self._constant(None)
            case "array":
                return self._array(schema)
            case "object":
                return self._object(schema)
            case _:
                limits = {key: value for key, value in schema.items() if key in _SCALAR_KEYWORDS}
                return json_expression({"type": kind, **limits})

    def _array(self, schema: Mapping[str, Any]) -> str:
        item = self.value(schema.get("items", {}))
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most == 0:
            return '"[]"'
        more = f"({self._separator} {item}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        return f'"[" {item} {more} "]"' if least else f'"[" ({item} {more})? "]"'

    def _object(self, schema: Mapping[str, Any]) -> str:
        properties = schema.get("properties") or {}
        required = schema.get("required") or ()
        items = {**properties, **{key: {} for key in required if key not in properties}}
        others = schema.get("additionalProperties", True)
        if items or others is False:
            pairs = [(f"{self._key(key)} {self.value(value)}", key in required) for key, value in items.items()]
            return f'"{{" {self._sequence(pairs)} "}}"'
        key = f'{json_expression({"type": "string"})} ": "' if self._is_python else '/[A-Za-z0-9_-]{1,64}/ ":"'
        pair = self.rules.rule(f"{key} {self.value(others)}")
        return f'"{{" ({pair} ({self._separator} {pair})*)? "}}"'

    def _key(self, key: str) -> str:
        if self._is_python:
            return text_literal(f"{json.dumps(key, ensure_ascii=False)}: ")
        if not fits_pattern(key) or ":" in key:
            raise NotForcible(f"the key {key!r} cannot stand in an object without quotes")
        return text_literal(f"{key}:")

    def _constant(self, value: Any) -> str:
        separator = f" {self._separator} "
        match value:
            case bool() | None:
                return text_literal(str(value) if self._is_python else json.dumps(value))
            case str() if not self._is_python:
                self._refuse_markup([value], self.call_format.quote, f"the tool {self.tool.name!r}")
                return self.literal(self.call_format.quote + value + self.call_format.quote)
            case list():
                return f'"[" {separator.join(map(self._constant, value))} "]"'
            case dict():
                pairs = (f"{self._key(key)} {self._constant(item)}" for key, item in value.items())
                return f'"{{" {separator.join(pairs)} "}}"'
            case _:
                return text_literal(json.dumps(value, ensure_ascii=False))

    def _sequence(self, items: Sequence[tuple[str, bool]]) -> str:
        """The items in their order, with separators. Each is a pair: the item, and whether it is required."""
        after = ""
        alternatives = '""'
        for item, is_required in reversed(items):
            first = f"{item} {after}"
            alternatives = first if is_required else f"{first} | {self.rules.rule(alternatives)}"
            rest = f"{self._separator} {item}"
            after = self.rules.rule(f"{rest if is_required else f'({rest})?'} {after}")
        return self.rules.rule(alternatives)


def _is_python_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _type_attribute(types: set[str]) -> str:
    """The name of the JSON type that a tag has for a value other than a string."""
    named = {"number" if kind == "integer" else kind for kind in types} - {"string", "null"}
    return named.pop() if len(named) == 1 else "object"


def _is_free_text(schema: Mapping[str, Any]) -> bool:
    """Whether a schema restricts only the types of its values."""
    options = [option for word in UNIONS for option in schema.get(word) or ()]
    return not any(word in option for option in (schema, *options) for word in (*_TEXT_KEYWORDS, *JSON_ONLY))


def _plain_text(value: Any, schema: Any) -> str:
    """A value of an enumeration: a string without quotes, if the parser then reads the same value, or else JSON."""
    if isinstance(value, str) and convert_text(value, schema) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _choices(schema: Mapping[str, Any]) -> list[list[str]]:
    """The texts that the keywords `enum` and `const` allow: one list for each keyword that the schema has."""
    found = [schema["enum"]] if "enum" in schema else []
    found += [[schema["const"]]] if "const" in schema else []
    return [[value for value in values if isinstance(value, str)] for values in found]


def _search_expression(pattern: str) -> str:
    """A regular expression that matches each whole text in which JSON schema's `pattern` finds a match."""
    before = "" if pattern.startswith("^") else "(?s:.*)"
    after = "" if pattern.endswith("$") and not pattern.endswith("\\$") else "(?s:.*)"
    core = pattern.removeprefix("^")
    core = core if after else core.removesuffix("$")
    return f"/{before}(?:{llguidance.regex_to_lark(core, 'dw')}){after}/"


def _union_options(schema: Mapping[str, Any], where: str) -> list[list[Any]]:
    """The options of `anyOf` and `oneOf`. Raises NotForcible where a value may match several options of `oneOf`."""
    types = [schema_types(option) for option in schema.get("oneOf") or ()]
    named = [{"number" if kind == "integer" else kind for kind in kinds} for kinds in types]
    if not all(types) or sum(map(len, named)) != len(set().union(*named)):
        raise NotForcible(f"{where} has the keyword 'oneOf' with options that overlap")
    return [schema[word] for word in UNIONS if schema.get(word)]


def _value_types(schema: Mapping[str, Any]) -> Sequence[str]:
    """The JSON types that a schema without unions allows."""
    named = schema.get("type")
    if isinstance(named, str):
        return (named, "null") if schema.get("nullable") else (named,)
    if named:
        return tuple(named)
    return ("object",) if "properties" in schema else ("array",) if "items" in schema else _ANY_TYPES
