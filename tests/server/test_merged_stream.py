from __future__ import annotations

import asyncio

import pytest

from pico_jupyter.client import collect
from pico_jupyter.errors import EngineFailed
from pico_jupyter.server.merged_stream import generate_all
from pico_jupyter.types import Accepted, CompletionPrompt, Finished, GenerationRequest, Progress, TextDelta
from tests.fakes.engine_client import ACCEPTED, FINISHED, ScriptedEngine
from tests.server.conftest import until

LOOSE = (ACCEPTED, Progress("queue", 0, 1), TextDelta("4"), TextDelta("7"), FINISHED)


def requests(*counts: int) -> list[GenerationRequest]:
    return [GenerationRequest(f"r{i}", "tiny", CompletionPrompt("a"), n=n) for i, n in enumerate(counts)]


async def test_the_choices_of_later_requests_follow_those_of_earlier_ones() -> None:
    answer = await collect(generate_all(ScriptedEngine(LOOSE), requests(1, 1, 1)), 3)
    assert [choice.text for choice in answer.choices] == ["47"] * 3
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 12)
    assert answer.timings == FINISHED.timings


async def test_a_merged_stream_is_accepted_once_and_finished_once() -> None:
    deltas = [delta async for delta in generate_all(ScriptedEngine(LOOSE), requests(1, 1))]
    assert isinstance(deltas[0], Accepted)
    assert sum(isinstance(delta, Accepted) for delta in deltas) == 1
    assert [delta for delta in deltas if isinstance(delta, Finished)] == deltas[-1:]


async def test_one_request_has_its_own_stream() -> None:
    deltas = [delta async for delta in generate_all(ScriptedEngine(LOOSE), requests(1))]
    assert deltas == list(LOOSE)


async def test_a_failing_request_aborts_the_others() -> None:
    engine = ScriptedEngine((ACCEPTED, asyncio.Event(), FINISHED))
    failing = ScriptedEngine((ACCEPTED, EngineFailed("broken")))

    class Both(ScriptedEngine):
        def generate(self, request: GenerationRequest):  # type: ignore[no-untyped-def]  # as in ScriptedEngine
            return (failing if request.id == "r1" else engine).generate(request)

    with pytest.raises(EngineFailed, match="broken"):
        await collect(generate_all(Both(), requests(1, 1)), 2)
    await until(engine.aborted.is_set)


async def test_closing_a_merged_stream_aborts_all_requests() -> None:
    engine = ScriptedEngine((ACCEPTED, asyncio.Event(), FINISHED))
    stream = generate_all(engine, requests(1, 1))
    await anext(stream)
    stream.close()
    await until(engine.aborted.is_set)
    assert [delta async for delta in stream] == []
