"""read_calls(): reads the tool calls at the start of a text, in the format that a CallFormat describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.bracket_scan import JSON_QUOTES, PYTHON_QUOTES, BracketScan
from pico_jupyter.engine.text.call_values import (
    Incomplete,
    NotACall,
    arguments_text,
    convert_text,
    parse_object,
    parse_python_calls,
    schema_types,
    tool_parameters,
)
from pico_jupyter.engine.text.nested_values import read_tags, read_unquoted
from pico_jupyter.engine.text.text_cursor import TextCursor

_VALUE = regex.compile(r"\s*+(?:\{|\[\s*+[\[{])")
# The brackets before the first string of a value, and its quote.
_OPENING = regex.compile(r"[\[{\s]*+(.?)")
_NAME_KEYS = ("name", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters")
# The keys of a call without arguments.
_CALL_KEYS = {*_NAME_KEYS, "id", "index", "tool_call_id", "type"}


class ParsedToolCall(msgspec.Struct, frozen=True):
    """A tool call as the model wrote it. `arguments` is JSON text, which need not be valid."""

    name: str
    arguments: str


@dataclass(slots=True)
class CallProgress:
    """What is known about a growing text: its calls up to the position `at`, and the brackets of its values."""

    calls: list[ParsedToolCall] = field(default_factory=list)
    at: int = 0
    scans: dict[int, BracketScan] = field(default_factory=dict)


def read_calls(
    text: str,
    call_format: CallFormat,
    tools: Sequence[Mapping[str, Any]],
    *,
    final: bool,
    progress: CallProgress | None = None,
) -> tuple[list[ParsedToolCall], int]:
    """Return the calls at the start of `text`, and the length of this part of the text, tags included.

    `tools` is the JSON array of the request; the schemas in it give the types of parameters. `final`: no text follows.
    While a text grows, pass the same object `progress` in each call. Raises NotACall if the text is not a call, and
    Incomplete (but not with `final`) if more text is needed.
    """
    reader = _Reader(text, call_format, tools, final, progress or CallProgress())
    try:
        return reader.read(), reader.at
    except Incomplete as error:
        if final:
            raise NotACall("the call is not complete") from error
        raise
    except RecursionError as error:
        raise NotACall("the arguments are nested too deeply") from error


class _Reader(TextCursor):
    """Reads from position `at` of a text."""

    def __init__(
        self,
        text: str,
        call_format: CallFormat,
        tools: Sequence[Mapping[str, Any]],
        final: bool,
        progress: CallProgress,
    ) -> None:
        super().__init__(text, final)
        self._format = call_format
        self._progress = progress
        self._closings = tuple(closing for _, closing in call_format.sections if closing)
        # A call may be followed by the end of its section, or by the next call.
        starts = (pattern.partition("{")[0] for pattern in call_format.calls)
        self._ends = (*self._closings, *(start for start in starts if start))
        self._schemas = {name: parameters for name, parameters in map(tool_parameters, tools) if name}

    def read(self) -> list[ParsedToolCall]:
        if self._format.guards:
            self._check_guards()
        for opening, closing in self._format.sections:
            if self.accept(opening):
                self._closings = self._closings if closing else ()
                return self._read_section()
        return self._read_without_section()

    def _read_section(self) -> list[ParsedToolCall]:
        """Read calls up to the closing tag, or up to text that is not a call."""
        calls = self._continue()
        while not self._accept_closing():
            if self.is_at_end() and not (self.final and calls):
                raise Incomplete
            end = self.at
            try:
                if calls and not self._closings and not self._accept_separator():
                    raise NotACall("no further call")
                self._add_call()
            except (NotACall, Incomplete) as error:
                if not calls or (isinstance(error, Incomplete) and not self.final):
                    raise
                self.at = end
                return calls
        if not calls:
            raise NotACall("no call in the section")
        return calls

    def _read_without_section(self) -> list[ParsedToolCall]:
        calls = self._continue()
        if not calls:
            self._add_call()
        while self._format.body is Body.OBJECTS and self._accept_separator():
            self._add_call()
        self.at = self._progress.at
        self._accept_closing()
        return calls

    def _continue(self) -> list[ParsedToolCall]:
        """Return the calls that an earlier reader has read, and continue after them."""
        self.at = max(self.at, self._progress.at)
        return self._progress.calls

    def _add_call(self) -> None:
        self._progress.calls += self._read_call()
        self._progress.at = self.at

    def _check_guards(self) -> None:
        """Raise NotACall unless the text begins with a call of one of the request's tools."""
        matches = [pattern.match(self.text, partial=True) for pattern in self._format.guard_patterns]
        if any(match and not match.partial and match["name"] in self._schemas for match in matches):
            return
        if any(match and match.partial for match in matches):
            raise Incomplete
        raise NotACall("no tool of the request is named")

    def _read_call(self) -> list[ParsedToolCall]:
        # Some models write calls as JSON, as other families do, between their own section tags.
        if self._format.body is Body.OBJECTS or (self._format.sections and self._begins_value()):
            return self._read_object()
        if self._format.body is Body.PYTHON:
            return self._read_python()
        name = self._read_name()
        call = ParsedToolCall(name, arguments_text(self._read_arguments(name)))
        is_closed = [self._accept_end((closing,)) for closing in self._format.call_closings]
        # Only the text after the parameters shows that they have ended.
        if self._format.body is Body.PARAMETERS and not any(is_closed) and not self.begins_any(self._ends):
            raise NotACall("no end of the call")
        return [call]

    def _read_name(self) -> str:
        self.skip_space()
        matches = [pattern.match(self.text, self.at, partial=True) for pattern in self._format.call_patterns]
        if not self.final and any(match and match.partial for match in matches):
            raise Incomplete
        for match in matches:
            if match and not match.partial:
                if match.end("name") == len(self.text) and not self.final:
                    raise Incomplete
                self.at = match.end()
                return str(match["name"])
        raise NotACall("no name")

    def _read_arguments(self, name: str) -> Any:
        match self._format.body:
            case Body.JSON:
                return self._read_json()
            case Body.UNQUOTED if self.begins_any("{"):
                self._bracket_end(self.space_end(), (), (self._format.quote, '"'))
                return read_unquoted(self, self._format.quote)
            case Body.UNQUOTED:
                raise NotACall("no object")
            case _:
                return self._read_tagged(self._schemas.get(name, {}))

    def _read_tagged(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if self._format.body is Body.TAGS:
                closing = self._format.call_closings[0]
                return read_tags(self, self._format.quote, properties, closing)
            return self._read_parameters(properties)
        except Incomplete:
            # Only one of these closing tags can complete the arguments.
            raise Incomplete(*self._format.call_closings, *self._ends) from None

    def _read_object(self) -> list[ParsedToolCall]:
        value = self._read_json()
        items = value if isinstance(value, list) else [value]
        # An object without a tag may be an ordinary answer in JSON.
        return [_call_of_object(item, needs_arguments=bool(self._format.guards)) for item in items]

    def _read_json(self) -> Any:
        self.skip_space()
        if self.is_at_end():
            raise Incomplete
        if self.text[self.at] not in "{[":
            raise NotACall("no JSON object")
        start = self.at
        closings = (*self._format.call_closings, *self._closings)
        opening = _OPENING.match(self.text, start)
        second = opening[1] if opening else ""
        if not second and not self.final:
            raise Incomplete
        try:
            end, missing = self._bracket_end(start, closings, PYTHON_QUOTES if second == "'" else JSON_QUOTES)
        except (Incomplete, NotACall) as error:
            if isinstance(error, Incomplete) and not self.final:
                raise
            end, missing = self._end_of_broken(start, closings)
        self.at = end
        return parse_object(self.text[start:end] + missing)

    def _bracket_end(self, start: int, closings: Sequence[str], quotes: Sequence[str]) -> tuple[int, str]:
        scan = self._progress.scans.get(start)
        if scan is None:
            scan = self._progress.scans[start] = BracketScan(start, quotes)
        return scan.end(self.text, [closing for closing in closings if closing])

    def _end_of_broken(self, start: int, closings: Sequence[str]) -> tuple[int, str]:
        """The end of a value with mismatched brackets: the first closing tag. Known only at the end of the answer."""
        ends = [at for closing in closings if closing and (at := self.text.find(closing, start)) >= 0]
        if not self.final or not ends:
            raise Incomplete("}", "]", *closings)
        return min(ends), ""

    def _read_python(self) -> list[ParsedToolCall]:
        self.skip_space()
        start = self.at
        if self.text.startswith("[", start):
            end, missing = self._bracket_end(start, self._closings, PYTHON_QUOTES)
        else:
            end, missing = self._end_of_lines(), ""
        self.at = end
        calls = parse_python_calls(self.text[start:end] + missing)
        return [ParsedToolCall(name, arguments_text(arguments)) for name, arguments in calls]

    def _end_of_lines(self) -> int:
        """The end of calls that are not in a list: the position of the closing tag."""
        try:
            while not self.begins_any(self._closings):
                bracket = self.text.find("(", self.at)
                if bracket < 0:
                    raise Incomplete
                self.at, _ = self._bracket_end(bracket, (), PYTHON_QUOTES)
        except Incomplete:
            # Only the closing tag ends the calls.
            raise Incomplete(*self._closings) from None
        return self.at

    def _read_parameters(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        while True:
            self.skip_space()
            match = self._format.parameter_pattern.match(self.text, self.at, partial=True)
            if match is None or (match.partial and self.final):
                return arguments
            if match.partial:
                raise Incomplete
            self.at = match.end()
            groups = match.groupdict()
            schema = {"type": "string"} if groups.get("type") in ("true", "string") else properties.get(groups["key"])
            value = self._read_value(schema)
            arguments[groups["key"]] = convert_text(value, schema)

    def _read_value(self, schema: Any) -> str:
        """Read the value of a parameter. A closing tag ends it only before another parameter or the end of the call."""
        closing, start = self._format.parameter_closing, self.at
        at = self.text.find(closing, start if "string" in schema_types(schema) else self._json_end(start))
        while at >= 0:
            self.at = at + len(closing)
            if self._ends_parameter():
                break
            at = self.text.find(closing, at + 1)
        else:
            raise Incomplete(closing)
        value = self.text[start:at]
        return value.removeprefix("\n").removesuffix("\n")

    def _json_end(self, start: int) -> int:
        """The end of the JSON object or list at `start`; without one, `start`. Its strings may contain closing tags."""
        self.skip_space()
        at, self.at = self.at, start
        if self.text[at : at + 1] not in ("{", "["):
            return start
        try:
            return self._bracket_end(at, (), JSON_QUOTES)[0]
        except NotACall:
            return start
        except Incomplete:
            if not self.final:
                raise
            return start

    def _ends_parameter(self) -> bool:
        return self.begins_any((self._format.parameter.partition("{")[0], *self._format.call_closings, *self._ends))

    def _accept_closing(self) -> bool:
        return self._accept_end(self._closings)

    def _accept_end(self, closings: Sequence[str]) -> bool:
        """Skip one of `closings`, and a superfluous brace before it, which small models often write."""
        if any(self.accept(closing) for closing in closings):
            return True
        start = self.at
        if any(closings) and self.accept("}") and any(self.accept(closing) for closing in closings):
            return True
        self.at = start
        return False

    def _accept_separator(self) -> bool:
        """Skip the text between two JSON objects. Returns whether another object follows."""
        if not self.accept(";"):
            self.accept(",")
        return self._begins_value()

    def _begins_value(self) -> bool:
        """Whether an object or a list of objects is next."""
        match = _VALUE.match(self.text, self.at, partial=not self.final)
        if match and match.partial:
            raise Incomplete
        return bool(match and not match.partial)


def _call_of_object(value: Any, *, needs_arguments: bool) -> ParsedToolCall:
    """The call in an object: {"name": …, "arguments": …} or with keys of other families, or {name: arguments}."""
    if not isinstance(value, dict) or not value:
        raise NotACall("no object")
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "")
    key = next((key for key in _ARGUMENT_KEYS if key in value), None)
    if name:
        if key is None and (needs_arguments or value.keys() - _CALL_KEYS):
            raise NotACall("no arguments")
        arguments = value[key] if key else None
        return ParsedToolCall(name.removeprefix("functions."), arguments_text(arguments))
    (name, arguments), *others = value.items()
    if others or not isinstance(arguments, dict):
        raise NotACall("no name")
    return ParsedToolCall(name, arguments_text(arguments))
