"""ToolMessage: a message of the answer that is sent to a tool, for models whose answers consist of messages."""

from __future__ import annotations

from collections.abc import Sequence

from pico_jupyter.engine.text.bracket_scan import JSON_QUOTES, BracketScan
from pico_jupyter.engine.text.call_arguments import arguments_text
from pico_jupyter.engine.text.call_progress import ParsedToolCall
from pico_jupyter.engine.text.call_values import Incomplete, NotACall, parse_object
from pico_jupyter.engine.text.call_writer import CallWriter
from pico_jupyter.engine.text.matching import first_match
from pico_jupyter.engine.text.string_mask import StringMask


class ToolMessage:
    """Turns the text of a message into a call of `calls`. `ends` are the texts at which a message ends.

    With `has_parts`, a grammar guarantees the arguments, so they are added as they are generated.
    """

    def __init__(self, calls: CallWriter, ends: Sequence[str], *, has_parts: bool) -> None:
        self._calls = calls
        self._ends = ends
        self._has_parts = has_parts
        self._recipient = ""
        self._text = ""
        self._mask = StringMask()
        self._ignores_strings = False

    def __repr__(self) -> str:
        return f"<ToolMessage to {self._recipient or 'no tool'} [{len(self._text)} characters]>"

    def begin(self, recipient: str) -> None:
        """Begin a message to the tool `recipient`; "" for a message that is dropped."""
        self._recipient = recipient
        self._text = ""
        self._mask = StringMask()

    def outside_strings(self, text: str) -> str:
        """Hide the strings of the arguments in the next text of the message."""
        return self._mask.hide(text) if self._recipient and not self._ignores_strings else text

    def add(self, text: str) -> None:
        """Add text of the message."""
        if text and self._has_parts and self._recipient:
            self._calls.add_part(text, "" if self._text else self._recipient)
        self._text += text

    def end(self, end: str) -> tuple[str, str]:
        """Add the call. `end` is the text at which the message ends; "" at the end of the answer.

        Returns the text of the message if it is not the arguments of a call, and the text to parse again. A text
        of `ends` inside a string of the arguments does not end the message. But if the arguments cannot be parsed, the
        first such text does end it, and the text from there on is parsed again.
        """
        text, self._text = self._text, ""
        if not self._recipient or (self._has_parts and text) or self._add_call(text, end):
            return "", ""
        found = first_match(text, self._ends)
        if found is None:
            return text, ""
        # This happens only once for each answer, so parsing stays linear.
        self._ignores_strings = True
        at, inner_end = found
        return ("" if self._add_call(text[:at], inner_end) else text[:at]), text[at:]

    def _add_call(self, text: str, end: str) -> bool:
        """Add the call with the arguments `text`. Returns false if they are not arguments."""
        text = text.strip()
        for candidate in (text, _repaired(text, end)) if text else ("{}" if end else "",):
            try:
                arguments = arguments_text(parse_object(candidate))
            except NotACall:
                continue
            self._calls.add([ParsedToolCall(self._recipient, arguments)])
            return True
        return False


def _repaired(text: str, end: str) -> str:
    """The arguments before `end`, with the brackets that they lack and without those that they have too often."""
    try:
        at, repaired = BracketScan(0, JSON_QUOTES).end(text + end, [end] if end else [])
    except (Incomplete, NotACall):
        return ""
    return repaired if not text[at:].strip("}]) \n") else ""
