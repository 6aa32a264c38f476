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
        answers = self._answers[: self._place(cell)]
        return answers[-1][1].messages if answers else []

    def add(self, cell: Cell, answer: Answer, *, anew: bool = False) -> None:
        """`cell` has said `answer`; with `anew`, before all else is forgotten.

        One without text was not said: models are asked to go on from what they said.
        """
        if answer.text:
            place = 0 if anew else self._place(cell)
            self._answers[place:] = [(cell, answer)]

    def _place(self, cell: Cell) -> int:
        """Where an earlier run of `cell` stands; else the end."""
        for index, (known, _) in enumerate(self._answers):
            if cell.id and known.id == cell.id and known.run != cell.run:
                return index
        return len(self._answers)

    def clear(self) -> None:
        """Begin anew."""
        self._answers.clear()
