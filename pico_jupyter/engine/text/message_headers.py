"""Reads the headers of an answer's messages: the harmony format of gpt-oss, and that of Muse."""

from __future__ import annotations

from collections.abc import Container, Iterable
from enum import Enum, auto

import regex

from pico_jupyter.engine.formats.output_format import MessageFormat
from pico_jupyter.engine.text.text_space import WHITESPACE

_CHANNEL = regex.compile(r"<\|channel\|>\s*(\w+)")
_NAMESPACE = "functions."
# The recipient of a message that the model sends to itself.
_SELF = "self"


class MessageKind(Enum):
    """What a message of an answer holds."""

    REASONING = auto()
    CONTENT = auto()
    CALL = auto()
    IGNORED = auto()


def may_be_header(text: str, messages: MessageFormat, tool_names: Iterable[str]) -> bool:
    """Whether `text` is the beginning of a header. Some models write their answer without one."""
    text = text.lstrip(WHITESPACE)
    starts = [*messages.starts, messages.header_end, "to=", "<|channel|>", "<|constrain|>"]
    if not messages.ends:
        names = [name + messages.header_end for name in (*messages.readers, *tool_names)]
        starts = [*names, *(start + name for start in messages.starts for name in names)]
    return not text or any(text.startswith(start) or start.startswith(text) for start in starts)


def read_header(header: str, messages: MessageFormat, tool_names: Container[str]) -> tuple[MessageKind, str]:
    """The kind of the message after a header, and the name of the tool that it calls ("" without a call)."""
    recipients = regex.findall(messages.recipient, header.strip())
    recipient = recipients[-1] if recipients else ""
    name = recipient.removeprefix(_NAMESPACE)
    if recipient == _SELF:
        return MessageKind.REASONING, ""
    if recipient and recipient not in messages.readers and messages.has_arguments:
        is_tool = recipient.startswith(_NAMESPACE) or name in tool_names
        return (MessageKind.CALL, name) if is_tool else (MessageKind.IGNORED, "")
    channels = _CHANNEL.findall(header)
    return (MessageKind.REASONING if channels[-1:] == ["analysis"] else MessageKind.CONTENT), ""
