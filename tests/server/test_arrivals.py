"""Arrivals: what is ready comes together, and waiting with a limit disturbs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from pico_jupyter.errors import EngineFailed
from pico_jupyter.server.arrivals import MAX_BATCH, Arrivals
from pico_jupyter.types import Delta, TextDelta
from tests.server.scripted import ACCEPTED, FINISHED, Step


class Script:
    """A generator of deltas that can be watched."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.closed = False

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        try:
            for step in self.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closed = True


async def test_deltas_that_are_ready_come_in_one_batch() -> None:
    arrivals = Arrivals(Script(ACCEPTED, TextDelta("a"), TextDelta("b"), FINISHED).deltas())
    assert await arrivals.batch(5) == [ACCEPTED, TextDelta("a"), TextDelta("b"), FINISHED]
    await arrivals.aclose()


async def test_a_batch_ends_where_the_next_delta_is_not_ready() -> None:
    later = asyncio.Event()
    arrivals = Arrivals(Script(TextDelta("a"), later, TextDelta("b")).deltas())
    assert await arrivals.batch(5) == [TextDelta("a")]
    later.set()
    assert (await arrivals.batch(5))[0] == TextDelta("b")
    await arrivals.aclose()


async def test_a_stream_that_is_always_ready_still_comes_in_batches() -> None:
    arrivals = Arrivals(Script(*[TextDelta("a")] * (MAX_BATCH + 1), FINISHED).deltas())
    assert len(await arrivals.batch(5)) == MAX_BATCH
    assert await arrivals.batch(5) == [TextDelta("a"), FINISHED]
    await arrivals.aclose()


async def test_a_limit_ends_the_wait_and_loses_nothing() -> None:
    later = asyncio.Event()
    arrivals = Arrivals(Script(later, TextDelta("a"), FINISHED).deltas())
    assert await arrivals.batch(0.01) == []
    assert repr(arrivals) == "<Arrivals open [0 ready]>"
    later.set()
    assert await arrivals.batch(5) == [TextDelta("a"), FINISHED]
    await arrivals.aclose()


async def test_a_failure_comes_after_the_deltas_before_it() -> None:
    arrivals = Arrivals(Script(TextDelta("a"), EngineFailed("boom")).deltas())
    assert await arrivals.batch(5) == [TextDelta("a")]
    with pytest.raises(EngineFailed, match="boom"):
        await arrivals.batch(5)
    await arrivals.aclose()


async def test_a_stream_without_finished_is_a_failure() -> None:
    arrivals = Arrivals(Script(TextDelta("a")).deltas())
    assert await arrivals.batch(5) == [TextDelta("a")]
    with pytest.raises(RuntimeError, match="without Finished"):
        await arrivals.batch(5)
    await arrivals.aclose()


async def test_closing_closes_a_generator_that_waits() -> None:
    script = Script(asyncio.Event())
    arrivals = Arrivals(script.deltas())
    assert await arrivals.batch(0.01) == []
    await arrivals.aclose()
    assert script.closed


async def test_closing_closes_a_generator_that_has_a_delta_taken_ahead() -> None:
    script = Script(TextDelta("a"), asyncio.Event(), FINISHED)
    arrivals = Arrivals(script.deltas())
    assert await arrivals.batch(5) == [TextDelta("a")]
    await arrivals.aclose()
    assert script.closed


async def test_a_failure_nobody_asked_for_is_no_noise_at_closing() -> None:
    arrivals = Arrivals(Script(TextDelta("a"), EngineFailed("boom")).deltas())
    await arrivals.batch(5)
    await arrivals.aclose()
    assert repr(arrivals) == "<Arrivals ended [0 ready]>"


async def test_no_more_than_a_batch_is_taken_ahead_of_a_slow_reader() -> None:
    taken = 0

    async def endless() -> AsyncGenerator[Delta, None]:
        nonlocal taken
        while True:
            taken += 1
            yield TextDelta("a")

    arrivals = Arrivals(endless())
    for batches in range(1, 4):
        await asyncio.sleep(0)
        assert taken == batches * MAX_BATCH
        assert len(await arrivals.batch(5)) == MAX_BATCH
        await asyncio.sleep(0)
    await arrivals.aclose()


async def test_a_reader_that_gives_up_waiting_loses_nothing() -> None:
    later = asyncio.Event()
    arrivals = Arrivals(Script(later, TextDelta("a"), FINISHED).deltas())
    waiting = asyncio.create_task(arrivals.batch(5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    later.set()
    assert await arrivals.batch(5) == [TextDelta("a"), FINISHED]
    await arrivals.aclose()
