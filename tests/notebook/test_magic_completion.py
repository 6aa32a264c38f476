"""Completion in lines of the magics."""

from __future__ import annotations

import pytest

from pico_jupyter.notebook.magic_completion import words_at


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%pico ", ["models", "ps", "pull", "rm", "load", "unload", "model", "reasoning", "new"]),
        ("%pico mo", ["models", "model"]),
        ("%pico load ", ["tiny", "large"]),
        ("%pico load t", ["tiny"]),
        ("%pico load tiny ", []),
        ("%pico ps ", []),
        ("%pico reasoning o", ["on", "off"]),
        ("%%chat --model l", ["large"]),
        ("%%chat -r on -m ", ["tiny", "large"]),
        ("%%chat --reasoning d", ["default"]),
        ("%chat --m", ["--model", "--max-tokens"]),
        ("%chat hello", []),
        ("%%chat --image pi", []),
        ("%pico", []),
        ("%time -m t", []),
        ("", []),
    ],
)
def test_matching_words_are_offered(line: str, words: list[str]) -> None:
    assert words_at(line, lambda: ["tiny", "large"]) == words
