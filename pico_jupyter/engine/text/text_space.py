"""LeadingSpace: the whitespace between the parts of an answer. The next part decides whether it is kept."""

from __future__ import annotations

WHITESPACE = " \t\r\n"


class LeadingSpace:
    """The whitespace before the next text. `text` is all of it; `kept()` is the part that belongs to the answer."""

    def __init__(self) -> None:
        self.text = ""
        self._is_kept = True
        # The whitespace between the last text and the markup after it; None if no call or message follows text.
        self._before_markup: str | None = None

    def reset(self, *, is_kept: bool) -> None:
        """Begin a part of the answer. `is_kept`: blank lines at the start of the part are part of the answer."""
        self.text = ""
        self._is_kept = is_kept
        self._before_markup = None

    def reset_after_markup(self, *, follows_text: bool) -> None:
        """Begin the part after a call or a message. `follows_text`: the answer has text before it."""
        before = self._before_markup if self._before_markup is not None else self.text if follows_text else None
        self.reset(is_kept=False)
        self._before_markup = before

    def move_from(self, text: str) -> str:
        """Move the whitespace at the start of `text` here. Returns the rest."""
        rest = text.lstrip(WHITESPACE)
        self.text += text[: len(text) - len(rest)]
        return rest

    def hold_from(self, text: str) -> str:
        """Store the whitespace at the end of `text`. Returns the whitespace stored before, and the rest of `text`."""
        body = text.rstrip(WHITESPACE)
        if body == text and not self.text:
            return text
        if not body:
            self.text += text
            return ""
        before, self.text = self.text, text[len(body) :]
        return before + body

    def kept(self, *, has_text: bool) -> str:
        """The whitespace to write before the text of this part. `has_text` is false at the end of the answer."""
        if self._before_markup is not None:
            # The line breaks beside the tags are markup.
            return (self._before_markup.removesuffix("\n") + self.text.removeprefix("\n") or "\n") if has_text else ""
        if self._is_kept:
            return self.text
        # Blank lines are dropped, but not the indentation of the first line.
        _, line_break, indentation = self.text.rpartition("\n")
        return indentation if line_break and has_text else ""
