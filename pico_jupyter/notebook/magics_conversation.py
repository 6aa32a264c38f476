"""MagicsConversation: the conversation of %%chat and %chat, in the order of execution.

Invariant: a cell that runs again continues from where it first ran, so its old answer and all later ones are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pico_jupyter.notebook.answer import Answer


@dataclass(frozen=True, slots=True)
class CellRun:
    """One execution of a cell. `id` is "" if the front end sends none; `run` is the execution count."""

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
        """Return the messages that `cell` continues."""
        answers = self._answers[: self._index(cell)]
        return answers[-1][1].messages if answers else []

    def add(self, cell: CellRun, answer: Answer, *, starts_over: bool = False) -> None:
        """Add the answer of `cell`. With `starts_over`, drop all earlier ones.

        An answer without text is not added, because it cannot be continued.
        """
        if answer.text:
            index = 0 if starts_over else self._index(cell)
            self._answers[index:] = [(cell, answer)]

    def clear(self) -> None:
        """Drop all answers."""
        self._answers.clear()

    def _index(self, cell: CellRun) -> int:
        """Return the index of an earlier run of `cell`, or the end."""
        for index, (known, _) in enumerate(self._answers):
            if cell.id and known.id == cell.id and known.run != cell.run:
                return index
        return len(self._answers)
