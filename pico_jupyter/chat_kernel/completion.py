"""What can be written where the cursor is, and what is there. Knows no Jupyter message."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.sources.calls import Model

BEGUN = re.compile(r"\s*%{1,2}(?:(?P<name>[A-Za-z_]*)|(?P<known>[A-Za-z_]+)[ \t]+(?P<argument>.*))$")
PICTURE = re.compile(r"!\[[^\]\n]*\]\((?P<path>[^()\n]*)$")
WORD = re.compile(r"[^\s,;()\"'`]+")


@dataclass(frozen=True, slots=True)
class Completion:
    """What can stand between `start` and the cursor."""

    matches: list[str]
    start: int


async def complete(code: str, cursor: int, models: Callable[[], Awaitable[list[Model]]]) -> Completion:
    """Names of magics, their arguments, and paths of pictures. Positions are in characters."""
    line = code[:cursor].rpartition("\n")[2]
    if (found := PICTURE.search(line)) is not None:
        return _begin(_paths(found["path"]), found["path"], cursor)
    found = BEGUN.match(line)
    if found is None:
        return Completion([], cursor)
    if found["known"] is None:
        return _begin([f"%{name}" for name in MAGICS], f"%{found['name']}", cursor)
    argument = found["argument"]
    match found["known"].lower():
        case "model":
            return _begin([model.name for model in await models()], argument, cursor)
        case "reasoning":
            return _begin(["on", "off", "default"], argument, cursor)
        case "image":
            return _begin(_paths(argument), argument, cursor)
        case _:
            return Completion([], cursor)


def word_at(code: str, cursor: int) -> str:
    """The word at the cursor, "" between words."""
    return next((found[0] for found in WORD.finditer(code) if found.start() <= cursor <= found.end()), "")


def _begin(candidates: list[str], begun: str, cursor: int) -> Completion:
    return Completion([found for found in candidates if found.lower().startswith(begun.lower())], cursor - len(begun))


def _paths(begun: str) -> list[str]:
    above, slash, _ = begun.rpartition("/")
    try:
        entries = sorted(Path(above + slash).expanduser().iterdir())
    except (OSError, RuntimeError, ValueError):
        return []
    return [f"{above}{slash}{entry.name}{'/' * entry.is_dir()}" for entry in entries if not entry.name.startswith(".")]
