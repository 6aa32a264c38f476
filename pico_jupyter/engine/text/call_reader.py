"""read_calls(): reads the tool calls at the start of a text, in the format that a CallFormat describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.call_values import (
    Incomplete,
    NotACall,
    arguments_text,
    bracket_end,
    convert_text,
    parse_object,
    parse_python_calls,
)

_SPACE = regex.compile(r"\s*+")
_VALUE = regex.compile(r"\s*+(?:\{|\[\s*+[\[{])")
_NAME_KEYS = ("name", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters")


class ParsedToolCall(msgspec.Struct, frozen=True):
    """A tool call as the model wrote it. `arguments` is JSON text, which need not be valid."""

    name: str
    arguments: str


def read_calls(
    text: str, call_format: CallFormat, tools: Sequence[Mapping[str, Any]], *, final: bool
) -> tuple[list[ParsedToolCall], int]:
    """The calls at the start of `text`, and the number of characters that they have with their tags.

    `tools` is the JSON array of the request; the schemas in it give the types of parameters. `final`: no text follows.
    Raises Incomplete if more text decides, and NotACall. With `final` only NotACall is raised.
    """
    reader = _Reader(text, call_format, tools, final)
    try:
        return reader.read(), reader.at
    except Incomplete as error:
        if final:
            raise NotACall("the call is not complete") from error
        raise


class _Reader:
    """Reads from position `at` of a text."""

    def __init__(self, text: str, call_format: CallFormat, tools: Sequence[Mapping[str, Any]], final: bool) -> None:
        self.at = 0
        self._text = text
        self._format = call_format
        self._final = final
        self._closings = tuple(closing for _, closing in call_format.sections if closing)
        self._schemas = {name: parameters for name, parameters in map(_name_and_properties, tools) if name}

    def read(self) -> list[ParsedToolCall]:
        if self._format.guards:
            self._check_guards()
        for opening, closing in self._format.sections:
            if self._accept(opening):
                self._closings = (closing,) if closing else ()
                return self._read_section()
        return self._read_without_section()

    def _read_section(self) -> list[ParsedToolCall]:
        calls: list[ParsedToolCall] = []
        while not self._accept_closing():
            if self._is_at_end():
                if self._final and calls:
                    return calls
                raise Incomplete
            if calls and not self._closings and not self._begins_value():
                return calls
            calls += self._read_call()
        if not calls:
            raise NotACall("no call in the section")
        return calls

    def _read_without_section(self) -> list[ParsedToolCall]:
        calls = self._read_call()
        end = self.at
        while self._format.body is Body.OBJECTS and self._accept_separator():
            calls += self._read_call()
            end = self.at
        self.at = end
        self._accept_closing()
        return calls

    def _check_guards(self) -> None:
        """Raise NotACall unless the text begins with a call of one of the request's tools."""
        matches = [pattern.match(self._text, partial=True) for pattern in self._format.guard_patterns]
        if any(match and not match.partial and match["name"] in self._schemas for match in matches):
            return
        if any(match and match.partial for match in matches):
            raise Incomplete
        raise NotACall("no tool of the request is named")

    def _read_call(self) -> list[ParsedToolCall]:
        if self._format.body is Body.PYTHON:
            return self._read_python()
        # Some models write the JSON of other families in the section of their own.
        if self._format.body is Body.OBJECTS or (self._format.sections and self._begins_value()):
            return self._read_object()
        name = self._read_name()
        call = ParsedToolCall(name, arguments_text(self._read_arguments(name)))
        for closing in self._format.call_closings:
            self._accept(closing)
        return [call]

    def _read_name(self) -> str:
        self._skip_space()
        matches = [pattern.match(self._text, self.at, partial=True) for pattern in self._format.call_patterns]
        if not self._final and any(match and match.partial for match in matches):
            raise Incomplete
        for match in matches:
            if match and not match.partial:
                if match.end("name") == len(self._text) and not self._final:
                    raise Incomplete
                self.at = match.end()
                return str(match["name"])
        raise NotACall("no name")

    def _read_arguments(self, name: str) -> Any:
        match self._format.body:
            case Body.JSON:
                return self._read_json()
            case Body.UNQUOTED:
                return self._read_unquoted()
            case Body.TAGS:
                return self._read_tags(self._schemas.get(name, {}))
            case _:
                return self._read_parameters(self._schemas.get(name, {}))

    def _read_object(self) -> list[ParsedToolCall]:
        value = self._read_json()
        return [_call_of_object(item) for item in (value if isinstance(value, list) else [value])]

    def _read_json(self) -> Any:
        self._skip_space()
        if self._is_at_end():
            raise Incomplete
        if self._text[self.at] not in "{[":
            raise NotACall("no JSON object")
        start = self.at
        closings = (*self._format.call_closings, *self._closings)
        second = self._text[start + 1 :].lstrip("[{ \t\r\n")[:1]
        try:
            end, missing = bracket_end(self._text, start, closings, single_quotes=second == "'")
        except (Incomplete, NotACall):
            end, missing = self._end_of_broken(start, closings)
        self.at = end
        return parse_object(self._text[start:end] + missing)

    def _end_of_broken(self, start: int, closings: Sequence[str]) -> tuple[int, str]:
        """At the end of the answer, a value that cannot be followed to its end ends before the first closing."""
        ends = [at for closing in closings if closing and (at := self._text.find(closing, start)) >= 0]
        if not self._final or not ends:
            raise Incomplete("}", "]", *closings)
        return min(ends), ""

    def _read_python(self) -> list[ParsedToolCall]:
        self._skip_space()
        start = self.at
        if self._text.startswith("[", start):
            end, missing = bracket_end(self._text, start, self._closings, single_quotes=True)
        else:
            end, missing = self._end_of_lines(start), ""
        self.at = end
        calls = parse_python_calls(self._text[start:end] + missing)
        return [ParsedToolCall(name, arguments_text(arguments)) for name, arguments in calls]

    def _end_of_lines(self, start: int) -> int:
        ends = [at for closing in self._closings if (at := self._text.find(closing, start)) >= 0]
        if not ends:
            raise Incomplete(*self._closings)
        return min(ends)

    def _read_parameters(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        while True:
            self._skip_space()
            match = self._format.parameter_pattern.match(self._text, self.at, partial=True)
            if match is None or (match.partial and self._final):
                return arguments
            if match.partial:
                raise Incomplete
            self.at = match.end()
            groups = match.groupdict()
            value = self._read_value()
            schema = {"type": "string"} if groups.get("type") in ("true", "string") else properties.get(groups["key"])
            arguments[groups["key"]] = convert_text(value, schema)

    def _read_value(self) -> str:
        """The text up to the end of a parameter. The end is followed by the next parameter or the end of the call."""
        closing, start = self._format.parameter_closing, self.at
        at = self._text.find(closing, start)
        while at >= 0:
            self.at = at + len(closing)
            if self._ends_parameter():
                break
            at = self._text.find(closing, at + 1)
        else:
            raise Incomplete(closing)
        value = self._text[start:at]
        return value.removeprefix("\n").removesuffix("\n")

    def _ends_parameter(self) -> bool:
        at = self._space_end()
        if at == len(self._text):
            if self._final:
                return True
            raise Incomplete
        rest = self._text[at:]
        nexts = (self._format.parameter.partition("{")[0], *self._format.call_closings, *self._closings)
        for text in filter(None, nexts):
            if rest.startswith(text):
                return True
            if not self._final and text.startswith(rest):
                raise Incomplete
        return False

    def _read_unquoted(self) -> Any:
        """An object with bare keys, such as {city:<|"|>Paris<|"|>,days:[1,2]}."""
        self._skip_space()
        if self._accept("{"):
            return dict(self._items("}", self._read_item))
        if self._accept("["):
            return self._items("]", self._read_unquoted)
        for quote in (self._format.quote, '"'):
            if self._accept(quote):
                return self._until(quote)
        end = regex.compile(r"[,}\]]").search(self._text, self.at)
        if end is None:
            raise Incomplete
        text = self._text[self.at : end.start()].strip()
        self.at = end.start()
        return convert_text(text, None)

    def _read_item(self) -> tuple[str, Any]:
        self._skip_space()
        for quote in (self._format.quote, '"'):
            if self._accept(quote):
                key = self._until(quote)
                self._until(":")
                return key, self._read_unquoted()
        return self._until(":").strip(), self._read_unquoted()

    def _items(self, closing: str, read: Any) -> list[Any]:
        items: list[Any] = []
        while not self._accept(closing):
            if self._is_at_end():
                raise Incomplete
            items.append(read())
            self._accept(",")
        return items

    def _until(self, text: str) -> str:
        end = self._text.find(text, self.at)
        if end < 0:
            raise Incomplete(text)
        value = self._text[self.at : end]
        self.at = end + len(text)
        return value

    def _read_tags(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        value = self._read_nested({"type": "object", "properties": properties}, self._format.call_closings[0])
        return value if isinstance(value, dict) else {}

    def _read_nested(self, schema: Any, closing: str) -> Any:
        """The value between two tags: text, or an object or a list of tags. Its closing tag is not consumed."""
        prefix = self._format.quote
        start = self.at
        items: list[tuple[str, Any]] = []
        while (at := self._text.find(prefix, self.at)) >= 0:
            if self._text.startswith(closing, at):
                self.at = at
                return _nested_value(items, self._text[start:at], schema)
            if not self._final and closing.startswith(self._text[at:]):
                raise Incomplete
            self.at = at + len(prefix)
            if not self._accept("<"):
                raise NotACall("no tag")
            key = self._until(">")
            value = self._read_nested(_item_schema(schema, key), f"{prefix}</{key}>")
            self._accept(f"{prefix}</{key}>")
            items.append((key, value))
        raise Incomplete(prefix)

    def _accept(self, text: str) -> bool:
        """Skip whitespace and `text`, if it is next. Raises Incomplete if it may become next."""
        if not text:
            return False
        at = self._space_end()
        if self._text.startswith(text, at):
            self.at = at + len(text)
            return True
        if not self._final and text.startswith(self._text[at:]):
            raise Incomplete
        return False

    def _accept_closing(self) -> bool:
        return any(self._accept(closing) for closing in self._closings)

    def _accept_separator(self) -> bool:
        """Skip what may stand between two JSON objects. Whether another object follows."""
        if not self._accept(";"):
            self._accept(",")
        return self._begins_value()

    def _begins_value(self) -> bool:
        """Whether an object or a list of objects is next."""
        match = _VALUE.match(self._text, self.at, partial=not self._final)
        if match and match.partial and match.end() > self._space_end():
            raise Incomplete
        return bool(match and not match.partial)

    def _is_at_end(self) -> bool:
        return self._space_end() == len(self._text)

    def _skip_space(self) -> None:
        self.at = self._space_end()

    def _space_end(self) -> int:
        match = _SPACE.match(self._text, self.at)
        return match.end() if match else self.at


def tool_name(tool: Mapping[str, Any]) -> str:
    """The name of a tool in the JSON array of a request."""
    return _name_and_properties(tool)[0]


def _name_and_properties(tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name of a tool and the schemas of its parameters."""
    inner = tool.get("function")
    function = inner if isinstance(inner, Mapping) else tool
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return str(function.get("name") or ""), properties if isinstance(properties, Mapping) else {}


def _call_of_object(value: Any) -> ParsedToolCall:
    """The call in an object: {"name": …, "arguments": …} with the keys of several families, or {name: arguments}."""
    if not isinstance(value, dict) or not value:
        raise NotACall("no object")
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "")
    if name:
        arguments = next((value[key] for key in _ARGUMENT_KEYS if key in value), None)
        return ParsedToolCall(name.removeprefix("functions."), arguments_text(arguments))
    (name, arguments), *others = value.items()
    if others or not isinstance(arguments, dict):
        raise NotACall("no name")
    return ParsedToolCall(name, arguments_text(arguments))


def _item_schema(schema: Any, key: str) -> Any:
    """The schema of the tag `key` inside a value with `schema`."""
    if not isinstance(schema, Mapping):
        return None
    for option in (schema, *(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())):
        if key in (option.get("properties") or {}):
            return option["properties"][key]
        if key == "item" and "items" in option:
            return option["items"]
    return None


def _nested_value(items: list[tuple[str, Any]], text: str, schema: Any) -> Any:
    if not items:
        is_empty_object = isinstance(schema, Mapping) and schema.get("type") == "object" and not text.strip()
        return {} if is_empty_object else convert_text(text, schema)
    if all(key == "item" for key, _ in items):
        return [value for _, value in items]
    return dict(items)
