"""Completes lines of the magics: options, commands, and model names."""

from __future__ import annotations

from collections.abc import Callable

from pico_jupyter.notebook.chat_options import NAMES, SWITCH
from pico_jupyter.notebook.commands import WORDS


def words_at(line: str, model_names: Callable[[], list[str]]) -> list[str]:
    """Return the completions of the last word of `line`. The line ends at the cursor."""
    command, *words = line.split(" ")
    if not words:
        return []
    before = words[-2] if len(words) > 1 else ""
    match command:
        case "%pico":
            known = _after_pico(before, len(words), model_names)
        case "%chat" | "%%chat":
            known = _after_chat(before, words[-1], model_names)
        case _:
            known = []
    return [word for word in known if word.startswith(words[-1])]


def _after_pico(before: str, count: int, model_names: Callable[[], list[str]]) -> list[str]:
    if count == 1:
        return list(WORDS)
    if count > 2:
        return []
    if before == "reasoning":
        return list(SWITCH)
    return model_names() if before in ("load", "unload", "model", "rm") else []


def _after_chat(before: str, word: str, model_names: Callable[[], list[str]]) -> list[str]:
    if before in ("-r", "--reasoning"):
        return list(SWITCH)
    if before in ("-m", "--model"):
        return model_names()
    return list(NAMES) if word.startswith("-") else []
