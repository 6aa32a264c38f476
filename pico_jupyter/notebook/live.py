"""How an answer is shown while it is written: as an output that grows, as a whole at its end, or as text.

Knows neither IPython nor a socket: outputs are given a callable. nbval reads neither updates nor cleared outputs, so
what an output was updated to and what is shown as a whole are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias
from uuid import uuid4

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.markdown import printable
from pico_jupyter.sources.calls import Piece, ProgressPiece

# A growing output is sent so often at most, a long one less often: each time all of it is rendered anew.
UPDATE_SECONDS = 0.1
CHARACTERS_A_SECOND = 100_000
# nbval 0.11 fails when text is flushed more often than this.
FLUSH_SECONDS = 0.05
DIM, RESET = "\x1b[2m", "\x1b[0m"

# Publishes a message of a type (display_data, update_display_data) with a content.
Publish: TypeAlias = Callable[[str, dict[str, Any]], object]


class Display(Protocol):
    """Shows one answer."""

    def take(self, piece: Piece, answer: Answer) -> None:
        """`piece` has come, and `answer` has it."""
        ...

    def end(self, answer: Answer) -> None:
        """Nothing more comes, for whatever reason."""
        ...


class WholeDisplay:
    """One output, at the end: for programs that run notebooks. An answer that did not begin leaves none."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def __repr__(self) -> str:
        return "<WholeDisplay>"

    def take(self, piece: Piece, answer: Answer) -> None:
        """See Display.take."""

    def end(self, answer: Answer) -> None:
        """See Display.end."""
        if answer.has_begun:
            self._publish("display_data", {"data": bundle(answer), "metadata": {}, "transient": {}})


class LiveDisplay:
    """One output that grows, for people in front of a notebook. An answer that did not begin leaves none."""

    def __init__(self, publish: Publish, clock: Callable[[], float] = time.monotonic) -> None:
        self._publish = publish
        self._clock = clock
        self._id = uuid4().hex
        self._is_shown = False
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<LiveDisplay {'shown' if self._is_shown else 'empty'}>"

    def take(self, piece: Piece, answer: Answer) -> None:
        """See Display.take."""
        now = self._clock()
        if now >= self._due:
            shown = _progress(piece) if isinstance(piece, ProgressPiece) else bundle(answer)
            self._show(shown)
            self._due = now + UPDATE_SECONDS + len(shown["text/markdown"]) / CHARACTERS_A_SECOND

    def end(self, answer: Answer) -> None:
        """See Display.end."""
        if answer.has_begun or self._is_shown:
            self._show(bundle(answer))

    def _show(self, data: dict[str, str]) -> None:
        kind = "update_display_data" if self._is_shown else "display_data"
        self._publish(kind, {"data": data, "metadata": {}, "transient": {"display_id": self._id}})
        self._is_shown = True


class TextDisplay:
    """Text that is written on, for terminals and consoles. `write` takes text; thinking is dimmed if `dims`."""

    def __init__(self, write: Callable[[str], object], *, dims: bool, clock: Callable[[], float] = time.monotonic):
        self._write = write
        self._clock = clock
        self._due = 0.0
        self._thought = self._said = 0
        self._before, self._after = (DIM, f"{RESET}\n\n") if dims else ("<think>\n", "\n</think>\n\n")

    def __repr__(self) -> str:
        return f"<TextDisplay [{self._said} characters]>"

    def take(self, piece: Piece, answer: Answer) -> None:
        """See Display.take."""
        now = self._clock()
        if now >= self._due:
            self._write_more(answer)
            self._due = now + FLUSH_SECONDS

    def end(self, answer: Answer) -> None:
        """See Display.end."""
        self._write_more(answer)
        if self._thought and not self._said:
            self._write(self._after.rstrip("\n"))
        if self._thought or self._said:
            self._write("\n")

    def _write_more(self, answer: Answer) -> None:
        thought = printable(answer.reasoning)[self._thought :]
        said = printable(answer.text)[self._said :]
        if thought:
            self._write(("" if self._thought else self._before) + thought)
        self._thought += len(thought)
        if said:
            self._write((self._after if self._thought and not self._said else "") + said)
        self._said += len(said)


def bundle(answer: Answer) -> dict[str, str]:
    """An answer as outputs hold it."""
    return answer._repr_mimebundle_()


def _progress(piece: ProgressPiece) -> dict[str, str]:
    share = f"{piece.done * 100 // piece.total} %" if piece.total else "…"
    return {"text/markdown": f"*Getting ready: {share}*", "text/plain": f"getting ready: {share}"}
