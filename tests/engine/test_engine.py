"""The engine's threads: every request gets deltas or an error. The backends are fakes."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

import pytest

from pico_jupyter.client import collect
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
from pico_jupyter.engine_reports import ModelEvent, ModelLoaded, ModelUnloaded
from pico_jupyter.errors import EngineFailed, EngineUnavailable, ModelLoadFailed, ModelNotFound, OutOfMemory, QueueFull
from pico_jupyter.questions import ListResident, LoadModel, ReadStatistics, UnloadModel
from pico_jupyter.types import (
    Accepted,
    ChatPrompt,
    Delta,
    EngineOptions,
    GenerationRequest,
    Message,
    ModelInfo,
    Progress,
    TextDelta,
    TextPart,
)
from tests.engine.conftest import StartEngine
from tests.fakes.backend import PATIENCE, FakeBackend, FakeClock
from tests.fakes.link import until
from tests.fakes.models import FakeModels

T = TypeVar("T")


def ask(text: str = "Hello", model: str = "pico-tiny", **fields: object) -> GenerationRequest:
    prompt = ChatPrompt((Message("user", (TextPart(text),)),))
    return GenerationRequest(id=text, model=model, prompt=prompt, **fields)  # type: ignore[arg-type]  # any field


async def arrivals(models: FakeModels, count: int) -> None:
    """Wait until the engine thread has called its backends `count` times."""
    await asyncio.to_thread(models.gate.wait_for_arrivals, count)


async def stepwise(models: FakeModels, answer: Awaitable[T]) -> T:
    """Allow single calls of the backends until the answer is complete."""
    pending = asyncio.ensure_future(answer)
    while not pending.done():
        models.gate.allow()
        await asyncio.wait([pending], timeout=0.05)
    return pending.result()


async def start_answer(client: LocalEngineClient, models: FakeModels) -> AsyncGenerator[Delta, None]:
    """Start an answer that continues only by the calls that a test allows."""
    await client.ask(LoadModel("pico-tiny"))
    models.gate.close()
    before = models.gate.arrivals
    deltas = client.generate(ask("first", max_tokens=1000))
    assert isinstance(await anext(deltas), Accepted)
    await arrivals(models, before + 1)
    return deltas


async def names(client: LocalEngineClient) -> set[str]:
    return {model.info.name for model in await client.ask(ListResident())}


async def test_only_the_engine_thread_calls_backends(start: StartEngine, fake_models: FakeModels) -> None:
    seen: set[str] = set()

    class RecordingBackend(FakeBackend):
        def _call(self, verb: str) -> None:
            seen.add(threading.current_thread().name)
            super()._call(verb)

    client = start(lambda info, free: RecordingBackend(answer=lambda prompt, sampling: iter([20] * 99)))
    await asyncio.gather(*(collect(client.generate(ask(max_tokens=3))) for _ in range(3)))
    assert seen == {"pico-engine"}


async def test_a_full_queue_refuses_a_request(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models, EngineOptions(max_batch_size=1, max_queue=1))
    async with (
        aclosing(await start_answer(client, fake_models)),
        aclosing(client.generate(ask("second"))) as waiting,
    ):
        assert isinstance(await stepwise(fake_models, anext(waiting)), Accepted)
        with pytest.raises(QueueFull) as caught:
            await stepwise(fake_models, collect(client.generate(ask("third"))))
        fake_models.gate.open()
    assert caught.value.retry_after > 0


async def test_a_refused_request_is_never_accepted(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    with pytest.raises(ModelNotFound):
        await anext(client.generate(ask(model="unknown")))
    assert fake_models.backends == {}


async def test_after_a_failing_step_the_engine_continues(
    start: StartEngine, fake_models: FakeModels, caplog: pytest.LogCaptureFixture
) -> None:
    client = start(fake_models)
    await client.ask(LoadModel("pico-tiny"))
    fake_models.backend.fail("step", RuntimeError("broken"), times=2)
    with pytest.raises(EngineFailed, match="RuntimeError"):
        await collect(client.generate(ask(max_tokens=3)))
    assert (await collect(client.generate(ask(max_tokens=3)))).usage.completion_tokens == 3
    assert "a step of the engine failed: RuntimeError" in caplog.text


async def test_the_error_for_a_model_that_cannot_be_loaded_has_the_reason(
    start: StartEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def load(info: ModelInfo, free: int) -> FakeBackend:
        raise ValueError("Model type abc not supported.")

    client = start(load)
    with pytest.raises(ModelLoadFailed, match="Model type abc not supported"):
        await collect(client.generate(ask()))
    with pytest.raises(ModelLoadFailed, match="Model type abc not supported"):
        await client.ask(LoadModel("pico-tiny"))
    assert "a step of the engine failed: ValueError" in caplog.text


async def test_no_prompt_is_logged(
    start: StartEngine, fake_models: FakeModels, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "pico_jupyter")
    client = start(fake_models)
    await collect(client.generate(ask("my secret", max_tokens=2)))
    fake_models.backend.fail("step", RuntimeError("broken"), times=2)
    with pytest.raises(EngineFailed):
        await collect(client.generate(ask("my secret")))
    assert "loaded" in caplog.text
    assert "a step of the engine failed" in caplog.text
    assert "secret" not in caplog.text


async def test_a_model_over_the_budget_is_refused(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models, EngineOptions(memory_budget=1000))
    with pytest.raises(OutOfMemory, match="pico-tiny needs"):
        await collect(client.generate(ask()))


async def test_two_models_are_resident_together(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    requests = [ask(model=model, max_tokens=5) for model in ("pico-tiny", "second")]
    answers = await asyncio.gather(*(collect(client.generate(request)) for request in requests))
    assert [answer.usage.completion_tokens for answer in answers] == [5, 5]
    assert await names(client) == {"pico-tiny", "second"}


async def test_the_least_recently_used_model_is_unloaded_for_another(
    start: StartEngine, fake_models: FakeModels, builtin: ModelInfo
) -> None:
    client = start(fake_models, EngineOptions(memory_budget=int(2.5 * builtin.size), float32_on_cpu=False))
    for model in ("pico-tiny", "second", "pico-tiny", "third"):
        await collect(client.generate(ask(model=model, max_tokens=1)))
    assert await names(client) == {"pico-tiny", "third"}
    assert fake_models.backends["second"].is_closed


async def test_an_idle_model_expires_by_the_clock(
    start: StartEngine, fake_models: FakeModels, clock: FakeClock
) -> None:
    client = start(fake_models, EngineOptions(keep_alive=60.0), clock=clock, wall_clock=lambda: 10_000.0)
    await collect(client.generate(ask(max_tokens=1)))
    (resident,) = await client.ask(ListResident())
    assert (resident.expires_at, resident.active) == (10_060.0, 0)
    clock.advance(59)
    assert await names(client) == {"pico-tiny"}
    clock.advance(1)
    assert await names(client) == set()
    assert fake_models.backend.is_closed


async def test_an_idle_model_expires_without_another_request(start: StartEngine, fake_models: FakeModels) -> None:
    closed = threading.Event()

    class RecordingBackend(FakeBackend):
        def close(self) -> None:
            super().close()
            closed.set()

    client = start(lambda info, free: RecordingBackend(answer=lambda prompt, sampling: iter([20] * 99)))
    await collect(client.generate(ask(max_tokens=1, keep_alive=0.05)))
    assert await asyncio.to_thread(closed.wait, PATIENCE)


async def test_keep_alive_zero_unloads_after_the_request(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    await collect(client.generate(ask(max_tokens=1, keep_alive=0.0)))
    assert await names(client) == set()


async def test_an_infinite_keep_alive_has_no_expiry(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    await client.ask(LoadModel("pico-tiny", math.inf))
    (resident,) = await client.ask(ListResident())
    assert resident.expires_at is None


async def test_a_model_is_loaded_and_unloaded_on_request(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    await client.ask(LoadModel("PICO-tiny:latest"))
    assert await names(client) == {"pico-tiny"}
    await client.ask(UnloadModel("pico-tiny"))
    assert await names(client) == set()
    await client.ask(UnloadModel("pico-tiny"))
    with pytest.raises(ModelNotFound):
        await client.ask(UnloadModel("unknown"))


async def test_unloading_waits_for_a_running_request(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    async with aclosing(client.generate(ask(max_tokens=50))) as deltas:
        async for delta in deltas:
            if isinstance(delta, TextDelta):
                break
        await client.ask(UnloadModel("pico-tiny"))
        rest = [delta async for delta in deltas]
    assert rest
    assert await names(client) == set()


@pytest.mark.parametrize("calls", [1, 2, 3, 6], ids=["load", "prefill", "first step", "decode"])
async def test_an_abort_takes_effect_within_one_step(start: StartEngine, fake_models: FakeModels, calls: int) -> None:
    fake_models.gate.close()
    client = start(fake_models)
    deltas = client.generate(ask(max_tokens=1000))
    assert isinstance(await anext(deltas), Accepted)
    fake_models.gate.allow(calls - 1)
    await arrivals(fake_models, calls)
    await deltas.aclose()
    fake_models.gate.allow()
    assert all(resident.active == 0 for resident in await client.ask(ListResident()))
    assert fake_models.gate.arrivals == calls, "no further call of the backend is made for the aborted request"
    assert fake_models.backend.rows == []


async def test_a_waiting_request_can_be_aborted_before_it_runs(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models, EngineOptions(max_batch_size=1))
    async with aclosing(await start_answer(client, fake_models)):
        waiting = client.generate(ask("second"))
        assert isinstance(await stepwise(fake_models, anext(waiting)), Accepted)
        await waiting.aclose()
        (resident,) = await stepwise(fake_models, client.ask(ListResident()))
        assert resident.active == 1
        fake_models.gate.open()


async def test_loading_and_unloading_are_notified(start: StartEngine, fake_models: FakeModels) -> None:
    events: list[ModelEvent] = []
    client = start(fake_models)
    client.listen(events.append)
    await client.ask(LoadModel("pico-tiny"))
    await client.ask(UnloadModel("pico-tiny"))
    await until(lambda: len(events) == 2)
    loaded, unloaded = events
    assert isinstance(loaded, ModelLoaded)
    assert (loaded.model, loaded.size) == ("pico-tiny", fake_models.backend.weights_nbytes)
    assert unloaded == ModelUnloaded("pico-tiny", "as asked")


async def test_the_statistics_count_running_and_waiting_requests(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models, EngineOptions(max_batch_size=1))
    async with (
        aclosing(await start_answer(client, fake_models)),
        aclosing(client.generate(ask("second"))) as waiting,
    ):
        accepted = asyncio.ensure_future(anext(waiting))
        await asyncio.sleep(
            0
        )  # the task begins; the preparation thread has prepared its request once it runs the next call
        await asyncio.wrap_future(client._engine._preparing.submit(lambda: None))
        asked = asyncio.ensure_future(client.ask(ReadStatistics()))
        await asyncio.sleep(0)
        fake_models.gate.allow()
        statistics = await asked
        fake_models.gate.open()
        assert isinstance(await accepted, Accepted)
    assert (statistics.running, statistics.waiting, statistics.preemptions) == (1, 1, 0)
    assert statistics.resident_bytes > fake_models.backend.weights_nbytes


async def test_all_commands_sent_during_a_step_run_before_the_next_step(
    start: StartEngine, fake_models: FakeModels
) -> None:
    client = start(fake_models)
    await client.ask(LoadModel("pico-tiny"))
    fake_models.gate.close()
    before = fake_models.gate.arrivals
    first = client.generate(ask("first", max_tokens=1000))
    assert isinstance(await anext(first), Accepted)
    await arrivals(fake_models, before + 1)
    others = [client.generate(ask(str(number), max_tokens=1000)) for number in range(3)]
    accepted = [asyncio.ensure_future(anext(other)) for other in others]
    await asyncio.sleep(
        0
    )  # the tasks begin; the preparation thread has prepared their requests once it runs the next call
    await asyncio.wrap_future(client._engine._preparing.submit(lambda: None))
    statistics = client._engine.statistics()
    # The engine thread itself calls this, before its next step.
    seen: list[int] = []
    statistics.add_done_callback(lambda _: seen.append(fake_models.gate.arrivals))
    fake_models.gate.allow()
    assert (await asyncio.wrap_future(statistics)).waiting == 3
    assert seen == [before + 1], "no step ran between the commands"
    fake_models.gate.open()
    await asyncio.gather(*accepted)
    for stream in (first, *others):
        await stream.aclose()


async def test_a_waiting_request_gets_progress(start: StartEngine, fake_models: FakeModels, clock: FakeClock) -> None:
    fake_models.load_steps = 3
    fake_models.gate.close()
    client = start(fake_models, EngineOptions(), clock=clock)
    async with aclosing(client.generate(ask())) as deltas:
        assert isinstance(await anext(deltas), Accepted)
        await arrivals(fake_models, 1)
        clock.advance(1.5)
        fake_models.gate.allow()
        beat = await anext(deltas)
        fake_models.gate.open()
    assert isinstance(beat, Progress)
    assert beat.phase == "load"
    assert 0 < beat.done < beat.total


async def test_closing_ends_all_requests_with_an_error(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models, EngineOptions(max_batch_size=1))
    await client.ask(LoadModel("pico-tiny"))
    fake_models.gate.close()
    streams = [client.generate(ask(str(number), max_tokens=1000)) for number in range(3)]
    for stream in streams:
        assert isinstance(await stepwise(fake_models, anext(stream)), Accepted)
    await stepwise(fake_models, client.aclose())

    async def drain(number: int) -> list[Delta]:
        return [delta async for delta in streams[number]]

    for number in range(3):
        with pytest.raises(EngineUnavailable):
            await drain(number)
    assert [backend.is_closed for backend in fake_models.backends.values()] == [True]


async def test_a_closed_engine_refuses_and_may_be_closed_again(start: StartEngine, fake_models: FakeModels) -> None:
    client = start(fake_models)
    await client.aclose()
    await client.aclose()
    with pytest.raises(EngineUnavailable):
        await anext(client.generate(ask()))
    with pytest.raises(EngineUnavailable):
        await client.ask(ListResident())
    with pytest.raises(EngineUnavailable):
        await client.ask(LoadModel("pico-tiny"))


async def test_an_engine_that_was_never_started_refuses() -> None:
    engine = Engine(Catalog(EngineOptions(), environ={}, hub_cache=None), EngineOptions())
    with pytest.raises(EngineUnavailable):
        await anext(client_of(engine).generate(ask()))
    engine.close()
    assert repr(engine).startswith("<Engine stopped <Scheduler [0 running | 0 waiting]> <ModelManager [none")


# The thread prints a traceback, because such an exception is a bug.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_engine_whose_thread_failed_answers_every_waiting_caller(
    start: StartEngine, fake_models: FakeModels, caplog: pytest.LogCaptureFixture
) -> None:
    class FailingBackend(FakeBackend):
        """Also fails when its rows are removed."""

        def remove(self, rows: object, *, keep: bool) -> None:
            raise RuntimeError("broken")

    client = start(lambda info, free: FailingBackend(answer=lambda prompt, sampling: iter([20, 21])))
    with pytest.raises(EngineUnavailable):
        await collect(client.generate(ask(max_tokens=2)))
    with pytest.raises(EngineUnavailable):
        await client.ask(ListResident())


def test_a_process_may_end_in_the_middle_of_an_answer() -> None:
    """MLX must not compute on a thread while the interpreter exits."""
    script = """
import asyncio
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
from pico_jupyter.types import EngineOptions, GenerationRequest, RawPrompt, TextDelta

async def main():
    engine = Engine(Catalog(EngineOptions(), environ={}, hub_cache=None), EngineOptions())
    engine.start()
    request = GenerationRequest(id="1", model="pico-tiny", prompt=RawPrompt("One two three"))
    keep.append(client_of(engine).generate(request))
    async for delta in keep[0]:
        if isinstance(delta, TextDelta):
            return

keep = []
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print("end of main")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert ended.stdout == "end of main\n"
    assert ended.returncode == 0, ended.stderr
