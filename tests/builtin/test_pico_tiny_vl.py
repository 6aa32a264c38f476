"""The vision weights that ship: what they see in pictures and clips that training never showed them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

import pico_jupyter
from pico_jupyter.client import collect
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient
from pico_jupyter.types import (
    ChatPrompt,
    EngineOptions,
    GenerationRequest,
    ImagePart,
    Message,
    Part,
    TextPart,
    VideoPart,
)
from training.vision.evaluate import ROWS, Case, Reader, Scene, measure
from training.vision.files import write_clip, write_picture
from training.vision.scenes import Picture

EIGHT_MEGABYTES = 8_000_000
MODEL = "pico-tiny-vl"
COUNT = 40
# Of this many answers so many may be wrong by chance: the bar for a share of 0.9 and 0.85, with room for it.
MOST_RIGHT, MANY_RIGHT, NEAR_CHANCE = 0.85, 0.8, 0.4


class EngineReader(Reader):
    """The evaluation's questions, answered by our own engine instead of mlx-vlm's."""

    def __init__(self, engine: LocalEngineClient, loop: asyncio.AbstractEventLoop, scratch: Path) -> None:
        self.engine = engine
        self.loop = loop
        self.scratch = scratch

    def answers(self, rng: Random, case: Case) -> list[str]:
        """Its answers to the messages, one after another; past ones are its own."""
        messages: list[Message] = []
        written: list[str] = []
        for number, step in enumerate(case):
            seen = [self._part(rng, scene, f"{number}.{index}") for index, scene in enumerate(step.scenes)]
            messages.append(Message("user", (*seen, TextPart(step.question))))
            request = GenerationRequest(id="r", model=MODEL, prompt=ChatPrompt(tuple(messages)), max_tokens=64)
            answering = asyncio.run_coroutine_threadsafe(collect(self.engine.generate(request)), self.loop)
            written.append(answering.result(60).choices[0].text.strip())
            messages.append(Message("assistant", (TextPart(written[-1]),)))
        return written

    def _part(self, rng: Random, scene: Scene, param: str) -> Part:
        if isinstance(scene, Picture):
            write_picture(rng, scene, path := self.scratch / "seen.png")
            return ImagePart(param, path.read_bytes())
        write_clip(rng, scene, path := self.scratch / "seen.mp4")
        return VideoPart(param, path.read_bytes())


async def share(row: str, scratch: Path) -> float:
    """The share of right answers to one row of the model card's table."""
    options = EngineOptions()
    engine = Engine(Catalog(options, environ={}, hub_cache=None), options)
    engine.start()
    client = LocalEngineClient(engine)
    reader = EngineReader(client, asyncio.get_running_loop(), scratch)
    cell = await asyncio.to_thread(measure, reader, ROWS[row], COUNT)
    await client.aclose()
    return cell.share()


@pytest.mark.parametrize("row", ["color", "shape", "count, one to five", "background"])
async def test_it_tells_what_is_in_a_picture(row: str, tmp_path: Path) -> None:
    assert await share(f"picture: {row}", tmp_path) >= MOST_RIGHT


@pytest.mark.parametrize("row", ["color", "shape", "count", "background"])
async def test_it_tells_nothing_from_a_blank_picture(row: str, tmp_path: Path) -> None:
    assert await share(f"control, blank picture: {row}", tmp_path) <= NEAR_CHANCE


@pytest.mark.parametrize("row", ["motion", "motion, played backwards", "order of colors", "order of shapes"])
async def test_it_tells_what_happens_in_a_clip(row: str, tmp_path: Path) -> None:
    assert await share(f"video: {row}", tmp_path) >= MANY_RIGHT


@pytest.mark.parametrize("row", ["two or three pictures in a message", "fourth question about a picture", "no picture"])
async def test_it_keeps_pictures_apart_from_each_other_and_from_none(row: str, tmp_path: Path) -> None:
    assert await share(row, tmp_path) >= MANY_RIGHT


def test_its_weights_are_less_than_eight_megabytes() -> None:
    folder = Path(pico_jupyter.__file__).parent / "builtin" / MODEL
    assert sum(path.stat().st_size for path in folder.iterdir()) < EIGHT_MEGABYTES
