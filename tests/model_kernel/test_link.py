"""The two ends of the link together: an answer arrives completely, in order and once, or it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.client import collect
from pico_jupyter.engine_reports import EngineEvent, EngineStatistics, ModelLoaded
from pico_jupyter.errors import EngineFailed, EngineUnavailable, ModelNotFound, OutOfMemory, QueueFull
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.link_server import DOUBLING_STREAMS
from pico_jupyter.questions import (
    AnyQuestion,
    DescribeMemory,
    FindModel,
    ListModels,
    ListResident,
    LoadModel,
    UnloadModel,
)
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    GenerationRequest,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    TopLogprob,
)
from tests.fakes.engine_client import ACCEPTED, FINISHED, MEMORY, MODEL, ScriptedEngine
from tests.fakes.link import REQUEST, Fault, Loopback, TextEngine, until
from tests.property_examples import examples


@pytest.fixture(autouse=True)
async def ended_tasks() -> AsyncIterator[None]:
    """End all tasks of a test, and those that they start as they end. Closing the loop would end only the former."""
    yield
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


PROMPT = "a secret prompt"
LONG: list[Delta] = [TextDelta(f"{number} ") for number in range(200)]
MIXED: list[Delta] = [
    Progress("prefill", 1, 2),
    *(ReasoningDelta(f"r{number}", number % 2) for number in range(40)),
    *(TextDelta(f"t{n}", n % 2, (TokenLogprob(f"t{n}", -1.0, b"t"),)) for n in range(40)),
    ToolCallDelta(ToolCall("call_1", "f", "{}"), 1),
    TextDelta("after the call", 1),
]


async def read(link: Loopback, request: GenerationRequest = REQUEST) -> list[Delta]:
    async with aclosing(link.client.generate(request)) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


async def test_an_answer_starts_with_accepted_and_ends_with_finished() -> None:
    deltas = await read(Loopback(TextEngine(LONG)))
    assert deltas[0] == ACCEPTED
    assert deltas[-1] == FINISHED
    assert text_of(deltas) == text_of(LONG)
    assert sum(isinstance(delta, Accepted | Finished) for delta in deltas) == 2


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.sampled_from(["pass"] * 8 + ["drop", "twice", "late"]), max_size=60), st.integers(0, 3))
def test_with_any_faults_an_answer_is_complete_or_fails(faults: list[Fault], step: int) -> None:
    finished = FINISHED.__class__(("stop", "length"), FINISHED.usage, FINISHED.timings)

    async def scenario() -> None:
        count = 0

        async def pause() -> None:
            nonlocal count
            count += 1
            await asyncio.sleep(0.001 if step and count % (step * 7) == 0 else 0)

        class Engine(TextEngine):
            async def play(self, request: GenerationRequest):  # type: ignore[no-untyped-def]  # as the base has it
                async for delta in super().play(request):
                    yield finished if isinstance(delta, Finished) else delta

        expected = await collect(Engine(MIXED).generate(REQUEST), 2)
        link = Loopback(Engine(MIXED, pause), faults, window=0.0, silence_limit=0.1)
        answers = await asyncio.gather(
            *(asyncio.wait_for(collect(link.client.generate(REQUEST), 2), 20) for _ in range(2)),
            return_exceptions=True,
        )
        assert all(answer == expected or isinstance(answer, EngineFailed) for answer in answers)
        if set(faults) <= {"pass"}:
            assert answers == [expected, expected]
        await link.server.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", ["drop", "twice"])
async def test_a_gap_fails_and_aborts_the_request(fault: Fault) -> None:
    gates = [asyncio.Event() for _ in range(2)]
    script = (ACCEPTED, gates[0], TextDelta("lost"), gates[1], TextDelta("seen"), asyncio.Event())
    engine = ScriptedEngine(script)
    link = Loopback(engine, ["pass", fault, "pass"], window=0.0)
    async with aclosing(link.client.generate(REQUEST)) as deltas:
        assert await anext(deltas) == ACCEPTED
        gates[0].set()
        await until(lambda: len(link.batches()) == 2)
        gates[1].set()
        with pytest.raises(EngineFailed, match="were lost"):
            await asyncio.wait_for(collect(deltas), 10)
    await asyncio.wait_for(engine.aborted.wait(), 10)


async def test_an_answer_whose_end_is_lost_fails() -> None:
    link = Loopback(ScriptedEngine((ACCEPTED, FINISHED)), ["drop"], silence_limit=0.1)
    with pytest.raises(EngineFailed, match="does not answer"):
        await read(link)


async def test_the_first_token_does_not_wait_for_the_window() -> None:
    gate = asyncio.Event()
    engine = ScriptedEngine((ACCEPTED, TextDelta("first"), gate, FINISHED))
    link = Loopback(engine, window=3600.0)
    async with aclosing(link.client.generate(REQUEST)) as deltas:
        await anext(deltas)
        assert await asyncio.wait_for(anext(deltas), 10) == TextDelta("first")
        gate.set()
        await anext(deltas)


async def test_the_deltas_of_one_step_travel_in_one_message() -> None:
    link = Loopback(TextEngine([TextDelta("a", 0), TextDelta("b", 1), TextDelta("c", 0)]), window=0.0)
    await read(link)
    assert link.carried() == [(ACCEPTED, TextDelta("ac", 0), TextDelta("b", 1), FINISHED)]


async def test_more_streams_lengthen_the_spacing() -> None:
    link = Loopback(ScriptedEngine((ACCEPTED, asyncio.Event())), window=0.02)
    assert link.server.spacing == 0.02
    readers = [asyncio.create_task(read(link)) for _ in range(DOUBLING_STREAMS)]
    await until(lambda: link.server.spacing == 0.04)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await until(lambda: link.server.spacing == 0.02)


async def test_a_stream_sends_its_first_text_at_once_and_then_once_per_window() -> None:
    link = Loopback(TextEngine(LONG, lambda: asyncio.sleep(0.0005)), window=3600.0)
    assert text_of(await read(link)) == text_of(LONG)
    assert link.carried()[:2] == [(ACCEPTED,), (LONG[0],)]
    assert link.carried()[2:] == [(TextDelta(text_of(LONG[1:])), FINISHED)]


async def test_streams_that_are_due_together_share_a_message() -> None:
    link = Loopback(TextEngine(LONG, lambda: asyncio.sleep(0)), window=0.005)
    answers = await asyncio.gather(*(read(link) for _ in range(8)))
    assert {text_of(answer) for answer in answers} == {text_of(LONG)}
    assert max(len(message.batches) for message in link.batches()) == 8


async def test_closing_the_stream_aborts_the_request() -> None:
    engine = ScriptedEngine((ACCEPTED, TextDelta("a"), asyncio.Event()))
    link = Loopback(engine)
    async with aclosing(link.client.generate(REQUEST)) as deltas:
        await anext(deltas)
    await asyncio.wait_for(engine.aborted.wait(), 10)
    assert link.sent[-1][0] == "control"
    assert repr(link.server) == "<LinkServer [0 streams | 0 questions]>"
    assert repr(link.client) == "<LinkClient [0 streams | 0 questions]>"


async def test_cancelling_a_waiting_reader_aborts_the_request() -> None:
    engine = ScriptedEngine((ACCEPTED, asyncio.Event()))
    reading = asyncio.create_task(read(Loopback(engine)))
    await engine.reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(engine.aborted.wait(), 10)


async def test_an_abort_that_overtakes_its_request_keeps_it_from_starting() -> None:
    engine = ScriptedEngine()
    link = Loopback(engine)
    replies: list[bytes] = []
    link.server.receive(wire.encode(wire.Abort(5)), replies.append)
    link.server.receive(wire.encode(wire.Generate(5, REQUEST)), replies.append)
    link.server.receive(wire.encode(wire.Generate(6, REQUEST)), replies.append)
    await until(lambda: replies)
    assert len(engine.requests) == 1
    await link.server.aclose()


async def test_an_answer_that_ended_is_not_aborted() -> None:
    link = Loopback(ScriptedEngine())
    await read(link)
    await asyncio.sleep(0)
    assert link.count_sent(wire.Abort) == 0


async def test_an_error_before_the_first_delta_is_raised() -> None:
    link = Loopback(ScriptedEngine((QueueFull("busy", retry_after=4),)))
    with pytest.raises(QueueFull) as caught:
        await read(link)
    assert caught.value.retry_after == 4


async def test_an_error_in_the_middle_is_raised_after_the_text_before_it() -> None:
    link = Loopback(ScriptedEngine((ACCEPTED, TextDelta("some"), OutOfMemory("too much"))))
    async with aclosing(link.client.generate(REQUEST)) as deltas:
        assert await anext(deltas) == ACCEPTED
        assert await anext(deltas) == TextDelta("some")
        with pytest.raises(OutOfMemory):
            await anext(deltas)


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_unexpected_exception_fails_the_request_and_quotes_no_prompt_in_the_log(
    caplog: pytest.LogCaptureFixture, streamed: bool
) -> None:
    class Broken(ScriptedEngine):
        async def ask(self, question: AnyQuestion) -> Any:
            raise ZeroDivisionError(PROMPT)

    link = Loopback(Broken((ACCEPTED, ZeroDivisionError(PROMPT))), heartbeat=3600.0)
    with pytest.raises(EngineFailed, match="ZeroDivisionError"):
        await (read(link) if streamed else link.client.ask(ListModels()))
    assert "ZeroDivisionError" in caplog.text
    assert ("engine_client.py" if streamed else "test_link.py") in caplog.text
    assert "secret" not in caplog.text


async def test_silence_fails_the_request() -> None:
    engine = ScriptedEngine((ACCEPTED, asyncio.Event()))
    link = Loopback(engine, silence_limit=0.2)
    reading = asyncio.create_task(read(link))
    await engine.reached.wait()
    link.is_cut = True
    with pytest.raises(EngineFailed, match="does not answer"):
        await reading
    assert link.silences == 1
    await asyncio.wait_for(engine.aborted.wait(), 10)


async def test_heartbeats_keep_a_long_prefill_alive() -> None:
    gate = asyncio.Event()
    link = Loopback(ScriptedEngine((ACCEPTED, gate, FINISHED)), silence_limit=0.1, heartbeat=0.01)
    reading = asyncio.create_task(read(link))
    await until(lambda: sum(isinstance(message, wire.Heartbeat) for message in link.published) > 30)
    gate.set()
    assert (await reading)[-1] == FINISHED
    assert link.silences == 0


async def test_a_request_that_the_kernel_does_not_know_fails() -> None:
    engine = ScriptedEngine((ACCEPTED, asyncio.Event()))
    link = Loopback(engine, silence_limit=0.2, heartbeat=0.01)
    other = asyncio.create_task(read(link))
    await engine.reached.wait()
    link.server.receive(wire.encode(wire.Abort(2)), lambda _: None)
    with pytest.raises(EngineFailed, match="does not answer"):
        await read(link)
    assert not other.done()
    assert link.silences == 0
    other.cancel()


async def test_a_blocked_event_loop_of_the_server_fails_no_request() -> None:
    gate = asyncio.Event()
    link = Loopback(ScriptedEngine((ACCEPTED, gate, FINISHED)), silence_limit=0.2, heartbeat=0.01)
    reading = asyncio.create_task(read(link))
    await until(lambda: link.published)
    time.sleep(0.5)  # noqa: ASYNC251  the test blocks the event loop for longer than the silence limit
    gate.set()
    assert (await reading)[-1] == FINISHED


async def test_fifty_thousand_deltas_reach_a_slow_reader_joined() -> None:
    deltas = [TextDelta(f"{number},") for number in range(50_000)]
    link = Loopback(TextEngine(deltas), window=0.0)
    read_so_far: list[Delta] = []
    async with aclosing(link.client.generate(REQUEST)) as stream:
        async for delta in stream:
            read_so_far.append(delta)
            await asyncio.sleep(0.01)  # the reader is slow, so that deltas queue up
    assert text_of(read_so_far) == text_of(list(deltas))
    assert len(read_so_far) < 1000


async def test_too_many_unread_bytes_fail_and_abort_the_request() -> None:
    top = tuple(TopLogprob("x", -1.0, b"x") for _ in range(20))
    deltas = [TextDelta("x", 0, (TokenLogprob("x", -1.0, b"x", top),)) for _ in range(1000)]
    link = Loopback(TextEngine(deltas, lambda: asyncio.sleep(0)), unread_limit=100_000)
    async with aclosing(link.client.generate(REQUEST)) as stream:
        await anext(stream)
        await until(lambda: link.count_sent(wire.Abort))
        await anext(stream)
        with pytest.raises(EngineFailed, match="too slowly"):
            await anext(stream)


async def test_questions_are_answered() -> None:
    engine = ScriptedEngine()
    link = Loopback(engine)
    assert await link.client.ask(ListModels()) == (MODEL,)
    assert await link.client.ask(FindModel("org/tiny")) == MODEL
    assert await link.client.ask(ListResident()) == ()
    assert await link.client.ask(DescribeMemory()) == MEMORY
    await link.client.ask(LoadModel("tiny", float("inf")))
    await link.client.ask(UnloadModel("tiny"))
    assert engine.calls == [("load", "tiny", float("inf")), ("unload", "tiny", None)]
    assert [channel for channel, _ in link.sent] == ["shell", "shell", "control", "control", "shell", "control"]


async def test_a_question_can_fail() -> None:
    link = Loopback(ScriptedEngine())
    with pytest.raises(ModelNotFound) as caught:
        await link.client.ask(FindModel("none"))
    assert (caught.value.model, caught.value.param) == ("none", "model")


class SlowToLoad(ScriptedEngine):
    """Loads until it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.loading = asyncio.Event()

    async def ask(self, question: AnyQuestion) -> None:
        if not isinstance(question, LoadModel):
            raise EngineUnavailable("it loads")
        self.loading.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.aborted.set()


async def test_a_long_load_is_kept_alive_by_heartbeats() -> None:
    link = Loopback(SlowToLoad(), silence_limit=0.1, heartbeat=0.01)
    loading = asyncio.create_task(link.client.ask(LoadModel("tiny")))
    await until(lambda: len(link.published) > 30)
    assert not loading.done()
    link.is_cut = True
    with pytest.raises(EngineFailed, match="does not answer"):
        await loading
    await link.server.aclose()


async def test_cancelling_a_load_aborts_it() -> None:
    engine = SlowToLoad()
    link = Loopback(engine)
    loading = asyncio.create_task(link.client.ask(LoadModel("tiny")))
    await engine.loading.wait()
    loading.cancel()
    await asyncio.wait_for(engine.aborted.wait(), 10)


async def test_a_failed_link_fails_running_and_later_requests() -> None:
    engine = ScriptedEngine((ACCEPTED, TextDelta("a"), asyncio.Event()))
    link = Loopback(engine)
    reading = asyncio.create_task(read(link))
    await engine.reached.wait()
    link.client.fail(EngineFailed("the model kernel died"))
    with pytest.raises(EngineFailed, match="died"):
        await reading
    with pytest.raises(EngineFailed, match="died"):
        await link.client.ask(ListModels())
    with pytest.raises(EngineFailed, match="died"):
        await read(link)
    await link.server.aclose()


async def test_a_closed_client_refuses_questions() -> None:
    link = Loopback(ScriptedEngine())
    await link.client.aclose()
    with pytest.raises(EngineUnavailable, match="closed"):
        await link.client.ask(ListResident())


async def test_invalid_messages_are_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    link = Loopback(ScriptedEngine())
    link.client.receive(b"nonsense")
    link.server.receive(b"nonsense", lambda _: None)
    assert len(caplog.records) == 2
    assert (await read(link))[-1] == FINISHED


async def test_an_idle_link_publishes_nothing() -> None:
    link = Loopback(ScriptedEngine(), heartbeat=0.001)
    await read(link)
    await until(lambda: "[0 streams | 0 questions]" in repr(link.server))
    published = len(link.published)
    busy = Loopback(ScriptedEngine((ACCEPTED, asyncio.Event())), heartbeat=0.001)
    reading = asyncio.create_task(read(busy))
    await until(lambda: len(busy.published) > 20)
    reading.cancel()
    assert len(link.published) <= published + 1


def statistics(link: Loopback) -> int:
    return sum(
        isinstance(one, wire.PublishedEvent) and isinstance(one.event, EngineStatistics) for one in link.published
    )


async def test_a_loaded_model_and_new_statistics_are_published() -> None:
    engine = ScriptedEngine()
    engine.statistics = EngineStatistics(resident_bytes=1000)
    link = Loopback(engine)
    events: list[EngineEvent] = []
    link.client.on_event = events.append
    engine.notify(ModelLoaded("tiny", 1000, 0.5))
    await until(lambda: len(events) == 2)
    assert events == [ModelLoaded("tiny", 1000, 0.5), EngineStatistics(resident_bytes=1000)]


async def test_statistics_are_published_while_requests_run_and_once_after() -> None:
    gate = asyncio.Event()
    engine = ScriptedEngine((ACCEPTED, gate, FINISHED))
    link = Loopback(engine, heartbeat=0.005)
    events: list[EngineEvent] = []
    link.client.on_event = events.append
    reading = asyncio.create_task(read(link))
    await until(lambda: len(events) > 3)
    gate.set()
    await reading
    engine.statistics = EngineStatistics(preemptions=7)
    await until(lambda: events[-1] == EngineStatistics(preemptions=7))


async def test_an_engine_without_statistics_fails_no_request() -> None:
    class Closing(ScriptedEngine):
        async def ask(self, question: AnyQuestion) -> Any:
            raise EngineUnavailable("the engine is not running")

    gate = asyncio.Event()
    link = Loopback(Closing((ACCEPTED, gate, FINISHED)), heartbeat=0.002)
    reading = asyncio.create_task(read(link))
    await until(lambda: sum(isinstance(message, wire.Heartbeat) for message in link.published) > 3)
    gate.set()
    assert (await reading)[-1] == FINISHED
    assert statistics(link) == 0


async def test_a_slow_question_for_statistics_is_asked_once() -> None:
    asked = 0

    class Busy(ScriptedEngine):
        async def ask(self, question: AnyQuestion) -> Any:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()
            return self.statistics

    link = Loopback(Busy((ACCEPTED, asyncio.Event())), heartbeat=0.002)
    reading = asyncio.create_task(read(link))
    await until(lambda: sum(isinstance(message, wire.Heartbeat) for message in link.published) > 5)
    reading.cancel()
    await asyncio.wait_for(link.server.aclose(), 5)
    assert asked == 1


async def test_events_of_a_failed_kernel_are_ignored() -> None:
    link = Loopback(ScriptedEngine())
    events: list[EngineEvent] = []
    link.client.on_event = events.append
    link.client.fail(EngineFailed("it died"))
    link.client.receive(wire.encode(wire.PublishedEvent(ModelLoaded("tiny", 1000, 0.5))))
    assert events == []
