"""What the kernel itself says below cells. Knows no model and no message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.sources.calls import Reasoning


@dataclass(frozen=True, slots=True)
class Settings:
    """What magics set. `model` "": the first of the machine; `temperature` None: the model's own."""

    model: str = ""
    reasoning: Reasoning = "default"
    system: str = ""
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """The same for a page and for a terminal."""

    markdown: str
    plain: str

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """What front ends show."""
        return {"text/markdown": self.markdown, "text/plain": self.plain}


def note_help() -> Note:
    """All that a cell may begin with."""
    head = "A cell is a prompt, and the cells above it are what was said before. Its first lines may be:"
    foot = "A prompt shows a picture with ![](PATH), too. Interrupting the kernel stops an answer."
    magics = [usage.partition(": ") for usage in MAGICS.values()]
    items = "\n".join(f"- `{form}`: {meaning}" for form, _, meaning in magics)
    lines = "\n".join(f"  {form:34}{meaning}" for form, _, meaning in magics)
    return Note(f"{head}\n\n{items}\n\n{foot.replace('![](PATH)', '`![](PATH)`')}", f"{head}\n\n{lines}\n\n{foot}")


def note_magic(name: str) -> Note:
    """What one magic is for."""
    form, _, meaning = MAGICS[name].partition(": ")
    return Note(f"`{form}`: {meaning}", f"{form}: {meaning}")


def note_settings(settings: Settings, *, is_anew: bool) -> Note:
    """What is set, in a line."""
    temperature = "the model's own" if settings.temperature is None else f"{settings.temperature:g}"
    facts = [
        f"reasoning: {settings.reasoning}",
        f"temperature: {temperature}",
        *(["the cells above are forgotten"] if is_anew else []),
    ]
    model = settings.model or "the first of this machine"
    markdown = [f"model: {_code(model) if settings.model else model}", *facts, f"system: {_code(settings.system)}"]
    plain = [f"model: {model}", *facts, f"system: {settings.system}"]
    # Without a system message nothing is said of it.
    end = None if settings.system else -1
    return Note(" · ".join(markdown[:end]), " · ".join(plain[:end]))


def _code(text: str) -> str:
    """Text of which no Markdown is made."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence, blank = "`" * (longest + 1), " " * bool(longest)
    return f"{fence}{blank}{text}{blank}{fence}".replace("\n", " ")
