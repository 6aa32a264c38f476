"""Renders a conversation as safe Markdown, with the same result as labextension/src/model/conversationMarkdown.ts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pico_jupyter.notebook.markdown import fold, safe_markdown


def conversation_markdown(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the messages as Markdown that is safe in any renderer."""
    return "\n\n".join(_turn(message) for message in messages) or "*No messages yet.*"


def _turn(message: Mapping[str, Any]) -> str:
    author = "You" if message["role"] == "user" else message.get("model") or "Model"
    names = [_line(attachment["name"]) for attachment in message.get("attachments", ())]
    parts = [
        f"**{_line(author)}**",
        fold(message.get("reasoning") or "", is_open=False),
        safe_markdown(message["content"]),
        *(_call(call) for call in message.get("calls", ())),
        f"*Attached: {', '.join(names)}*" if names else "",
        f"*Failed: {_line(message.get('error', ''))}*" if message.get("status") == "failed" else "",
    ]
    return "\n\n".join(part for part in parts if part.strip())


def _call(call: Mapping[str, Any]) -> str:
    result = call.get("result")
    return f"*Called {_line(call['name'])}: {_line('not done' if result is None else result.partition(chr(10))[0])}*"


def _line(text: str) -> str:
    return safe_markdown(" ".join(text.split()))
