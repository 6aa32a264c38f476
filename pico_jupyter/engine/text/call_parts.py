"""CallParts: returns the parts of tool calls while the model generates them.

A grammar must guarantee the form of the calls: either a JSON object with the name before the arguments, or a pattern
with the name and then a JSON object. Calls in other formats are not returned in parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat

_OBJECT = regex.compile(
    r'\{\s*+(?:"type"\s*+:\s*+"function"\s*+,\s*+)?"name"\s*+:\s*+"(?P<name>[^"\\]+)"\s*+,\s*+'
    r'"(?:arguments|parameters)"\s*+:\s*+(?=\{)'
)
_MARKS = regex.compile(r'["{}\\]')


class ParsedCallPart(msgspec.Struct, frozen=True):
    """The next part of a call. Only the first one has a `name`."""

    arguments: str
    name: str = ""


class CallParts:
    """The parts of the calls of one answer in `call_format`. `count` is the number of calls that have begun."""

    def __init__(self, call_format: CallFormat) -> None:
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
            end = self._scan(text)
            if end > self._at:
                parts.append(ParsedCallPart(text[self._at : end]))
            self._at = end
            if self._is_open:
                break
        return parts

    def reset(self) -> None:
        """Prepare for another text."""
        self.count = self._at = self._depth = 0
        self._is_open = self._is_in_string = False

    def _begin(self, text: str, parts: list[ParsedCallPart]) -> bool:
        """Find the arguments of the next call."""
        matches = [match for head in self._heads if (match := head.search(text, self._at))]
        if not matches:
            return False
        match = min(matches, key=lambda match: int(match.start()))
        self._at = match.end()
        self._is_open = True
        self.count += 1
        parts.append(ParsedCallPart("", str(match["name"]).removeprefix("functions.")))
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
        case _:
            return ()
