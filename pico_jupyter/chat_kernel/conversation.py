"""The conversation of a notebook: its cells, in the notebook's order, as far as that is known. Knows no file.

Invariant: what comes before a cell is what a reader of the notebook finds above it, back to the last `%new`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pico_jupyter.sources.calls import Turn


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer, which is a part of one where it was stopped."""

    question: Turn
    answer: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a cell adds: an exchange, or none where nothing was answered; `anew` where it forgets what is above it."""

    exchange: Exchange | None = None
    anew: bool = False


class Conversation:
    """What the cells said, by their ids."""

    def __init__(self) -> None:
        self._cells: dict[str, Said] = {}
        self._saved: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        exchanges = sum(said.exchange is not None for said in self._cells.values())
        return f"<Conversation [{exchanges} exchanges in {len(self._cells)} cells]>"

    def before(self, cell: str) -> tuple[Turn, ...]:
        """The turns above `cell`; all there are, where it is not known yet."""
        turns: list[Turn] = []
        for known, said in self._cells.items():
            if known == cell:
                break
            if said.anew:
                turns.clear()
            if said.exchange is not None:
                turns += [said.exchange.question, Turn("assistant", said.exchange.answer)]
        return tuple(turns)

    def put(self, cell: str, said: Said) -> None:
        """What `cell` says from now on. It keeps its place; a new one comes last."""
        self._cells[cell] = said

    def remove(self, cells: Iterable[str]) -> None:
        """Forget cells that are no more."""
        for cell in cells:
            self._cells.pop(cell, None)

    def arrange(self, saved: Sequence[str], recover: Callable[[str], Said]) -> None:
        """Take over a saved notebook: its order, which cells are gone, and from `recover` what others say.

        A cell that is not saved yet stays behind the one that it was behind.
        """
        self.remove(self._saved - set(saved))
        self._saved = frozenset(saved)
        followers: dict[str, list[str]] = {"": []}
        place = ""
        for cell in self._cells:
            if cell in self._saved:
                place = cell
            else:
                followers.setdefault(place, []).append(cell)
        order = [follower for cell in ("", *saved) for follower in ([cell] if cell else []) + followers.get(cell, [])]
        self._cells = {cell: self._cells.get(cell) or recover(cell) for cell in order}
