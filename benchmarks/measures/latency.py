"""B1, B2, B3 and B9: the time to the first token, idle and beside other requests."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.cases import ENDLESS, PROMPT, Case, Figure, Figures, Setup, Visit
from benchmarks.spread import Bar, largest_gap

LONG = 9000
SHORT = 20
# B9: the token limit of the abandoned request that does not stream.
WHOLE = 600


async def first_token_when_idle(visit: Visit) -> Figures:
    """Short chats one after another on an idle server."""
    answers = []
    for _ in range(visit.times(20, 6)):
        answers.append(await visit.ask(visit.question(SHORT), 8))
        await asyncio.sleep(0.05)
    return {"ttft": statistics.median(answer.ttft for answer in answers)}


async def admission(visit: Visit) -> Figures:
    """Short requests one after another, while two streams decode."""
    seconds = []
    async with visit.streams(2):
        for _ in range(visit.times(20, 8)):
            seconds.append((await visit.ask(visit.question(SHORT), 2)).ttft)
            await asyncio.sleep(visit.rng.uniform(0.02, 0.1))
    return {"mean": statistics.mean(seconds), "max": max(seconds)}


async def long_prompt(visit: Visit) -> Figures:
    """A long prompt arrives while two streams decode, and a short request one second later.

    A gap is the time between two arrivals at the client. Gaps count until one second after the long prompt's first
    token. pico_jupyter sends at most once in 25 ms, and its gaps include this interval.
    """
    async with visit.streams(2) as streams:
        start = time.perf_counter()
        long = await visit.send(visit.words.question(LONG), 8)
        await asyncio.sleep(1.0)
        short = await visit.send(visit.question(SHORT), 2)
        short_began, long_began = await short.began(), await long.began()
        await asyncio.sleep(1.0)
        end = time.perf_counter()
        gap = max(largest_gap([moment for moment, _ in stream.arrivals()], start, end) for stream in streams)
    return {"gap": gap, "short": short_began - short.sent, "long": long_began - long.sent}


async def abandoned(visit: Visit) -> Figures:
    """On a server with one slot, a client disconnects and the next client sends a request.

    The first client disconnects during decode, during prefill, or while it waits for an answer that is not streamed.
    """
    decoding = await visit.send(visit.words.question(PROMPT), ENDLESS)
    await decoding.began()
    await asyncio.sleep(0.3)
    decoding.close()
    figures = {"decode": await _next_first_token(visit)}
    prefilling = await visit.send(visit.words.question(LONG), 8)
    await asyncio.sleep(0.5)
    prefilling.close()
    figures["prefill"] = await _next_first_token(visit)
    whole = await visit.send(
        visit.words.question(PROMPT), visit.times(WHOLE, WHOLE // 2), stream=False, stream_options=None
    )
    await asyncio.sleep(0.5)
    whole.close()
    figures["whole"] = await _next_first_token(visit)
    return figures


async def _next_first_token(visit: Visit) -> float:
    answer = await visit.ask(visit.question(SHORT), 2)
    await asyncio.sleep(0.2)
    return answer.ttft


_IDLE = (Figure("ttft", "TTFT", "ms", Bar("no slower than +5 ms", "difference", at_most=0.005)),)

CASES = (
    Case("B1", "idle, short chat, pico-tiny", first_token_when_idle, _IDLE, checkpoint="tiny"),
    Case("B1", "idle, short chat, small", first_token_when_idle, _IDLE),
    Case("B1", "idle, short chat, large", first_token_when_idle, _IDLE, checkpoint="large", is_quick=False),
    Case(
        "B2",
        "short request while two streams decode",
        admission,
        (
            Figure("mean", "mean TTFT", "s", Bar("mean under 0.05 s", "ours", at_most=0.05)),
            Figure("max", "max TTFT", "s"),
        ),
    ),
    Case(
        "B3",
        "9k-token prompt while two streams decode",
        long_prompt,
        (
            Figure("gap", "largest gap between tokens of the streams", "s", Bar("<= 0.4 s", "ours", at_most=0.4)),
            Figure("short", "TTFT of a short request 1 s later", "s", Bar("<= 0.6 s", "ours", at_most=0.6)),
            Figure("long", "TTFT of the long prompt", "s", Bar("<= 1.25x", "ratio", at_most=1.25)),
        ),
        is_long=True,
    ),
)

ONE_SLOT_CASES = (
    Case(
        "B9",
        "socket closed, one slot: TTFT of the next request",
        abandoned,
        (
            Figure("decode", "closed in decode", "s", Bar("<= 0.1 s", "ours", at_most=0.1)),
            Figure("prefill", "closed in prefill", "s", Bar("<= 0.3 s", "ours", at_most=0.3)),
            Figure("whole", "closed, not streaming", "s", Bar("<= 0.1 s", "ours", at_most=0.1)),
        ),
        is_long=True,
        setup=Setup(
            traits=("--PicoJupyter.max_batch_size=1",),
            flags=("--decode-concurrency", "1", "--prompt-concurrency", "1"),
        ),
    ),
)
