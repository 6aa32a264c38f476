"""StringMask: hides the JSON strings of a growing text, so that a search finds only text outside them."""

from __future__ import annotations

from typing import Any

import regex

_STRING = regex.compile(r'"(?:[^"\\]|\\.)*+("|\\?\Z)', regex.DOTALL)


class StringMask:
    """Hides the strings in consecutive parts of one text."""

    def __init__(self) -> None:
        # If a string is open at the end of the last part: its quote, and a backslash if the part ends with one.
        self._open = ""

    def hide(self, text: str) -> str:
        """The next part, with spaces in place of strings and their quotes."""
        if not self._open and '"' not in text:
            return text
        length = len(self._open)
        return str(_STRING.sub(self._hide_string, self._open + text))[length:]

    def _hide_string(self, match: Any) -> str:
        self._open = "" if match[1] == '"' else '"' + match[1]
        return " " * len(match[0])
