"""The weights of pico-tiny-vl answer questions about images and videos that were not used in training."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

import pico_jupyter
from pico_jupyter.client import collect
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
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
# Lower and upper limits on the share of right answers. With 40 answers, chance moves a share of 0.9 or 0.85 this far.
SHARE_IN_IMAGES, SHARE_IN_VIDEOS, SHARE_BY_CHANCE = 0.85, 0.8, 0.4


class EngineReader(Reader):
    """Answers the questions of the evaluation with our engine instead of mlx-vlm."""

    def __init__(self, engine: LocalEngineClient, loop: asyncio.AbstractEventLoop, scratch: Path) -> None:
        self.engine = engine
        self.loop = loop
        self.scratch = scratch

    def answers(self, rng: Random, case: Case) -> list[str]:
        """The answers to the messages of one conversation, which contains the earlier answers."""
        messages: list[Message] = []
        written: list[str] = []
        for number, step in enumerate(case):
            seen = [self._part(rng, scene, f"{number}.{index}") for index, scene in enumerate(step.scenes)]
            messages.append(Message("user", (*seen, TextPart(step.question))))
            request = GenerationRequest(id="r", model=MODEL, prompt=ChatPrompt(tuple(messages)), max_tokens=64)
            answering = asyncio.run_coroutine_threadsafe(self._answer(request), self.loop)
            written.append(answering.result(60))
            messages.append(Message("assistant", (TextPart(written[-1]),)))
        return written

    async def _answer(self, request: GenerationRequest) -> str:
        return (await collect(self.engine.generate(request))).choices[0].text.strip()

    def _part(self, rng: Random, scene: Scene, param: str) -> Part:
        if isinstance(scene, Picture):
            write_picture(rng, scene, path := self.scratch / "seen.png")
            return ImagePart(param, path.read_bytes())
        write_clip(rng, scene, path := self.scratch / "seen.mp4")
        return VideoPart(param, path.read_bytes())


async def share(row: str, scratch: Path) -> float:
    """The share of right answers for one row of the model card's table."""
    options = EngineOptions()
    engine = Engine(Catalog(options, environ={}, hub_cache=None), options)
    engine.start()
    client = client_of(engine)
    reader = EngineReader(client, asyncio.get_running_loop(), scratch)
    cell = await asyncio.to_thread(measure, reader, ROWS[row], COUNT)
    await client.aclose()
    return cell.share()


@pytest.mark.parametrize("row", ["color", "shape", "count, one to five", "background"])
async def test_it_recognizes_the_content_of_an_image(row: str, tmp_path: Path) -> None:
    assert await share(f"picture: {row}", tmp_path) >= SHARE_IN_IMAGES


@pytest.mark.parametrize("row", ["color", "shape", "count", "background"])
async def test_it_only_guesses_about_a_blank_image(row: str, tmp_path: Path) -> None:
    assert await share(f"control, blank picture: {row}", tmp_path) <= SHARE_BY_CHANCE


@pytest.mark.parametrize("row", ["motion", "motion, played backwards", "order of colors", "order of shapes"])
async def test_it_recognizes_the_content_of_a_video(row: str, tmp_path: Path) -> None:
    assert await share(f"video: {row}", tmp_path) >= SHARE_IN_VIDEOS


@pytest.mark.parametrize("row", ["two or three pictures in a message", "fourth question about a picture", "no picture"])
async def test_it_distinguishes_several_images_and_no_image(row: str, tmp_path: Path) -> None:
    assert await share(row, tmp_path) >= SHARE_IN_VIDEOS


def test_its_folder_is_smaller_than_eight_megabytes() -> None:
    folder = Path(pico_jupyter.__file__).parent / "builtin" / MODEL
    assert sum(path.stat().st_size for path in folder.iterdir()) < EIGHT_MEGABYTES
