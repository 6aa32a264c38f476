"""What was said, as Markdown that is safe in any renderer: no HTML of a model runs, no picture is loaded.

labextension/src/model/markdown.ts writes the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_FENCE = re.compile(r"(\s*)(`{3,}|~{3,})\s*([^`]*)")
# Code and formulas; longer ones are taken for prose, so that no text takes long.
_SPECIAL = re.compile(
    r"(`+)(?!`)([\s\S]{0,999}?[^`])\1(?!`)|\$\$[\s\S]{1,999}?\$\$|\$(?!\s)[^$\n]{1,999}?(?<!\s)\$(?!\d)"
    r"|\\\([\s\S]{1,999}?\\\)|\\\[[\s\S]{1,999}?\\\]"
)
_TAG = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_PICTURE = re.compile(r"!(?=\[)")


def conversation_markdown(messages: Sequence[Mapping[str, Any]]) -> str:
    """The conversation for where no panel can be: under a cell, on the web, in a closed notebook."""
    turns = [f"**{harmless(_speaker(message))}**\n\n{_turn(message)}" for message in messages]
    return "\n\n".join(turns).rstrip() or "*Nothing has been said yet.*"


def harmless(markdown: str) -> str:
    """Markdown that means the same, but its HTML is text and its pictures are links."""
    done: list[str] = []
    prose: list[str] = []
    lines = iter(markdown.split("\n"))
    for line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            prose.append(line)
            continue
        code = []
        for inner in lines:
            if _closes(inner, fence[2]):
                break
            code.append(re.sub(rf"^\s{{0,{len(fence[1])}}}", "", inner))
        language = (fence[3].split() or [""])[0]
        done += [*_paragraphs(prose), _fenced("\n".join(code), language)]
        prose = []
    return "\n".join([*done, *_paragraphs(prose)])


def _speaker(message: Mapping[str, Any]) -> str:
    return "You" if message["role"] == "user" else message.get("model") or "Model"


def _turn(message: Mapping[str, Any]) -> str:
    """What belongs to the message: reasoning, text, names of attachments, what went wrong."""
    reasoning = message.get("reasoning")
    names = [_line(attachment["name"]) for attachment in message.get("attachments", ())]
    parts = [
        f"<details><summary>Reasoning</summary>\n\n{harmless(reasoning)}\n\n</details>" if reasoning else "",
        harmless(message["content"]),
        f"*Attached: {', '.join(names)}*" if names else "",
        f"*Failed: {_line(message.get('error', ''))}*" if message.get("status") == "failed" else "",
    ]
    return "\n\n".join(part for part in parts if part.strip())


def _fenced(code: str, language: str) -> str:
    """Code in a fence that nothing in it ends."""
    longest = max((len(run) for run in re.findall("`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{re.sub(r'[^a-zA-Z0-9_+#-]', '', language)}\n{code}\n{fence}"


def _closes(line: str, mark: str) -> bool:
    trimmed = line.strip()
    return len(trimmed) >= len(mark) and trimmed == mark[0] * len(trimmed)


def _paragraphs(lines: Sequence[str]) -> list[str]:
    """The lines, made harmless; nothing for none."""
    if not lines:
        return []
    prose, text, position = "\n".join(lines), "", 0
    for special in _SPECIAL.finditer(prose):
        text += _plain(prose[position : special.start()])
        text += _span(special[0], special[2]) if special[1] else _formula(special[0])
        position = special.end()
    return [text + _plain(prose[position:])]


def _plain(text: str) -> str:
    return _PICTURE.sub("&#33;", _TAG.sub("&lt;", text))


def _span(source: str, code: str) -> str:
    """Inline code. Where it would be dangerous if a renderer took it for something else, it is written by letters."""
    if not re.search(r"<|!\[", code):
        return source
    words = re.sub(r"\s+", " ", code.strip())
    letters = re.sub(r"[^a-zA-Z0-9_ ]", lambda letter: f"&#{ord(letter[0])};", words)
    return f"<code>{letters}</code>"


def _formula(source: str) -> str:
    return _PICTURE.sub("! ", source.replace("<", "\\lt "))


def _line(text: str) -> str:
    """On one line, and nothing but text."""
    return re.sub(r"[\\`*_\[\]<>#!&$|~]", lambda letter: f"&#{ord(letter[0])};", re.sub(r"\s+", " ", text))
