"""Counts the passes of a vision tower: `python -m benchmarks.tower_passes SERVER ...`, called by bare.py.

Our Engine counts its passes. mlx_vlm.server does not, so a wrapper counts the calls of its vision tower. The first
question about an image must take one pass; otherwise the count is wrong. Every second message has its text before the
image, so that the prefix cache cannot reuse the image.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from fastapi.testclient import TestClient

from benchmarks.checkpoints import BUILT_IN
from benchmarks.prompts import Messages, Words, about_a_picture, picture, with_picture
from benchmarks.servers import MLX_VLM, PICO
from pico_jupyter.engine.backends.vision import VisionTowerCache
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import client_of
from pico_jupyter.types import (
    ChatPrompt,
    EngineOptions,
    GenerationRequest,
    ImagePart,
    Message,
    SamplingParams,
    TextPart,
)

TOKENS = 2
Ask: TypeAlias = Callable[[str, bool], None]


def of_our_engine(checkpoint: Path, png: bytes, questions: list[str]) -> list[int]:
    """The number of tower passes for each of several questions about one image."""
    catalog = Catalog(EngineOptions(model_dirs=(str(checkpoint.parent),)), hub_cache=None)
    engine = Engine(catalog, EngineOptions())
    engine.start()
    client = client_of(engine)

    async def ask(question: str, text_first: bool) -> None:
        parts = (TextPart(question), ImagePart(param="messages", data=png))
        request = GenerationRequest(
            question,
            checkpoint.name,
            ChatPrompt((Message("user", parts if text_first else parts[::-1]),)),
            SamplingParams(temperature=0.0),
            max_tokens=TOKENS,
        )
        async for _ in client.generate(request):
            pass

    def passes() -> int:
        # When the model is loaded, this process has one VisionTowerCache.
        return sum(cache.passes for cache in gc.get_objects() if type(cache) is VisionTowerCache)

    try:
        return list(_passes(lambda question, text_first: asyncio.run(ask(question, text_first)), passes, questions))
    finally:
        engine.close()


def of_mlx_vlm_server(checkpoint: Path, png: bytes, questions: list[str]) -> list[int]:
    """The number of tower passes for each of several questions about one image, in mlx_vlm.server's application."""
    from mlx_vlm.server import app, runtime  # noqa: PLC0415  # our engine runs without it

    with TestClient(app) as client:

        def ask(question: str, text_first: bool) -> None:
            messages = with_picture(png, question)
            if text_first:
                messages[0]["content"].reverse()
            send(messages)

        def send(messages: Messages) -> None:
            body = {"model": str(checkpoint.resolve()), "messages": messages, "max_tokens": TOKENS, "temperature": 0.0}
            client.post("/v1/chat/completions", json=body).raise_for_status()

        send([{"role": "user", "content": questions[0]}])
        model = runtime.model_cache["model"]
        counter = model.vision_tower = _Counter(model.vision_tower)
        counts = list(_passes(ask, lambda: counter.passes, questions))
        client.post("/unload").raise_for_status()
        return counts


class _Counter:
    """Wraps a vision tower and counts its calls."""

    def __init__(self, tower: Any) -> None:
        self._tower = tower
        self.passes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tower, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.passes += 1
        return self._tower(*args, **kwargs)


def _passes(ask: Ask, count: Callable[[], int], questions: list[str]) -> Iterator[int]:
    """Ask each question. Yields how much each of them increases the count of passes."""
    for number, question in enumerate(questions):
        before = count()
        ask(question, number % 2 == 1)
        yield count() - before


def _questions(checkpoint: Path, count: int) -> list[str]:
    """`count` different questions."""
    if checkpoint.name in BUILT_IN:
        rng = random.Random(0)
        return [f"{about_a_picture(rng)} {number}" for number in range(count)]
    words = Words(checkpoint.parent, "tower passes")
    return [words.text(20) for _ in range(count)]


def main() -> None:
    """Print the mean number of passes per question after the first."""
    server, folder, count = sys.argv[1:]
    count_passes = {PICO: of_our_engine, MLX_VLM: of_mlx_vlm_server}[server]
    checkpoint = Path(folder)
    first, *later = count_passes(checkpoint, picture(random.Random(0)), _questions(checkpoint, 1 + int(count)))
    if first != 1:
        sys.exit(f"the first question took {first} passes instead of 1")
    print(sum(later) / len(later))


if __name__ == "__main__":
    main()
