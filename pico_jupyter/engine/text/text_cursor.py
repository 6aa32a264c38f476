"""TextCursor: a position in a text that may grow, and the basic steps of a parser."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from pico_jupyter.engine.text.call_values import Incomplete

_SPACE = regex.compile(r"\s*+")


class TextCursor:
    """The position `at` in `text`. `final`: no text follows. All steps skip whitespace first, except `until`."""

    def __init__(self, text: str, final: bool) -> None:
        self.at = 0
        self.text = text
        self.final = final

    def until(self, text: str) -> str:
        end = self.text.find(text, self.at)
        if end < 0:
            raise Incomplete(text)
        value = self.text[self.at : end]
        self.at = end + len(text)
        return value

    def accept(self, text: str) -> bool:
        """Skip whitespace and `text`, if it is next. Raises Incomplete if it may become next."""
        if not text:
            return False
        at = self.space_end()
        if self.text.startswith(text, at):
            self.at = at + len(text)
            return True
        if self._may_begin(at, (text,)):
            raise Incomplete
        return False

    def begins_any(self, texts: Sequence[str]) -> bool:
        """Whether one of the texts is next, after whitespace. Raises Incomplete if one may become next."""
        at = self.space_end()
        if self.text.startswith(tuple(texts), at):
            return True
        if self._may_begin(at, texts):
            raise Incomplete
        return False

    def _may_begin(self, at: int, texts: Sequence[str]) -> bool:
        length = len(self.text) - at
        return not self.final and any(len(text) > length and text.startswith(self.text[at:]) for text in texts)

    def is_at_end(self) -> bool:
        return self.space_end() == len(self.text)

    def skip_space(self) -> None:
        self.at = self.space_end()

    def space_end(self) -> int:
        match = _SPACE.match(self.text, self.at)
        return match.end() if match else self.at
