"""A cell as the chat kernel reads it: magics in its first lines, and below them the prompt. Knows no model, no file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pico_jupyter.errors import InvalidRequest

MAGICS = {
    "model": "%model NAME: the model that answers",
    "reasoning": "%reasoning on|off|default: whether it thinks first",
    "system": "%system TEXT: what it is told before everything else; without a text nothing",
    "temperature": "%temperature NUMBER|default: 0 for the likeliest answer, 2 for the wildest",
    "image": "%image PATH: a picture that goes along with the prompt below; several lines, several pictures",
    "new": "%new: forget what is above this cell",
    "models": "%models: the models on this machine",
    "help": "%help: this list",
}
# In a terminal people forget the blank, write = for it, or take the two signs of IPython's cell magics.
MAGIC = re.compile(r"\s*%{1,2}(?P<name>[A-Za-z_]\w*)(?:[ \t:=]+(?P<argument>.*))?$")


@dataclass(frozen=True, slots=True)
class Magic:
    """A line like `%name argument`."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell, taken apart."""

    magics: tuple[Magic, ...]
    prompt: str

    @property
    def is_anew(self) -> bool:
        """Whether the conversation begins again here."""
        return any(magic.name == "new" for magic in self.magics)

    @property
    def images(self) -> tuple[str, ...]:
        """The paths of the pictures that go along, as they are written."""
        return tuple(magic.argument for magic in self.magics if magic.name == "image")


def read_cell(source: str) -> Cell:
    """Take a cell apart. Magics may be unknown; `check` says so."""
    magics: list[Magic] = []
    lines = source.strip().splitlines()
    for index, line in enumerate(lines):
        found = MAGIC.match(line)
        if found is None and line.strip():
            prompt = "\n".join(lines[index:])
            return Cell(tuple(magics), prompt.removeprefix("\\") if prompt.startswith("\\%") else prompt)
        if found is not None:
            magics.append(Magic(found["name"].lower(), _unquoted((found["argument"] or "").strip())))
    return Cell(tuple(magics), "")


def check(cell: Cell) -> None:
    """Raise InvalidRequest for a magic that there is none of."""
    for magic in cell.magics:
        if magic.name not in MAGICS:
            names = ", ".join(f"%{name}" for name in MAGICS)
            advice = f"There are {names}. A prompt that begins so is written \\%{magic.name}"
            raise InvalidRequest(f"there is no %{magic.name}. {advice}", param=f"%{magic.name}")


def _unquoted(argument: str) -> str:
    quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'"
    return argument[1:-1] if quoted else argument
