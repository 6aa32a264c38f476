"""CallParts: returns the parts of tool calls while the model generates them.

A grammar must guarantee the form of the calls. JSON is returned as the model writes it. Arguments in other formats are
converted to JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.argument_parts import ArgumentParts

_OBJECT = regex.compile(
    r'\{\s*+(?:"type"\s*+:\s*+"function"\s*+,\s*+)?"name"\s*+:\s*+"(?P<name>[^"\\]+)"\s*+,\s*+'
    r'"(?:arguments|parameters)"\s*+:\s*+(?=\{)'
)
_PYTHON_HEAD = regex.compile(r"(?P<name>\w[\w.\-]*+)\s*+\(")
_MARKS = regex.compile(r'["{}\\]')


class ParsedCallPart(msgspec.Struct, frozen=True):
    """The next part of a call. Only the first one has a `name`."""

    arguments: str
    name: str = ""


class CallParts:
    """The parts of the calls of one answer in `call_format`. `count` is the number of calls that have begun.

    `tools` is the JSON array of the request.
    """

    def __init__(self, call_format: CallFormat, tools: Sequence[Mapping[str, Any]]) -> None:
        self._format = call_format
        self._tools = tools
        # The arguments of the open call, if they are not JSON.
        self._converted: ArgumentParts | None = None
        self._heads = _head_patterns(call_format)
        self.count = 0
        self._at = 0
        self._depth = 0
        self._is_in_string = False
        self._is_open = False

    def __repr__(self) -> str:
        return f"<CallParts [{self.count} calls]>"

    def read(self, text: str) -> list[ParsedCallPart]:
        """Return the new parts. `text` is the whole text so far, from the opening of the first call on."""
        parts: list[ParsedCallPart] = []
        while self._is_open or self._begin(text, parts):
            if part := self._read_converted(self._converted, text) if self._converted else self._read_json(text):
                parts.append(ParsedCallPart(part))
            if self._is_open:
                break
        return parts

    def _read_json(self, text: str) -> str:
        start, self._at = self._at, self._scan(text)
        return text[start : self._at]

    def _read_converted(self, arguments: ArgumentParts, text: str) -> str:
        part = arguments.read(text)
        self._at, self._is_open = arguments.at, arguments.is_open
        return part

    def reset(self) -> None:
        """Prepare for another text."""
        self.count = self._at = self._depth = 0
        self._is_open = self._is_in_string = False
        self._converted = None

    def _begin(self, text: str, parts: list[ParsedCallPart]) -> bool:
        """Find the arguments of the next call."""
        matches = [match for head in self._heads if (match := head.search(text, self._at))]
        if not matches:
            return False
        match = min(matches, key=lambda match: int(match.start()))
        self._at = match.end()
        self._is_open = True
        self.count += 1
        name = str(match["name"]).removeprefix("functions.")
        parts.append(ParsedCallPart("", name))
        if self._format.body not in (Body.OBJECTS, Body.JSON):
            self._converted = ArgumentParts(self._format, self._tools, name, self._at)
        return True

    def _scan(self, text: str) -> int:
        """Return the end of the arguments, or of the text if they are not complete."""
        at = self._at
        while match := _MARKS.search(text, at):
            at = match.end()
            match match[0]:
                case "\\" if at == len(text):  # The next character decides whether a string ends.
                    return at - 1
                case "\\":
                    at += 1
                case '"':
                    self._is_in_string = not self._is_in_string
                case mark if not self._is_in_string:
                    self._depth += 1 if mark == "{" else -1
                    if self._depth == 0:
                        self._is_open = False
                        return at
        return len(text)


def _head_patterns(call_format: CallFormat) -> Sequence[Any]:
    """The patterns of the text before the arguments of a call."""
    match call_format.body:
        case Body.OBJECTS:
            return (_OBJECT,)
        case Body.JSON:
            return tuple(regex.compile(rf"{pattern.pattern}\s*+(?=\{{)") for pattern in call_format.call_patterns)
        case Body.PYTHON:
            return (_PYTHON_HEAD,)
        case Body.UNQUOTED:
            return tuple(regex.compile(rf"{pattern.pattern}\s*+\{{") for pattern in call_format.call_patterns)
        case _:
            openings = "|".join(regex.escape(opening) for opening, _ in call_format.sections)
            return tuple(
                regex.compile(pattern.pattern if literal else rf"(?:{openings})\s*+{pattern.pattern}(?=[\s<])")
                for pattern, literal in zip(
                    call_format.call_patterns, (not text.startswith("{") for text in call_format.calls), strict=True
                )
            )
