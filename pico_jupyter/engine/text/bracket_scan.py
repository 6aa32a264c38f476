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
# Comments are skipped as strings are.
_COMMENTS = {"//": "\n", "/*": "*/", "#": "\n"}
# A backtick that does not begin the end of a code block.
_BACKTICK = r"`(?!``)(?!`?\Z)"
_QUOTED = {
    quote: regex.compile(rf"[^{quote}\\]*+(?:\\.[^{quote}\\]*+)*+", regex.DOTALL) for quote in (*PYTHON_QUOTES, "`")
}
# The text before an opening bracket that is misplaced: before "{", an object where another object needs a key; before
# "(", a call where another call needs an argument.
_MISPLACED = {"{": regex.compile(r",\s{0,64}$"), "(": regex.compile(r",\s{0,64}[\w.\-]{1,128}$")}
_LONGEST_MISPLACED = 200


class BracketScan:
    """The brackets of the value that begins at `start`. Brackets in strings do not count.

    A string begins and ends with one of `quotes`. In strings quoted with `"` or `'`, a backslash escapes the next
    character. If these are the quotes, there may be comments, and strings between backticks. The value contains none of
    `stops` outside strings.

    Small models write too many or too few closing brackets. A bracket that closes nothing is removed. Missing brackets
    are added before a bracket that closes an outer one, and before the next item of a list if the text there cannot be
    part of the current item.
    """

    def __init__(self, start: int, quotes: Sequence[str], stops: Sequence[str] = ()) -> None:
        # The text before `_at` is scanned. `_quote` is the quote that ends the open string; "" outside strings.
        # `_stack` are the brackets that are missing there, and `_missing` is the number of each.
        self._start = self._at = start
        self._quote = ""
        self._stack: list[str] = []
        self._missing = dict.fromkeys(_BRACKETS.values(), 0)
        # The repairs in their order: two positions, and the text that replaces the text between them.
        self._repairs: list[tuple[int, int, str]] = []
        self._end: int | None = None
        self._quotes = quotes
        self._stops = stops
        has_comments = set(quotes) <= set(PYTHON_QUOTES)
        self._partial = (*quotes, *stops, *(_COMMENTS if has_comments else ()))
        self._longest = max(map(len, self._partial))
        others = (r"[{}\[\]()]", *([_BACKTICK] if has_comments else ()))
        self._tokens = regex.compile("|".join((*map(regex.escape, self._partial), *others)))

    def end(self, text: str, closings: Sequence[str]) -> tuple[int, str]:
        """Return the end of the value, and its repaired text.

        `text` begins with the text of the previous call of this method. One of `closings` outside a string also ends
        the value, and missing brackets are added. Raises Incomplete if the value has not ended, and NotACall at one of
        the stops.
        """
        while self._end is None:
            if self._quote:
                self._skip_string(text)
            known = len(text) - partial_length(text[-self._longest :], self._partial)
            match = self._tokens.search(text, self._at, known)
            limit = match.start() if match else len(text)
            ends = [at for closing in closings if (at := text.find(closing, self._at, limit + len(closing))) >= 0]
            if self._stack and ends and min(ends) < limit:
                return min(ends), self._repaired(text, min(ends))
            if match is None:
                raise Incomplete("}", "]", ")", *closings, *self._stops)
            self._add(match[0], match.start(), text)
            self._at = match.end()
        return self._end, self._repaired(text, self._end)

    def end_of_text(self, text: str) -> tuple[int, str] | None:
        """The end of the text, and the repaired value. None if it lacks more than the brackets after its last item."""
        is_between_items = not self._quote and text.rstrip().endswith(("}", ")"))
        if is_between_items and self._stack in (["]"], ["}"], ["]", "}"]):
            return len(text), self._repaired(text, len(text))
        return None

    def _repaired(self, text: str, end: int) -> str:
        pieces, at = [], self._start
        for start, stop, replacement in self._repairs:
            pieces += [text[at:start], replacement]
            at = stop
        return "".join((*pieces, text[at:end], *reversed(self._stack)))

    def _add(self, token: str, at: int, text: str) -> None:
        """Process a bracket or a quote."""
        if token in self._stops:
            raise NotACall("the reasoning ends in the value")
        if token in self._quotes or token == "`":
            self._quote = token
        elif token in _COMMENTS and token in self._partial:
            self._quote = _COMMENTS[token]
        elif token in _BRACKETS:
            self._close_misplaced(token, at, text)
            self._stack.append(_BRACKETS[token])
            self._missing[_BRACKETS[token]] += 1
        elif not self._missing[token]:
            self._repairs.append((at, at + 1, ""))
        else:
            while (missing := self._pop()) != token:
                self._repairs.append((at, at, missing))
            self._end = None if self._stack else at + 1

    def _close_misplaced(self, token: str, at: int, text: str) -> None:
        """Add the brackets that are missing before `token`, if it begins the next item of a list."""
        pattern, bracket = _MISPLACED.get(token), _BRACKETS[token]
        if pattern is None or self._stack[-1:] != [bracket] or not self._missing["]"]:
            return
        before = pattern.search(text[max(self._start, at - _LONGEST_MISPLACED) : at])
        while before and self._stack[-1] == bracket:
            comma = at - len(before[0])
            self._repairs.append((comma, comma, self._pop()))

    def _pop(self) -> str:
        bracket = self._stack.pop()
        self._missing[bracket] -= 1
        return bracket

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
