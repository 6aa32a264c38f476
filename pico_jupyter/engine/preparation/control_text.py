"""ControlText: ensures that control tokens in texts of users, tools and documents are tokenized as plain text.

Before these texts are rendered, a mark is inserted after the first character of each control token in them. Templates
that split or trim a text at a control token then do not find it. The rendered prompt is cut at the marks, and the
pieces are tokenized separately. Prompts whose texts contain no control tokens are not changed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping
from typing import Any

# A mark is a printable character without case. Templates may escape or change other characters.
_FIRST_MARK = 0xA000
# One character as a JSON escape: a surrogate pair or one UTF-16 unit. A mark can have either form.
_ESCAPE = re.compile(r"u(d[89ab][0-9a-f]{2})\\+u(d[c-f][0-9a-f]{2})|u([0-9a-f]{4})", re.IGNORECASE)


class ControlText:
    """Escapes `tokens` in texts with `mark`, a character that must not occur in the prompt."""

    def __init__(self, tokens: Collection[str], mark: str) -> None:
        self.mark = mark
        self._tokens = frozenset(token for token in tokens if len(token) > 1)
        self._beginnings = frozenset(token[:2] for token in self._tokens)
        self._lengths = sorted({len(token) for token in self._tokens})
        starts = "".join(sorted({re.escape(token[0]) for token in self._tokens}))
        self._start = re.compile(f"[{starts}]") if starts else None

    def escape(self, value: Any) -> Any:
        """Escape a text, or all texts in a value of JSON, keys included. Lone surrogates become question marks."""
        match value:
            case str():
                return self._escape_text(value)
            case Mapping():
                return {self.escape(key): self.escape(item) for key, item in value.items()}
            case list() | tuple():
                return [self.escape(item) for item in value]
            case _:
                return value

    def in_rendered(self, text: str) -> str:
        """Restore marks that the template printed as JSON escapes."""
        return text.replace(json.dumps(self.mark)[1:-1], self.mark)

    def _escape_text(self, text: str) -> str:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        return text if self._start is None else self._start.sub(self._mark_token, text)

    def _mark_token(self, match: re.Match[str]) -> str:
        text, start = match.string, match.start()
        if text[start : start + 2] not in self._beginnings:
            return match[0]
        is_token = any(text[start : start + length] in self._tokens for length in self._lengths)
        return match[0] + self.mark if is_token else match[0]


def free_mark(prompt: str) -> str:
    """A mark that does not occur in the texts of a prompt, neither as a character nor as a JSON escape."""
    used, escaped = frozenset(prompt), _escapes(prompt)
    marks = (chr(code) for code in range(_FIRST_MARK, sys.maxunicode) if chr(code).isprintable())
    return next(mark for mark in marks if mark not in used and escaped.isdisjoint(_escapes(json.dumps(mark))))


def _escapes(text: str) -> frozenset[str]:
    """The hexadecimal digits of the JSON escapes in a text. The backslash may be at the end of another text."""
    return frozenset("".join(digits).lower() for digits in _ESCAPE.findall(text))
