"""NotebookConversation: the exchanges of a notebook, in the order of its cells.

Invariant: a cell continues the exchanges above it in the notebook, back to the last `%new`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pico_jupyter.sources.calls import Turn


@dataclass(frozen=True, slots=True)
class CellExchange:
    """A question and its answer. The answer is incomplete if it was stopped."""

    question: Turn
    answer: str


@dataclass(frozen=True, slots=True)
class CellContent:
    """A cell's part of the conversation. `exchange` is None without an answer. `starts_over` starts a conversation."""

    exchange: CellExchange | None = None
    starts_over: bool = False


class NotebookConversation:
    """The contents of the cells by their ids, in the order of the saved notebook, or else of their first runs."""

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
        """Adopt the order of a saved notebook, and remove cells that are no longer in it.

        `recover` returns the content of a saved cell that is not in this conversation. A cell that is not saved yet
        stays behind the saved cell before it.
        """
        self.remove(self._saved - set(saved))
        self._saved = frozenset(saved)
        anchor = ""
        unsaved_after: dict[str, list[str]] = {}
        for cell in self._cells:
            if cell in self._saved:
                anchor = cell
            else:
                unsaved_after.setdefault(anchor, []).append(cell)
        order = unsaved_after.get("", [])
        for cell in saved:
            order += [cell, *unsaved_after.get(cell, [])]
        self._cells = {cell: self._cells.get(cell) or recover(cell) for cell in order}
