"""B13: what is not looked at twice, and who waits while a picture is looked at. Beside mlx_vlm.server."""

from __future__ import annotations

import asyncio
import statistics

from benchmarks.bare import tower_passes
from benchmarks.cases import Case, Figure, Figures, Setup, Visit
from benchmarks.prompts import picture
from benchmarks.servers import MLX_VLM
from benchmarks.spread import Bar

QUESTION = 20
# From sending a picture until its tower surely computes: reading and cutting it up takes about 0.05 s.
LOOKING_SECONDS = 0.25


async def same_picture(visit: Visit) -> Figures:
    """One picture of 448 x 448 pixels after another, and several questions on each; the first of them is the cold one.

    The vision tower's passes for a new question are counted in processes of their own, in a real Engine of ours and in
    mlx_vlm.server's application, where the first question takes one.
    """
    cold, warm = [], []
    for _ in range(visit.times(3, 1)):
        png = picture(visit.draw)
        cold.append((await visit.ask(visit.about(png, QUESTION), 4)).ttft)
        for _ in range(visit.times(4, 2)):
            await asyncio.sleep(0.05)
            warm.append((await visit.ask(visit.about(png, QUESTION), 4)).ttft)
    passes = tower_passes(visit.folder / visit.checkpoint, visit.server.name, 2, visit.blas)
    return {"passes": passes, "warm": statistics.median(warm), "cold": statistics.median(cold)}


async def beside_a_picture(visit: Visit) -> Figures:
    """A picture that is new arrives, and a short request without one a quarter of a second later."""
    text, seen = [], []
    for _ in range(visit.times(4, 1)):
        exchange = await visit.send(visit.about(picture(visit.draw), QUESTION), 4)
        await asyncio.sleep(LOOKING_SECONDS)
        text.append((await visit.ask(visit.words.question(QUESTION), 4)).ttft)
        seen.append((await exchange.answer()).ttft)
    return {"text": statistics.median(text), "picture": statistics.median(seen)}


def _same_picture(checkpoint: str, title: str) -> Case:
    return Case(
        "B13",
        f"same picture, new question, {title}",
        same_picture,
        (
            Figure("passes", "vision-tower calls for the new question", "calls", Bar("0 calls", "ours", at_most=0)),
            Figure("warm", "TTFT, new question", "s", Bar("no slower", "ratio", at_most=1.0)),
            Figure("cold", "TTFT, new picture", "s"),
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
        "a request without a picture while one is looked at",
        beside_a_picture,
        (
            Figure("text", "TTFT of the one without", "s"),
            Figure("picture", "TTFT of the one with", "s"),
        ),
        checkpoint="small-vl",
        setup=Setup("small-vl"),
        rival=MLX_VLM,
        is_quick=False,
    ),
)
