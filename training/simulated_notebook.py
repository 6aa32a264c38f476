"""Simulates a notebook and the results of the eight notebook tools, for training and evaluation."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from string import ascii_lowercase, digits
from typing import Any

REJECTED = "The user rejected this."
CHANGES = ("insert_cell", "edit_cell", "delete_cell", "run_cell")
MISSPELLINGS = ("pritn", "prnit", "prin", "pint", "prnt", "pirnt", "printt", "prit", "rpint", "Print")
SUM = re.compile(r"print\((\d+) ([-+*]) (\d+)\)")
HEXADECIMAL, LETTERS = "0123456789abcdef", f"{digits}{ascii_lowercase}"
NO_OUTPUT = "No output."


@dataclass(slots=True)
class NotebookCell:
    """A cell. `output` is the result of its last run, in the words of run_cell, or None."""

    id: str
    source: str
    kind: str = "code"
    count: int | None = None
    output: str | None = None

    def __repr__(self) -> str:
        return f"<NotebookCell {self.id} {self.source!r}>"


def output_of(source: str) -> str:
    """What run_cell returns for the few programs that the samples contain."""
    if found := SUM.fullmatch(source):
        return f"Output:\n{arithmetic(int(found[1]), found[2], int(found[3]))}"
    if found := re.fullmatch(r"print\('(.*)'\)|print\((\d+)\)", source):
        return f"Output:\n{found[1] or found[2]}"
    if re.fullmatch(r"print\(\d+ / 0\)", source):
        return "Error:\nZeroDivisionError: division by zero\n(line 1)"
    if source.count("(") > source.count(")"):
        return "Error:\nSyntaxError: '(' was never closed\n(line 1)"
    if (found := re.match(r"(\w+)\(", source)) and found[1] != "print":
        return f"Error:\nNameError: name '{found[1]}' is not defined\n(line 1)"
    return NO_OUTPUT


def arithmetic(a: int, operator: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[operator]


@dataclass(slots=True)
class SimulatedNotebook:
    """A notebook that executes tool calls.

    `rejects`: the user rejects every change. `failure`: every call fails with this sentence. `printed`: what runs
    print instead of the true value. `style` selects details of the results that the page may write in several ways.
    """

    rng: Random
    name: str
    cells: list[NotebookCell]
    files: dict[str, str] = field(default_factory=dict)
    rejects: bool = False
    failure: str | None = None
    printed: str | None = None
    style: int = 0
    runs: int = 0

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        if self.failure:
            return f"Error: {self.failure}"
        if self.rejects and name in CHANGES:
            return REJECTED
        tools: dict[str, Callable[..., str]] = {
            "read_notebook": self._read_notebook, "read_cell": self._read_cell, "insert_cell": self._insert_cell,
            "edit_cell": self._edit_cell, "delete_cell": self._delete_cell, "run_cell": self._run_cell,
            "read_file": self._read_file, "list_files": self._list_files,
        }  # fmt: skip
        try:
            return tools[name](**arguments)
        except (KeyError, TypeError):
            return f"Error: The arguments of {name} are wrong."
        except LookupError as error:
            return f"Error: {error}"

    def cell(self, cell: str) -> NotebookCell:
        for candidate in self.cells:
            if candidate.id == cell:
                return candidate
        ids = ", ".join(other.id for other in self.cells)
        raise LookupError(f"There is no cell {cell}. The cells are {ids}.")

    def new_id(self) -> str:
        """Four hexadecimal digits, as of most notebooks, or rarely four or five letters and digits."""
        letters, length = (HEXADECIMAL, 4) if self.rng.random() < 0.93 else (LETTERS, self.rng.randint(4, 5))
        while True:
            made = "".join(self.rng.choices(letters, k=length))
            if all(cell.id != made for cell in self.cells):
                return made

    def _read_notebook(self) -> str:
        count = len(self.cells)
        lines = [self._line(index, cell) for index, cell in enumerate(self.cells, 1)]
        return "\n".join([f"{self.name}, {count} cell{'s' * (count != 1)}", *lines])

    def _line(self, index: int, cell: NotebookCell) -> str:
        count = f" [{cell.count or ' '}]" if cell.kind == "code" or self.style == 1 else ""
        error = " error" if (cell.output or "").startswith("Error:") else ""
        return f"{index} {cell.id} {cell.kind}{count} {cell.source.partition(chr(10))[0]}{error}"

    def _read_cell(self, cell: str) -> str:
        found = self.cell(cell)
        count = f" [{found.count or ' '}]" if found.kind == "code" else ""
        head = (f"{found.id} {found.kind}{count}\n", "", "Source:\n")[self.style]
        return f"{head}{found.source}\n{found.output}" if found.output else f"{head}{found.source}"

    def _insert_cell(self, source: str, kind: str = "code", after: str | None = None) -> str:
        made = NotebookCell(self.new_id(), source, kind)
        place = self.cells.index(self.cell(after)) + 1 if after else len(self.cells)
        self.cells.insert(place, made)
        return f"Inserted cell {made.id}."

    def _edit_cell(
        self, cell: str, source: str | None = None, find: str | None = None, replace: str | None = None
    ) -> str:
        found = self.cell(cell)
        if source is None:
            if not find or replace is None or found.source.count(find) != 1:
                return f"Error: The text to find must occur once in cell {cell}."
            source = found.source.replace(find, replace)
        found.source = source
        return f"Changed cell {found.id}."

    def _delete_cell(self, cell: str) -> str:
        self.cells.remove(self.cell(cell))
        return f"Deleted cell {cell}."

    def _run_cell(self, cell: str) -> str:
        found = self.cell(cell)
        self.runs += 1
        found.count, found.output = self.runs, output_of(found.source)
        if self.printed and found.output.startswith("Output:"):
            found.output = f"Output:\n{self.printed}"
        return found.output

    def _read_file(self, path: str) -> str:
        if path not in self.files:
            raise LookupError(f"There is no file {path}.")
        return self.files[path]

    def _list_files(self, path: str = "") -> str:
        folder = f"{path.rstrip('/')}/" if path else ""
        names = [name.removeprefix(folder) for name in self.files if name.startswith(folder)]
        if not names:
            raise LookupError(f"There is no folder {path}.")
        return "\n".join(names)
