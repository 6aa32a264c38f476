"""B13: further questions about an image, and text requests during image processing, compared with mlx_vlm.server."""

from __future__ import annotations

import asyncio
import statistics

from benchmarks.bare import tower_passes
from benchmarks.cases import Case, Figure, Figures, Setup, Visit
from benchmarks.prompts import picture
from benchmarks.servers import MLX_VLM
from benchmarks.spread import Bar

QUESTION = 20
# Seconds from sending an image until the vision tower runs. Decoding and preprocessing take about 0.05 s.
TOWER_DELAY_SECONDS = 0.25


async def same_picture(visit: Visit) -> Figures:
    """Several questions about each of several images of 448 x 448 pixels. The first question about an image is cold.

    Separate processes count the passes of the vision tower for each further question: in our Engine, and in the
    application of mlx_vlm.server. In both, the first question takes one pass.
    """
    cold, warm = [], []
    for _ in range(visit.times(3, 1)):
        png = picture(visit.rng)
        cold.append((await visit.ask(visit.about(png, QUESTION), 4)).ttft)
        for _ in range(visit.times(4, 2)):
            await asyncio.sleep(0.05)
            warm.append((await visit.ask(visit.about(png, QUESTION), 4)).ttft)
    passes = tower_passes(visit.folder / visit.checkpoint, visit.server.name, 2, visit.blas)
    return {"passes": passes, "warm": statistics.median(warm), "cold": statistics.median(cold)}


async def beside_a_picture(visit: Visit) -> Figures:
    """A new image arrives, and a short text request a quarter of a second later."""
    text, seen = [], []
    for _ in range(visit.times(4, 1)):
        exchange = await visit.send(visit.about(picture(visit.rng), QUESTION), 4)
        await asyncio.sleep(TOWER_DELAY_SECONDS)
        text.append((await visit.ask(visit.words.question(QUESTION), 4)).ttft)
        seen.append((await exchange.answer()).ttft)
    return {"text": statistics.median(text), "picture": statistics.median(seen)}


def _same_picture(checkpoint: str, title: str) -> Case:
    return Case(
        "B13",
        f"same image, new question, {title}",
        same_picture,
        (
            Figure("passes", "vision-tower calls for the new question", "calls", Bar("0 calls", "ours", at_most=0)),
            Figure("warm", "TTFT, new question", "s", Bar("no slower", "ratio", at_most=1.0)),
            Figure("cold", "TTFT, new image", "s"),
        ),
        checkpoint=checkpoint,
        setup=Setup(checkpoint),
        rival=MLX_VLM,
        is_quick=False,
    )


CASES = (
    _same_picture("tiny-vl", "pico-tiny-vl"),
    _same_picture("small-vl", "small-vl"),
    Case(
        "B13",
        "a text request while an image is processed",
        beside_a_picture,
        (
            Figure("text", "TTFT of the text request", "s"),
            Figure("picture", "TTFT of the image request", "s"),
        ),
        checkpoint="small-vl",
        setup=Setup("small-vl"),
        rival=MLX_VLM,
        is_quick=False,
    ),
)
