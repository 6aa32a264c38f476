"""B6 and B7: tokens per second, and the memory of a batch with different lengths."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

from benchmarks.bare import batch_cache_bytes
from benchmarks.cases import ENDLESS, GREEDY, PROMPT, SAMPLED, Case, Figure, Figures, Visit
from benchmarks.checkpoints import SHAPES
from benchmarks.clients import Answer
from benchmarks.servers import PICO
from benchmarks.spread import Bar, rate_together

LENGTHS = (8000, *[64] * 7)


async def throughput(visit: Visit, *, clients: int, tokens: int, sampling: dict[str, Any]) -> Figures:
    """All clients send a request at once. The rate is the number of tokens of all answers divided by the time until the
    last answer ends.

    A connection that is lost before its answer begins counts as a failure and is retried. An answer that breaks off
    later is a failure too, and its tokens do not count.
    """
    tokens = visit.times(tokens, tokens // 2)
    start = time.perf_counter()
    chats = (visit.ask(visit.question(PROMPT), tokens, **sampling) for _ in range(clients))
    results = await asyncio.gather(*chats, return_exceptions=True)
    seconds = time.perf_counter() - start
    answers = [result for result in results if isinstance(result, Answer)]
    unharmed = sum(answer.failures == 0 for answer in answers)
    return {"rate": sum(answer.completion_tokens for answer in answers) / seconds, "success": unharmed / clients}


async def mixed_lengths(visit: Visit) -> Figures:
    """One long prompt and seven short ones decode together.

    The rate counts the tokens of all eight while all eight decode. The KV bytes of pico_jupyter are the growth of the
    size in api/ps from the idle server to the decoding server. mlx_lm.server reports no bytes, so its BatchGenerator
    counts them in a separate process for the same lengths.
    """
    tokens = visit.times(192, 32)
    unpadded = sum(length + tokens // 2 for length in LENGTHS) * SHAPES[visit.checkpoint].kv_nbytes
    before = await visit.resident_bytes() if visit.server.name == PICO else 0
    long = await visit.send(visit.words.question(LENGTHS[0]), ENDLESS)
    try:
        await long.began()
        short = [await visit.send(visit.words.question(length), tokens) for length in LENGTHS[1:]]
        await asyncio.gather(*(exchange.began() for exchange in short))
        used = await visit.resident_bytes() - before if visit.server.name == PICO else 0
        streams = [(await exchange.answer()).pieces for exchange in short] + [long.arrivals()]
    finally:
        long.close()
    rate = rate_together([[(moment, len(text.split())) for moment, text in stream] for stream in streams])
    if visit.server.name != PICO:
        used = batch_cache_bytes(visit.folder / visit.checkpoint, LENGTHS, 4, visit.blas)
    return {"padding": used / unpadded, "rate": rate}


def _throughput(clients: int, checkpoint: str, *, tokens: int, is_sampled: bool, is_quick: bool) -> Case:
    sampling, words = (SAMPLED, "sampled") if is_sampled else (GREEDY, "greedy")
    bar = Bar(">= 1.5x", "ratio", at_least=1.495) if is_sampled else Bar(">= parity", "ratio", at_least=0.995)
    success = Figure("success", "answered at the first attempt", "%", Bar("100 %", "ours", at_least=1.0))
    return Case(
        "B6",
        f"{clients} client{'s' if clients > 1 else ''}, {words}, {checkpoint}",
        functools.partial(throughput, clients=clients, tokens=tokens, sampling=sampling),
        (Figure("rate", "tokens per second", "", bar), success),
        checkpoint=checkpoint,
        is_quick=is_quick,
    )


CASES = (
    *(
        _throughput(clients, "small", tokens=128, is_sampled=is_sampled, is_quick=clients == 32)
        for is_sampled in (False, True)
        for clients in (1, 8, 32)
    ),
    _throughput(1, "large", tokens=48, is_sampled=False, is_quick=False),
    _throughput(8, "large", tokens=48, is_sampled=False, is_quick=False),
    _throughput(8, "large", tokens=48, is_sampled=True, is_quick=False),
    Case(
        "B7",
        "one 8k-token prompt with seven of 64",
        mixed_lengths,
        (
            Figure("padding", "KV bytes, as a multiple of the sum", "", Bar("<= 1.3x", "ours", at_most=1.3)),
            Figure("rate", "tokens per second while all decode", ""),
        ),
        is_long=True,
    ),
)
