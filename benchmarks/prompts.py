"""Prompts of exact lengths for the random models, and what their template makes of them. Knows no server."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TypeAlias

from tokenizers import Tokenizer

from benchmarks.checkpoints import SHAPES, WORDS_FILE

Messages: TypeAlias = "list[dict[str, str]]"


class Words:
    """Draws words, each of which is one token of the random models. The same seed gives the same words."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._words = (folder / WORDS_FILE).read_text().split()
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / next(iter(SHAPES)) / "tokenizer.json"))
        self._draw = random.Random(seed)

    def text(self, count: int) -> str:
        """So many tokens: words with a space in front of each."""
        return "".join(" " + word for word in self._draw.choices(self._words, k=count))

    def question(self, count: int) -> Messages:
        """A conversation of one message."""
        return [{"role": "user", "content": self.text(count)}]

    def under(self, system: str, count: int) -> Messages:
        """A new question under a system prompt."""
        return [{"role": "system", "content": system}, *self.question(count)]

    def shared_tokens(self, system: str) -> int:
        """How many leading tokens all conversations under a system prompt share."""
        return len(self._tokenizer.encode(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n").ids)


def said(answer: str) -> dict[str, str]:
    """An answer as the next turn's history. A server may strip its first space, which is a part of its first token."""
    return {"role": "assistant", "content": " " + answer.strip()}


def arithmetic(draw: random.Random) -> Messages:
    """A question that pico-tiny can answer."""
    return [{"role": "user", "content": f"What is {draw.randrange(10, 50)} + {draw.randrange(10, 50)}?"}]
