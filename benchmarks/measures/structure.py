"""R4: the cost of a grammar, for the row that has it and for the rows beside it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.cases import PROMPT, Case, Figure, Figures, Visit
from benchmarks.spread import Bar

# An answer with this schema is longer than any of the benchmark, so that each answer has all its tokens.
_WORDS = {"type": "array", "items": {"type": "string", "minLength": 20, "maxLength": 40}, "minItems": 5000}
LIMITED: dict[str, Any] = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "words", "schema": _WORDS}}
}
OTHERS = 4


async def grammar_cost(visit: Visit) -> Figures:
    """One answer with a grammar, then four answers without one beside an answer with one.

    Both rates are relative to those of the same number of answers without any grammar, which are measured in turn.
    """
    tokens, rounds = visit.times(96, 32), visit.times(3, 1)
    await visit.ask(visit.question(PROMPT), 4, **LIMITED)  # compiles the grammar
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(rounds):
        alone.append(await _seconds(visit, tokens, {}) / await _seconds(visit, tokens, LIMITED))
        free = await _seconds_of_others(visit, tokens, {})
        beside.append(free / await _seconds_of_others(visit, tokens, LIMITED))
    return {"alone": sorted(alone)[rounds // 2], "beside": sorted(beside)[rounds // 2]}


async def _seconds(visit: Visit, tokens: int, fields: dict[str, Any]) -> float:
    """The time of one answer from its first token on."""
    answer = await visit.ask(visit.question(PROMPT), tokens, **fields)
    return answer.pieces[-1][0] - answer.pieces[0][0]


async def _seconds_of_others(visit: Visit, tokens: int, fields: dict[str, Any]) -> float:
    """The time until four answers without a grammar have ended, beside one more answer with `fields`."""
    other = asyncio.ensure_future(visit.ask(visit.question(PROMPT), tokens, **fields))
    start = time.perf_counter()
    await asyncio.gather(*(visit.ask(visit.question(PROMPT), tokens) for _ in range(OTHERS)))
    seconds = time.perf_counter() - start
    await other
    return seconds


CASES = tuple(
    Case(
        "R4",
        f"an answer with a grammar, {checkpoint}",
        grammar_cost,
        (
            Figure("alone", "speed of a row with a grammar", "%", Bar(">= 95 %", "ours", at_least=0.95)),
            Figure("beside", "speed of four rows beside it", "%", Bar("100 %", "ours", at_least=0.995)),
        ),
        checkpoint=checkpoint,
        rival="",
        is_quick=checkpoint == "small",
    )
    for checkpoint in ("small", "large")
)
