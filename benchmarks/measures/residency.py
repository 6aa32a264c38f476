"""B8: two models, one after the other and at the same time."""

from __future__ import annotations

import asyncio
import statistics

from benchmarks.cases import Case, Figure, Figures, Visit
from benchmarks.spread import Bar

A, B = "small", "small-2"
QUESTION = 20


async def two_models(visit: Visit) -> Figures:
    """Short chats with model A only, then with B and A in turn, and then with B while A generates a long answer."""
    same, switched = [], []
    for model in (B, A):
        await visit.ask(visit.words.question(QUESTION), 4, model)
    for _ in range(visit.times(8, 4)):
        same.append((await visit.ask(visit.words.question(QUESTION), 4, A)).ttft)
    for _ in range(visit.times(4, 2)):
        for model in (B, A):
            switched.append((await visit.ask(visit.words.question(QUESTION), 4, model)).ttft)
    beside = []
    for _ in range(visit.times(2, 1)):
        stream = await visit.send(visit.words.question(50), visit.times(1000, 150), A)
        await stream.began()
        await asyncio.sleep(0.3)
        beside.append((await visit.ask(visit.words.question(QUESTION), 4, B)).ttft)
        stream.close()
        await asyncio.sleep(0.3)
    return {
        "switched": statistics.median(switched),
        "cost": statistics.median(switched) - statistics.median(same),
        "beside": statistics.median(beside),
    }


CASES = (
    Case(
        "B8",
        "two models",
        two_models,
        (
            Figure("switched", "TTFT, A B A B", "s"),
            Figure("cost", "more than with one model", "ms", Bar("same-model TTFT (+5 ms)", "ours", at_most=0.005)),
            Figure("beside", "TTFT of B while A streams", "s", Bar("under 0.3 s", "ours", at_most=0.3)),
        ),
    ),
)
