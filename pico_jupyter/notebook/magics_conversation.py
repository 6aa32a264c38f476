"""MagicsConversation: the conversation of %%chat and %chat, in the order of execution.

Invariant: when a cell runs again, its old answer and all later answers are removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pico_jupyter.notebook.answer import Answer


@dataclass(frozen=True, slots=True)
class CellRun:
    """One execution of a cell. `id` is the cell's id ("" if the front end sends no ids), `run` the execution count."""

    id: str
    run: int


@dataclass(slots=True, repr=False)
class MagicsConversation:
    """The answers of a session, oldest first."""

    _answers: list[tuple[CellRun, Answer]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<MagicsConversation [{len(self._answers)} answers]>"

    def __len__(self) -> int:
        return len(self._answers)

    def before(self, cell: CellRun) -> list[dict[str, Any]]:
        """Return the messages before `cell`."""
        answers = self._answers[: self._index(cell)]
        return answers[-1][1].messages if answers else []

    def add(self, cell: CellRun, answer: Answer, *, starts_over: bool = False) -> None:
        """Add an answer. It replaces the old answer of `cell` and all later ones. With `starts_over`, it replaces all.

        An answer without text is not added, because a conversation cannot continue it.
        """
        if answer.text:
            index = 0 if starts_over else self._index(cell)
            self._answers[index:] = [(cell, answer)]

    def clear(self) -> None:
        """Remove all answers."""
        self._answers.clear()

    def _index(self, cell: CellRun) -> int:
        """Return the index of the earlier run of `cell`, or the number of answers if there is no such run."""
        for index, (known, _) in enumerate(self._answers):
            if cell.id and known.id == cell.id and known.run != cell.run:
                return index
        return len(self._answers)
