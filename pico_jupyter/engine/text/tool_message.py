"""ToolMessage: a message of the answer that is sent to a tool, for models whose answers consist of messages."""

from __future__ import annotations

from pico_jupyter.engine.text.call_reader import ParsedToolCall
from pico_jupyter.engine.text.call_values import NotACall, arguments_text, parse_object
from pico_jupyter.engine.text.call_writer import CallWriter


class ToolMessage:
    """Turns the text of a message into a call of `calls`.

    With `has_parts`, a grammar guarantees the arguments, so they are added as they are generated.
    """

    def __init__(self, calls: CallWriter, *, has_parts: bool) -> None:
        self._calls = calls
        self._has_parts = has_parts
        self._recipient = ""
        self._text = ""

    def __repr__(self) -> str:
        return f"<ToolMessage to {self._recipient or 'no tool'} [{len(self._text)} characters]>"

    def begin(self, recipient: str) -> None:
        """Begin a message to the tool `recipient`; "" for a message that is dropped."""
        self._recipient = recipient
        self._text = ""

    def add(self, text: str) -> None:
        """Add text of the message."""
        if text and self._has_parts and self._recipient:
            self._calls.add_part(text, "" if self._text else self._recipient)
        self._text += text

    def end(self, *, if_empty: str = "") -> str:
        """Add the call. Returns the text of the message if it has no arguments of a call, else "".

        `if_empty`: the arguments for a message without text.
        """
        text, self._text = self._text, ""
        if not self._recipient or (self._has_parts and text):
            return ""
        try:
            arguments = parse_object(text.strip() or if_empty)
            self._calls.add([ParsedToolCall(self._recipient, arguments_text(arguments))])
        except NotACall:
            return text
        return ""
