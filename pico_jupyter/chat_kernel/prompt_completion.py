"""Completes magics, their arguments and paths at the cursor, and finds the word at the cursor."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pico_jupyter.chat_kernel.cell import MAGICS
from pico_jupyter.sources.calls import ListedModel

MAGIC_START = re.compile(r"\s*%{1,2}(?:(?P<name>[A-Za-z_]*)|(?P<known>[A-Za-z_]+)[ \t]+(?P<argument>.*))$")
IMAGE_START = re.compile(r"!\[[^\]\n]*\]\((?P<path>[^()\n]*)$")
WORD = re.compile(r"[^\s,;()\"'`]+")


@dataclass(frozen=True, slots=True)
class CursorMatches:
    """Texts that can replace the characters between `start` and the cursor."""

    matches: list[str]
    start: int


async def complete(code: str, cursor: int, models: Callable[[], Awaitable[list[ListedModel]]]) -> CursorMatches:
    """Return the matches at `cursor`, an index into `code`. `models` is called if the name of a model is completed."""
    line = code[:cursor].rpartition("\n")[2]
    if (found := IMAGE_START.search(line)) is not None:
        return _matches(_paths(found["path"]), found["path"], cursor)
    found = MAGIC_START.match(line)
    if found is None:
        return CursorMatches([], cursor)
    if found["known"] is None:
        return _matches([f"%{name}" for name in MAGICS], f"%{found['name']}", cursor)
    argument = found["argument"]
    match found["known"].lower():
        case "model":
            return _matches([model.name for model in await models()], argument, cursor)
        case "reasoning":
            return _matches(["on", "off", "default"], argument, cursor)
        case "image":
            return _matches(_paths(argument), argument, cursor)
        case _:
            return CursorMatches([], cursor)


def word_at(code: str, cursor: int) -> str:
    """Return the word at the cursor, or "" if there is no word."""
    return next((found[0] for found in WORD.finditer(code) if found.start() <= cursor <= found.end()), "")


def _matches(candidates: list[str], prefix: str, cursor: int) -> CursorMatches:
    return CursorMatches([name for name in candidates if name.lower().startswith(prefix.lower())], cursor - len(prefix))


def _paths(prefix: str) -> list[str]:
    folder, slash, _ = prefix.rpartition("/")
    try:
        paths = sorted(path for path in Path(folder + slash).expanduser().iterdir() if not path.name.startswith("."))
    except (OSError, RuntimeError, ValueError):
        return []
    return [f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in paths]
