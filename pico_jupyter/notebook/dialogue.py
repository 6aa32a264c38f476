"""Dialogue: what the cells of a session said, so that the next one goes on from there. Knows no shell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pico_jupyter.notebook.answer import Answer


@dataclass(frozen=True, slots=True)
class Cell:
    """A run of a cell. `id` is "" where front ends give none; `run` counts the session's executions."""

    id: str
    run: int


@dataclass(slots=True, repr=False)
class Dialogue:
    """Answers in the order in which they were asked for.

    Invariant: a cell that runs again goes on from where it stood, so what it and the cells after it said is forgotten.
    """

    _answers: list[tuple[Cell, Answer]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Dialogue [{len(self._answers)} answers]>"

    def __len__(self) -> int:
        return len(self._answers)

    def before(self, cell: Cell) -> list[dict[str, Any]]:
        """The messages that `cell` goes on from."""
        for index, (known, _) in enumerate(self._answers):
            if cell.id and known.id == cell.id and known.run != cell.run:
                del self._answers[index:]
                break
        return self._answers[-1][1].messages if self._answers else []

    def add(self, cell: Cell, answer: Answer) -> None:
        """`answer` is said. One without text is not: models are asked to go on from what they said."""
        if answer.text:
            self._answers.append((cell, answer))

    def clear(self) -> None:
        """Begin anew."""
        self._answers.clear()
