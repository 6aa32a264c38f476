"""Displays an answer during generation: as an output that grows, as one output at the end, or as text.

nbval ignores updates of outputs. The single output at the end equals the final state of a growing output.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.markdown import printable
from pico_jupyter.sources.calls import Piece, ProgressPiece

# The shortest time between two updates. A long output is updated less often, because each update renders all of it.
UPDATE_SECONDS = 0.1
CHARACTERS_PER_SECOND = 100_000
# nbval 0.11 fails when text is flushed more often than this.
FLUSH_SECONDS = 0.05
DIM, RESET = "\x1b[2m", "\x1b[0m"

# Publishes a message. The arguments are its type, display_data or update_display_data, and its content.
Publish: TypeAlias = Callable[[str, dict[str, Any]], object]


class Display(Protocol):
    """Displays one answer."""

    def update(self, piece: Piece, answer: Answer) -> None:
        """Display `answer`, to which `piece` has just been added."""
        ...

    def end(self, answer: Answer) -> None:
        """Display the final state of `answer`: complete, stopped or failed."""
        ...


class WholeDisplay:
    """Publishes one output at the end, for programs that run notebooks. An answer that never began has no output."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def __repr__(self) -> str:
        return "<WholeDisplay>"

    def update(self, piece: Piece, answer: Answer) -> None:
        """See Display.update."""

    def end(self, answer: Answer) -> None:
        """See Display.end."""
        if answer.has_begun:
            self._publish("display_data", {"data": bundle(answer), "metadata": {}, "transient": {}})


class LiveDisplay:
    """Publishes one output and updates it, for users of a notebook. An answer without pieces has no output."""

    def __init__(self, publish: Publish, clock: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._clock = clock
        self._id = uuid4().hex
        self._is_shown = False
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<LiveDisplay {'shown' if self._is_shown else 'empty'}>"

    def update(self, piece: Piece, answer: Answer) -> None:
        """See Display.update."""
        now = self._clock()
        if now >= self._due:
            shown = _progress(piece) if isinstance(piece, ProgressPiece) else bundle(answer)
            self._show(shown)
            self._due = now + UPDATE_SECONDS + len(shown["text/markdown"]) / CHARACTERS_PER_SECOND

    def end(self, answer: Answer) -> None:
        """See Display.end."""
        if answer.has_begun or self._is_shown:
            self._show(bundle(answer))

    def _show(self, data: dict[str, str]) -> None:
        kind = "update_display_data" if self._is_shown else "display_data"
        self._publish(kind, {"data": data, "metadata": {}, "transient": {"display_id": self._id}})
        self._is_shown = True


class TextDisplay:
    """Writes text, for terminals and consoles. With `dims`, reasoning is dim; otherwise it is in <think> tags."""

    def __init__(self, write: Callable[[str], object], *, dims: bool, clock: Callable[[], float] = time.monotonic):
        self._write = write
        self._clock = clock
        self._due = 0.0
        self._reasoning_written = self._text_written = 0
        self._reasoning_start = DIM if dims else "<think>\n"
        self._reasoning_end = f"{RESET}\n\n" if dims else "\n</think>\n\n"

    def __repr__(self) -> str:
        return f"<TextDisplay [{self._text_written} characters]>"

    def update(self, piece: Piece, answer: Answer) -> None:
        """See Display.update."""
        now = self._clock()
        if now >= self._due:
            self._write_more(answer)
            self._due = now + FLUSH_SECONDS

    def end(self, answer: Answer) -> None:
        """See Display.end."""
        self._write_more(answer)
        if self._reasoning_written and not self._text_written:
            self._write(self._reasoning_end.rstrip("\n"))
        if self._reasoning_written or self._text_written:
            self._write("\n")

    def _write_more(self, answer: Answer) -> None:
        reasoning = printable(answer.reasoning)[self._reasoning_written :]
        text = printable(answer.text)[self._text_written :]
        if reasoning:
            start = "" if self._reasoning_written else self._reasoning_start
            self._write(start + reasoning)
        self._reasoning_written += len(reasoning)
        if text:
            end = self._reasoning_end if self._reasoning_written and not self._text_written else ""
            self._write(end + text)
        self._text_written += len(text)


def bundle(answer: Answer) -> dict[str, str]:
    """Return the representations of an answer for an output."""
    return answer._repr_mimebundle_()


def _progress(piece: ProgressPiece) -> dict[str, str]:
    share = f"{piece.done * 100 // piece.total} %" if piece.total else "…"
    return {"text/markdown": f"*Getting ready: {share}*", "text/plain": f"getting ready: {share}"}
