"""Parses a cell of the chat kernel: magics in its first lines, and the prompt below them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pico_jupyter.errors import InvalidRequest

MAGICS = {
    "model": "%model NAME: the model",
    "reasoning": "%reasoning on|off|default: whether the model reasons before it answers",
    "system": "%system TEXT: the system message; without TEXT it is removed",
    "temperature": "%temperature NUMBER|default: 0 to 2; 0 always picks the most likely token",
    "image": "%image PATH: an image or a video for the prompt below; may be repeated",
    "new": "%new: start a new conversation at this cell",
    "models": "%models: the models on this machine",
    "help": "%help: this list",
}
# For users who are used to other tools, ":" or "=" can replace the space, and "%%" (IPython's cell magics) the "%".
MAGIC = re.compile(r"\s*%{1,2}(?P<name>[A-Za-z_]\w*)(?:[ \t:=]+(?P<argument>.*))?$")


@dataclass(frozen=True, slots=True)
class Magic:
    """A line `%name argument`."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class PromptCell:
    """A parsed cell."""

    magics: tuple[Magic, ...]
    prompt: str

    @property
    def starts_over(self) -> bool:
        """Whether a new conversation starts at this cell."""
        return any(magic.name == "new" for magic in self.magics)

    @property
    def images(self) -> tuple[str, ...]:
        """The arguments of the %image magics."""
        return tuple(magic.argument for magic in self.magics if magic.name == "image")


def read_cell(source: str) -> PromptCell:
    """Parse a cell. Unknown magics are kept; check_magics() refuses them."""
    magics: list[Magic] = []
    lines = source.strip().splitlines()
    for index, line in enumerate(lines):
        found = MAGIC.match(line)
        if found is None and line.strip():
            prompt = "\n".join(lines[index:])
            # A prompt that starts with "%" is written with a backslash before it.
            return PromptCell(tuple(magics), prompt[1:] if prompt.startswith("\\%") else prompt)
        if found is not None:
            magics.append(Magic(found["name"].lower(), _unquoted((found["argument"] or "").strip())))
    return PromptCell(tuple(magics), "")


def check_magics(cell: PromptCell) -> None:
    """Raise InvalidRequest if a magic is unknown."""
    for magic in cell.magics:
        if magic.name not in MAGICS:
            names = ", ".join(f"%{name}" for name in MAGICS)
            advice = f"The magics are {names}. Write \\%{magic.name} to begin a prompt with this text"
            raise InvalidRequest(f"there is no %{magic.name}. {advice}", param=f"%{magic.name}")


def _unquoted(argument: str) -> str:
    quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'"
    return argument[1:-1] if quoted else argument
