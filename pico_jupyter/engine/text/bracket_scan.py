"""BracketScan: finds the end of a bracketed value in a growing text, in linear time."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from pico_jupyter.engine.text.call_values import Incomplete, NotACall
from pico_jupyter.engine.text.matching import partial_length

_BRACKETS = {"{": "}", "[": "]", "(": ")"}
# The quotes of strings in JSON and in Python.
JSON_QUOTES = ('"',)
PYTHON_QUOTES = ('"', "'")
_QUOTED = {quote: regex.compile(rf"[^{quote}\\]*+(?:\\.[^{quote}\\]*+)*+", regex.DOTALL) for quote in PYTHON_QUOTES}


class BracketScan:
    """The brackets of the value that begins at `start`. Brackets in strings do not count.

    A string begins and ends with one of `quotes`. In strings quoted with `"` or `'`, a backslash escapes the next
    character.
    """

    def __init__(self, start: int, quotes: Sequence[str]) -> None:
        # The text before `_at` is scanned. `_quote` is the quote that ends the open string; "" outside strings.
        self._at = start
        self._quote = ""
        self._stack: list[str] = []
        self._is_broken = False
        self._quotes = quotes
        self._tokens = regex.compile("|".join((*map(regex.escape, quotes), r"[{}\[\]()]")))

    def end(self, text: str, closings: Sequence[str]) -> tuple[int, str]:
        """Return the end of the value, and the closing brackets that are missing.

        `text` begins with the text of the previous call of this method. One of `closings` outside a string also ends
        the value; its last brackets are then missing. Raises Incomplete if the value has not ended, and NotACall if
        brackets do not match.
        """
        if self._is_broken:
            raise NotACall("brackets do not match")
        while True:
            if self._quote:
                self._skip_string(text)
            match = self._tokens.search(text, self._at, len(text) - partial_length(text[-8:], self._quotes))
            limit = match.start() if match else len(text)
            ends = [at for closing in closings if (at := text.find(closing, self._at, limit + len(closing))) >= 0]
            if self._stack and ends and min(ends) < limit:
                return min(ends), "".join(reversed(self._stack))
            if match is None:
                raise Incomplete("}", "]", ")", *closings)
            if self._add(match[0]):
                # A later call finds the same end.
                return match.end(), ""
            self._at = match.end()

    def _add(self, token: str) -> bool:
        """Process a bracket or a quote. Returns whether it ends the value."""
        if token in _BRACKETS:
            self._stack.append(_BRACKETS[token])
        elif token not in _BRACKETS.values():
            self._quote = token
        elif not self._stack or self._stack[-1] != token:
            self._is_broken = True
            raise NotACall("brackets do not match")
        elif len(self._stack) == 1:
            return True
        else:
            self._stack.pop()
        return False

    def _skip_string(self, text: str) -> None:
        if self._quote in _QUOTED:
            match = _QUOTED[self._quote].match(text, self._at)
            end = match.end() if match else self._at
            is_found = text.startswith(self._quote, end)
        else:
            end = text.find(self._quote, self._at)
            is_found = end >= 0
            end = end if is_found else max(self._at, len(text) - len(self._quote) + 1)
        self._at = end
        if not is_found:
            raise Incomplete(self._quote)
        self._at += len(self._quote)
        self._quote = ""
