"""B4, B5 and B11: reuse of prompt prefixes."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time

from benchmarks.cases import Case, Figure, Figures, Setup, Visit
from benchmarks.clients import Answer
from benchmarks.prompts import Messages, said
from benchmarks.servers import PICO
from benchmarks.spread import Bar

SYSTEM = 1100
QUESTION = 20
# B11: the weights need 54 MB. One conversation needs up to 7 MB, so fifty need 350 MB if they share nothing. The prefix
# cache gets half of the budget.
BUDGET = 400_000_000


async def warm_prefix(visit: Visit) -> Figures:
    """Questions with the same system prompt, one after another."""
    system = visit.words.text(SYSTEM)
    cold = await visit.ask(visit.words.under(system, QUESTION), 4)
    await asyncio.sleep(0.1)
    warm = []
    for _ in range(visit.times(10, 4)):
        warm.append(await visit.ask(visit.words.under(system, QUESTION), 4))
        await asyncio.sleep(0.05)
    missing = visit.words.shared_tokens(system) - min(answer.cached_tokens for answer in warm)
    return {
        "warm": statistics.median(answer.ttft for answer in warm),
        "cold": cold.ttft,
        "missing": missing,
    }


async def simultaneous(visit: Visit) -> Figures:
    """Eight requests at once with one new system prompt, compared with a single request with another system prompt."""
    alone_start = time.perf_counter()
    await visit.ask(visit.words.under(visit.words.text(SYSTEM), QUESTION), 8)
    alone = time.perf_counter() - alone_start
    await asyncio.sleep(0.2)
    system = visit.words.text(SYSTEM)
    start = time.perf_counter()
    answers = await asyncio.gather(*(visit.ask(visit.words.under(system, QUESTION), 8) for _ in range(8)))
    wall = time.perf_counter() - start
    shared = visit.words.shared_tokens(system)
    computed = sum(answer.prompt_tokens - answer.cached_tokens for answer in answers)
    own = sum(answer.prompt_tokens - shared for answer in answers)
    return {"prefix": (computed - own) / shared, "wall": wall / alone, "seconds": wall}


async def conversations(visit: Visit) -> Figures:
    """Conversations with the same system prompt, four of them at a time.

    The hit rate is the number of cached tokens divided by the number of prompt tokens. `own` is the hit rate of a
    conversation's earlier messages, without the shared system prompt. Memory is measured in two ways: pico_jupyter's
    own count of models and caches, and, for both servers, the growth of the model process since the first turn began.
    """
    system = visit.words.text(2000)
    shared = visit.words.shared_tokens(system)
    talks: list[Messages] = [[{"role": "system", "content": system}] for _ in range(visit.times(50, 12))]
    slots = asyncio.Semaphore(4)
    before = visit.server.engine.memory_info().rss
    first: list[Answer] = []
    later: list[Answer] = []

    async def take_turn(talk: Messages, answers: list[Answer]) -> None:
        async with slots:
            talk += visit.words.question(40)
            answer = await visit.ask(talk, 32)
            talk.append(said(answer.text))
            answers.append(answer)

    watching = asyncio.create_task(_watch_memory(visit))
    for turn in range(visit.times(4, 2)):
        await asyncio.gather(*(take_turn(talk, later if turn else first) for talk in talks))
    # The gauges are published once per second.
    await asyncio.sleep(1.5)
    watching.cancel()
    rss, counted = await watching
    answers = [*first, *later]
    reused = sum(max(0, answer.cached_tokens - shared) for answer in later)
    # The shared part, the question of the turn and the generation prompt (45 tokens) do not belong to earlier messages.
    earlier = sum(answer.prompt_tokens - shared - 45 for answer in later)
    figures = {
        "hits": sum(answer.cached_tokens for answer in answers) / sum(answer.prompt_tokens for answer in answers),
        "own": reused / earlier,
        "computed": sum(answer.prompt_tokens - answer.cached_tokens for answer in answers),
        "growth": rss - before,
        "process": rss,
    }
    return {**figures, "counted": counted} if visit.server.name == PICO else figures


async def _watch_memory(visit: Visit) -> tuple[float, float]:
    """Watch the memory until the task is cancelled. Returns the largest resident size of the model process, and the
    largest count of pico_jupyter, in bytes."""
    rss = counted = 0.0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            rss = max(rss, visit.server.engine.memory_info().rss)
            if visit.server.name == PICO:
                counted = max(counted, await visit.metric("pico_jupyter_resident_bytes"))
            await asyncio.sleep(0.5)
    return rss, counted


def _warm(missing_bar: str) -> tuple[Figure, ...]:
    return (
        Figure("warm", "TTFT, warm", "s", Bar("no slower", "ratio", at_most=1.0)),
        Figure("cold", "TTFT, cold", "s"),
        Figure("missing", "tokens of the prefix not cached", "tokens", Bar(missing_bar, "ours", at_most=16)),
    )


CASES = (
    Case("B4", "warm 1.1k-token prefix, new question", warm_prefix, _warm("cached >= prefix - 16")),
    Case(
        "B4",
        "the same on rotating caches",
        warm_prefix,
        _warm("cached >= prefix - 16"),
        checkpoint="rotating",
    ),
    Case(
        "B5",
        "8 at once with one new 1.1k-token system prompt",
        simultaneous,
        (
            Figure("prefix", "how often the prefix was computed", "", Bar("once", "ours", at_most=1.02)),
            Figure("wall", "wall, as a multiple of one request's", "", Bar("<= 1.5x of one", "ours", at_most=1.5)),
            Figure("seconds", "wall", "s"),
        ),
    ),
)

BUDGET_CASES = (
    Case(
        "B11",
        "50 conversations x 4 turns sharing 2k tokens",
        conversations,
        (
            Figure("hits", "hit rate, of all prompt tokens", "%", Bar("hit rate >= 2x", "ratio", at_least=2.0)),
            Figure("own", "hit rate, of a conversation's own past", "%", Bar("hit rate >= 2x", "ratio", at_least=2.0)),
            Figure("computed", "prompt tokens computed", "tokens"),
            Figure(
                "counted",
                f"models and caches, budget {BUDGET / 1e6:.0f} MB",
                "MB",
                Bar("within budget", "ours", at_most=BUDGET),
                is_ours=True,
            ),
            Figure("growth", "growth of the model process", "MB"),
            Figure("process", "the model process", "MB"),
        ),
        is_long=True,
        setup=Setup(traits=(f"--PicoJupyter.memory_budget={BUDGET}",)),
    ),
)
