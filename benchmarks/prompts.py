"""Makes prompts of exact token counts for the random models, questions for the built-in models, and images."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image, ImageDraw
from tokenizers import Tokenizer

from benchmarks.checkpoints import SHAPES, WORDS_FILE

Messages: TypeAlias = "list[dict[str, Any]]"
# Width and height of an image in pixels.
SIDE = 448


class Words:
    """Makes texts of random words. Each word is one token of the random models. The same seed gives the same words."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._words = (folder / WORDS_FILE).read_text().split()
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / next(iter(SHAPES)) / "tokenizer.json"))
        self._rng = random.Random(seed)

    def text(self, count: int) -> str:
        """A text of `count` tokens: words with a space in front of each."""
        return "".join(" " + word for word in self._rng.choices(self._words, k=count))

    def question(self, count: int) -> Messages:
        """A conversation of one message with `count` tokens."""
        return [{"role": "user", "content": self.text(count)}]

    def under(self, system: str, count: int) -> Messages:
        """A conversation with a system prompt and a new question."""
        return [{"role": "system", "content": system}, *self.question(count)]

    def shared_tokens(self, system: str) -> int:
        """The number of leading tokens that all conversations with this system prompt share."""
        return len(self._tokenizer.encode(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n").ids)


def said(answer: str) -> dict[str, str]:
    """An answer as a message of the next turn. It starts with a space, even if the server stripped that."""
    return {"role": "assistant", "content": " " + answer.strip()}


def arithmetic(rng: random.Random) -> Messages:
    """A question that pico-tiny can answer."""
    return [{"role": "user", "content": f"What is {rng.randrange(10, 50)} + {rng.randrange(10, 50)}?"}]


def about_a_picture(rng: random.Random) -> str:
    """A question about an image of shapes that pico-tiny-vl can answer."""
    kind = rng.choice(("How many shapes", "How many objects", "How many things"))
    return f"{kind} {rng.choice(('do you see', 'can you see', 'are there', 'are in this picture'))}?"


def picture(rng: random.Random) -> bytes:
    """A PNG of random coloured boxes."""
    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randrange(2, 6)):
        left, top, size = (rng.randrange(SIDE // 8, SIDE // 2) for _ in range(3))
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        pen.rectangle((left, top, left + size, top + size), fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def with_picture(png: bytes, question: str) -> Messages:
    """A conversation of one message: an image, and a question about it."""
    url = "data:image/png;base64," + base64.b64encode(png).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    return [{"role": "user", "content": parts}]
