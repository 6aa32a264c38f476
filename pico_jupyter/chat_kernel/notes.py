"""Writes the notes that the kernel displays below cells: the help, and the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.sources.calls import Reasoning


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Settings of magics. `model` "": the first that accepts the prompt. `temperature` None: the model's default."""

    model: str = ""
    reasoning: Reasoning = "default"
    system: str = ""
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A note as Markdown for notebooks and as text for terminals."""

    markdown: str
    plain: str

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return the representations that front ends display."""
        return {"text/markdown": self.markdown, "text/plain": self.plain}


def note_help() -> Note:
    """Return the list of all magics."""
    head = "A cell is a prompt, and continues the conversation of the cells above it. It may begin with these lines:"
    foot = "![](PATH) in a prompt attaches an image, too. An interrupt of the kernel stops the answer."
    magics = [usage.partition(": ") for usage in MAGICS.values()]
    items = "\n".join(f"- `{form}`: {meaning}" for form, _, meaning in magics)
    lines = "\n".join(f"  {form:34}{meaning}" for form, _, meaning in magics)
    return Note(f"{head}\n\n{items}\n\n{foot.replace('![](PATH)', '`![](PATH)`')}", f"{head}\n\n{lines}\n\n{foot}")


def note_magic(name: str) -> Note:
    """Return the help of one magic."""
    form, _, meaning = MAGICS[name].partition(": ")
    return Note(f"`{form}`: {meaning}", f"{form}: {meaning}")


def note_settings(settings: ChatSettings, *, starts_over: bool) -> Note:
    """Return the settings in one line."""
    temperature = "the model's default" if settings.temperature is None else f"{settings.temperature:g}"
    values = [f"reasoning: {settings.reasoning}", f"temperature: {temperature}"]
    if starts_over:
        values.append("new conversation")
    model = settings.model or "the first on this machine"
    markdown = [f"model: {_code(model) if settings.model else model}", *values]
    plain = [f"model: {model}", *values]
    if settings.system:
        markdown.append(f"system: {_code(settings.system)}")
        plain.append(f"system: {settings.system}")
    return Note(" · ".join(markdown), " · ".join(plain))


def _code(text: str) -> str:
    """Quote text as Markdown code."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if longest else ""
    return f"{fence}{blank}{text}{blank}{fence}".replace("\n", " ")
