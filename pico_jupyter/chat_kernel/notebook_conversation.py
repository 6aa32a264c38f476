"""NotebookConversation: the exchanges of a notebook, in the order of its cells.

Invariant: a cell continues the exchanges above it in the notebook, back to the last `%new`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pico_jupyter.sources.calls import Turn


@dataclass(frozen=True, slots=True)
class CellExchange:
    """A question and its answer, which is incomplete if it was stopped."""

    question: Turn
    answer: str


@dataclass(frozen=True, slots=True)
class CellContent:
    """What a cell adds: an exchange, or None without an answer. `starts_over`: the cells above it are ignored."""

    exchange: CellExchange | None = None
    starts_over: bool = False


class NotebookConversation:
    """The contents of the cells by their ids, in the order of the notebook if it is known."""

    def __init__(self) -> None:
        self._cells: dict[str, CellContent] = {}
        self._saved: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        exchanges = sum(content.exchange is not None for content in self._cells.values())
        return f"<NotebookConversation [{exchanges} exchanges in {len(self._cells)} cells]>"

    def before(self, cell: str) -> tuple[Turn, ...]:
        """Return the turns above `cell`, or all turns if the cell is new."""
        turns: list[Turn] = []
        for known, content in self._cells.items():
            if known == cell:
                break
            if content.starts_over:
                turns.clear()
            if content.exchange is not None:
                turns += [content.exchange.question, Turn("assistant", content.exchange.answer)]
        return tuple(turns)

    def set(self, cell: str, content: CellContent) -> None:
        """Replace the content of `cell`. A known cell keeps its position, a new one is appended."""
        self._cells[cell] = content

    def remove(self, cells: Iterable[str]) -> None:
        """Remove cells that were deleted from the notebook."""
        for cell in cells:
            self._cells.pop(cell, None)

    def arrange(self, saved: Sequence[str], recover: Callable[[str], CellContent]) -> None:
        """Follow a saved notebook: adopt its order, remove cells that it lacks, and call `recover` for new ones.

        A cell that is not saved yet keeps its position after the cell before it.
        """
        self.remove(self._saved - set(saved))
        self._saved = frozenset(saved)
        followers: dict[str, list[str]] = {"": []}
        anchor = ""
        for cell in self._cells:
            if cell in self._saved:
                anchor = cell
            else:
                followers.setdefault(anchor, []).append(cell)
        order = [follower for cell in ("", *saved) for follower in ([cell] if cell else []) + followers.get(cell, [])]
        self._cells = {cell: self._cells.get(cell) or recover(cell) for cell in order}
