"""read_calls(): reads the tool calls at the start of a text, in the format that a CallFormat describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.bracket_scan import JSON_QUOTES, PYTHON_QUOTES
from pico_jupyter.engine.text.call_arguments import arguments_text
from pico_jupyter.engine.text.call_progress import CallProgress, ParsedToolCall
from pico_jupyter.engine.text.call_values import Incomplete, NotACall, parse_object, parse_python_calls
from pico_jupyter.engine.text.nested_values import read_unquoted
from pico_jupyter.engine.text.parameter_reader import ParameterReader
from pico_jupyter.engine.text.text_cursor import TextCursor

_VALUE = regex.compile(r"\s*+(?:\{|\[\s*+[\[{])")
# The name of a call in Python's syntax, and the text that may precede it on a line without a list.
_PYTHON_NAME = regex.compile(r"[\s,;]*+(\w[\w.\-]*+)\s*+(?=\()")
_NAMESPACE = "functions."
_FENCE = regex.compile(r"\s*+```\w*+")
_BRACKETS = regex.compile(r"\s*+[}\])][}\])\s]*+")
# The brackets before the first string of a value, and its quote.
_OPENING = regex.compile(r"[\[{\s]*+(.?)")
_NAME_KEYS = ("name", "tool_name", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input")
# The keys of a call without arguments.
_CALL_KEYS = {*_NAME_KEYS, "id", "index", "tool_call_id", "type"}


def read_calls(
    text: str,
    call_format: CallFormat,
    tools: Sequence[Mapping[str, Any]],
    *,
    final: bool,
    progress: CallProgress | None = None,
    stops: Sequence[str] = (),
) -> tuple[list[ParsedToolCall], int]:
    """Return the calls at the start of `text`, and the length of this part of the text, tags included.

    `tools` is the JSON array of the request; the schemas in it give the types of parameters. `final`: no text follows.
    While a text grows, pass the same object `progress` in each call. If the call stands in reasoning, `stops` are
    the texts that end the reasoning. A call may contain them only in its values. Raises NotACall if the text is not a
    call, and, without `final`, Incomplete if more text is needed.
    """
    reader = _Reader(text, call_format, tools, final=final, progress=progress or CallProgress(), stops=stops)
    try:
        return reader.read(), reader.at
    except Incomplete as error:
        if final:
            raise NotACall("the call is not complete") from error
        raise
    except RecursionError as error:
        raise NotACall("the arguments are nested too deeply") from error


class _Reader(ParameterReader):
    """Reads the calls at position `at` of a text."""

    def read(self) -> list[ParsedToolCall]:
        if self._format.guards:
            self._check_guards()
            return self._read_all()
        self._skip_fence()
        calls = self._read_all()
        # The text may be an example of a call. Without the code block, unknown tools are the caller's concern.
        if self.text.startswith("`") and any(call.name not in self._schemas for call in calls):
            raise NotACall("no tool of the request is named")
        return calls

    def _read_all(self) -> list[ParsedToolCall]:
        for opening, closing in self._format.sections:
            if self.accept(opening):
                # Some models write the tag twice.
                while self.accept(opening):
                    pass
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
                has_separator = self._format.body is Body.OBJECTS or not self._closings
                if calls and has_separator and not self._accept_separator():
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
        self._skip_fence()
        # Some models write calls as JSON, as other families do, between their own section tags.
        if self._format.body is Body.OBJECTS or (self._format.sections and self._begins_value()):
            return self._read_object()
        if self._format.body is Body.PYTHON:
            return self._read_python()
        name = self._read_name()
        call = _call(name, self._read_arguments(name))
        # Some models write the tags twice. Without a section, the text after the call need not be known.
        closings = self._format.call_closings * (2 if self._format.sections else 1)
        is_closed = [self._accept_end((closing,)) for closing in closings]
        # Only the text after the parameters shows that they have ended.
        if self._format.body is Body.PARAMETERS and not any(is_closed) and not self.begins_any((*self._ends, "```")):
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
                # Some models write the opening of a call twice.
                while match.start("name") > match.start() and self.accept(match[0]):
                    pass
                return str(match["name"]).removeprefix(_NAMESPACE)
        raise NotACall("no name")

    def _read_arguments(self, name: str) -> Any:
        self._skip_fence()
        match self._format.body:
            case Body.UNQUOTED if self.begins_any("{"):
                return self._read_unquoted()
            case Body.UNQUOTED:
                raise NotACall("no object")
            # Some models write the arguments as JSON, as other families do.
            case _ if self._format.body is Body.JSON or self.begins_any("{"):
                return self._read_json(holds_calls=False)
            case _:
                return self._read_tagged(self._schemas.get(name, {}))

    def _read_object(self) -> list[ParsedToolCall]:
        value = self._read_json(holds_calls=True)
        items = value if isinstance(value, list) else [value]
        # Without tags around it, an object without arguments is not a call. It may be an ordinary answer in JSON.
        return [_call_of_object(item, needs_arguments=bool(self._format.guards)) for item in items]

    def _read_json(self, *, holds_calls: bool) -> Any:
        self.skip_space()
        if self.is_at_end():
            raise Incomplete
        if self.text[self.at] not in "{[":
            raise NotACall("no JSON object")
        start = self.at
        closings = (*self._format.call_closings, *self._closings, "```")
        opening = _OPENING.match(self.text, start)
        second = opening[1] if opening else ""
        if not second and not self.final:
            raise Incomplete
        quotes = PYTHON_QUOTES if second == "'" else JSON_QUOTES
        self.at, value = self._read_brackets(start, closings, quotes, holds_calls=holds_calls)
        return parse_object(value)

    def _read_unquoted(self) -> Any:
        quote = self._format.quote
        self.at, value = self._bracket_end(self.space_end(), self._closings, (quote, '"'))
        try:
            return read_unquoted(TextCursor(value, final=True), quote)
        except Incomplete as error:
            raise NotACall("not a value") from error

    def _read_brackets(
        self, start: int, closings: Sequence[str], quotes: Sequence[str], *, holds_calls: bool
    ) -> tuple[int, str]:
        """The end of the value at `start`, and its repaired text.

        At the end of the answer, a value whose end is not found ends before the first closing. If there is no closing,
        it may be cut off, unless it `holds_calls` and lacks only the brackets around a call and its list.
        """
        try:
            return self._bracket_end(start, closings, quotes)
        except Incomplete:
            if not self.final:
                raise
        ends = [at for closing in closings if closing and (at := self.text.find(closing, start)) >= 0]
        if ends:
            return min(ends), self.text[start : min(ends)]
        end = self._progress.scans[start].end_of_text(self.text) if holds_calls else None
        if end is None:
            raise Incomplete
        return end

    def _read_python(self) -> list[ParsedToolCall]:
        self.skip_space()
        if self.text.startswith("[", self.at):
            self.at, calls = self._read_brackets(self.at, self._closings, PYTHON_QUOTES, holds_calls=True)
        else:
            calls = self._read_lines()
        return [_call(name, arguments) for name, arguments in parse_python_calls(calls)]

    def _read_lines(self) -> str:
        """Calls without a list around them, as a list. They end before the closing tag."""
        calls: list[str] = []
        try:
            while not (calls and self._ends_lines()):
                match = _PYTHON_NAME.match(self.text, self.at, partial=not self.final)
                if match is None:
                    raise NotACall("no name")
                if match.partial:
                    raise Incomplete
                self.at, value = self._bracket_end(match.end(), self._closings, PYTHON_QUOTES)
                calls.append(match[1] + value)
        except Incomplete:
            # Only the closing tag ends the calls.
            raise Incomplete(*self._closings, *self._stops) from None
        return f"[{', '.join(calls)}]"

    def _ends_lines(self) -> bool:
        if self.is_at_end():
            return self.final
        start = self.at
        is_end = self._accept_closing()
        self.at = start
        return is_end

    def _accept_closing(self) -> bool:
        return self._accept_end(self._closings)

    def _accept_end(self, closings: Sequence[str]) -> bool:
        """Skip one of `closings`, and brackets or the end of a code block before it, which small models often add."""
        if any(self.accept(closing) for closing in closings):
            return True
        start = self.at
        if any(closings) and self._skip_fence() and any(self.accept(closing) for closing in closings):
            return True
        self.at = start
        self._progress.fences.discard(start)
        match = _BRACKETS.match(self.text, start) if any(closings) else None
        self.at = match.end() if match else start
        if match and any(self.accept(closing) for closing in closings):
            return True
        self.at = start
        return False

    def _skip_fence(self) -> bool:
        """Skip the opening or the end of a code block. Returns whether there is one."""
        match = _FENCE.match(self.text, self.at, partial=not self.final)
        if match is None:
            return False
        if match.partial or (match.end() == len(self.text) and not self.final):
            raise Incomplete
        self._progress.fences.add(self.at)
        self.at = match.end()
        return True

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
        return _call(name, arguments)
    (name, arguments), *others = value.items()
    if others or not isinstance(arguments, dict):
        raise NotACall("no name")
    return _call(name, arguments)


def _call(name: str, arguments: Any) -> ParsedToolCall:
    return ParsedToolCall(name.removeprefix(_NAMESPACE), arguments_text(arguments))
