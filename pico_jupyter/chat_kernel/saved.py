"""Reads a saved notebook: its cells, their order, and the answers in their outputs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

# A key in an output's metadata. Its value contains the answer's text, without the rest of the displayed Markdown.
ANSWER_KEY = "pico_jupyter"


@dataclass(frozen=True, slots=True)
class SavedCell:
    """A code cell. `answer` is None if its outputs contain no answer. `ran` means that it has an execution count."""

    source: str
    answer: str | None
    ran: bool


class _OutputJson(msgspec.Struct):
    metadata: dict[str, Any] = {}


class _CellJson(msgspec.Struct):
    cell_type: str
    source: str | list[str]
    id: str = ""
    execution_count: int | None = None
    outputs: list[_OutputJson] = []


class _NotebookJson(msgspec.Struct):
    cells: list[_CellJson]


class SavedNotebook(Protocol):
    """A notebook as it was last saved."""

    async def cells(self) -> Mapping[str, SavedCell]:
        """Return the code cells by their ids, in order. Returns the same object until the notebook is saved again.

        The result is empty if the notebook cannot be read, or if its cells have no ids.
        """
        ...


class NotebookFile:
    """The notebook file at `path` (None: there is no file)."""

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
        if self._path is None:
            return self._cells
        try:
            status = self._path.stat()
            state = (status.st_mtime_ns, status.st_size)
            if state != self._state:
                self._cells = saved_cells(msgspec.json.decode(self._path.read_bytes()))
                self._state = state
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._state, self._cells = (0, 0), {}
        return self._cells


def session_file(environ: Mapping[str, str] = os.environ) -> NotebookFile:
    """Return the notebook file in JPY_SESSION_NAME, which a Jupyter server sets when it starts this kernel."""
    path = Path(environ.get("JPY_SESSION_NAME", ""))
    return NotebookFile(path if path.suffix == ".ipynb" else None)


def saved_cells(notebook: Any) -> Mapping[str, SavedCell]:
    """Return the code cells of a notebook, given as decoded JSON. Raises msgspec.ValidationError."""
    cells = msgspec.convert(notebook, _NotebookJson).cells
    return {cell.id: _saved(cell) for cell in cells if cell.id and cell.cell_type == "code"}


def _saved(cell: _CellJson) -> SavedCell:
    source = cell.source if isinstance(cell.source, str) else "".join(cell.source)
    entries = [output.metadata.get(ANSWER_KEY) for output in cell.outputs]
    answers = [entry["answer"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("answer"), str)]
    return SavedCell(source, answers[0] if answers else None, cell.execution_count is not None)
