"""A notebook as it is saved: which cells there are, in which order, and what answered them. Knows no conversation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

# Where an output keeps the text of its answer, which its Markdown shows with more around it.
MARK = "pico_jupyter"


@dataclass(frozen=True, slots=True)
class SavedCell:
    """A code cell. `answer` is None where no answer of ours is saved with it; `ran` even so where it was executed."""

    source: str
    answer: str | None
    ran: bool


class _Output(msgspec.Struct):
    metadata: dict[str, Any] = {}


class _Cell(msgspec.Struct):
    cell_type: str
    source: str | list[str]
    id: str = ""
    execution_count: int | None = None
    outputs: list[_Output] = []


class _Notebook(msgspec.Struct):
    cells: list[_Cell]


class SavedNotebook(Protocol):
    """Where a notebook is saved."""

    async def cells(self) -> Mapping[str, SavedCell]:
        """The code cells by their ids, in their order; the same object until it is saved again.

        Nothing where no notebook can be read, or its cells have no ids.
        """
        ...


class NotebookFile:
    """The file at `path`. None: there is none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._state: tuple[int, int] = (0, 0)
        self._cells: Mapping[str, SavedCell] = {}

    def __repr__(self) -> str:
        return f"<NotebookFile {self._path} [{len(self._cells)} cells]>"

    async def cells(self) -> Mapping[str, SavedCell]:
        """See SavedNotebook.cells."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Mapping[str, SavedCell]:
        try:
            facts = self._path.stat() if self._path is not None else None
            state = (0, 0) if facts is None else (facts.st_mtime_ns, facts.st_size)
            if self._path is not None and state != self._state:
                self._cells = saved_cells(msgspec.json.decode(self._path.read_bytes()))
                self._state = state
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._state, self._cells = (0, 0), {}
        return self._cells


def session_file(environ: Mapping[str, str] = os.environ) -> NotebookFile:
    """The file for which a Jupyter server says that it started this kernel."""
    path = Path(environ.get("JPY_SESSION_NAME", ""))
    return NotebookFile(path if path.suffix == ".ipynb" else None)


def saved_cells(notebook: Any) -> Mapping[str, SavedCell]:
    """The code cells of a notebook, as its JSON has them. Raises msgspec.ValidationError."""
    cells = msgspec.convert(notebook, _Notebook).cells
    return {cell.id: _saved(cell) for cell in cells if cell.id and cell.cell_type == "code"}


def _saved(cell: _Cell) -> SavedCell:
    source = cell.source if isinstance(cell.source, str) else "".join(cell.source)
    marks = [output.metadata.get(MARK) for output in cell.outputs]
    answers = [mark["answer"] for mark in marks if isinstance(mark, dict) and isinstance(mark.get("answer"), str)]
    return SavedCell(source, answers[0] if answers else None, cell.execution_count is not None)
