"""The engine of a LocalEngineClient starts once, for the first request that computes something."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, local_engine
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine_reports import EngineStatistics, ModelEvent, ModelLoaded
from pico_jupyter.errors import EngineUnavailable, ModelNotFound
from pico_jupyter.questions import (
    DescribeMemory,
    FindModel,
    ListModels,
    ListResident,
    LoadModel,
    ReadStatistics,
    UnloadModel,
)
from pico_jupyter.types import Delta, EngineOptions, Finished, GenerationRequest, RawPrompt
from tests.fakes.link import until
from tests.fakes.models import FakeModels

REQUEST = GenerationRequest(id="r", model="pico-tiny", prompt=RawPrompt("Hello"), max_tokens=2)


class Starter:
    """Starts an engine of fake models when `go` is set. The first `failures` starts fail."""

    def __init__(self, models: FakeModels) -> None:
        self.catalog = Catalog(EngineOptions(), environ={}, hub_cache=None)
        self.models = models
        self.engines: list[Engine] = []
        self.starts = 0
        self.failures = 0
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Engine:
        self.starts += 1
        self.go.wait(30)
        if self.starts <= self.failures:
            raise ImportError("no mlx here")
        engine = Engine(self.catalog, EngineOptions(), load_backend=self.models)
        engine.start()
        self.engines.append(engine)
        return engine

    def client(self) -> LocalEngineClient:
        return LocalEngineClient(self.catalog, self, lambda: Capacity(1 << 30))


@pytest.fixture
def start(fake_models: FakeModels) -> Iterator[Starter]:
    starter = Starter(fake_models)
    yield starter
    for engine in starter.engines:
        engine.close()


async def read(engine: LocalEngineClient) -> list[Delta]:
    async with aclosing(engine.generate(REQUEST)) as deltas:
        return [delta async for delta in deltas]


def is_whole(deltas: list[Delta]) -> bool:
    return isinstance(deltas[-1], Finished)


async def test_questions_about_the_catalog_start_no_engine(start: Starter) -> None:
    engine = start.client()
    assert "pico-tiny" in [info.name for info in await engine.ask(ListModels())]
    assert (await engine.ask(FindModel("PICO-tiny:latest"))).name == "pico-tiny"
    assert await engine.ask(ListResident()) == ()
    await engine.ask(UnloadModel("pico-tiny"))
    with pytest.raises(ModelNotFound):
        await engine.ask(UnloadModel("none"))
    await engine.aclose()
    assert start.starts == 0
    assert repr(engine) == "<LocalEngineClient not started>"


async def test_the_first_requests_share_one_start(start: Starter) -> None:
    start.go.clear()
    engine = start.client()
    reading = [asyncio.create_task(read(engine)) for _ in range(3)]
    await asyncio.sleep(0)
    assert repr(engine) == "<LocalEngineClient starting>"
    reading[0].cancel()
    start.go.set()
    assert all([is_whole(await one) for one in reading[1:]])
    assert start.starts == 1


async def test_a_load_starts_the_engine(start: Starter) -> None:
    engine = start.client()
    await engine.ask(LoadModel("pico-tiny", 5.0))
    [resident] = await engine.ask(ListResident())
    assert resident.info.name == "pico-tiny"
    await engine.ask(UnloadModel("pico-tiny"))
    assert await engine.ask(ListResident()) == ()
    await engine.aclose()
    assert repr(engine).startswith("<LocalEngineClient <Engine stopped")


async def test_a_failed_start_raises_its_reason_and_is_repeated_by_the_next_request(start: Starter) -> None:
    start.failures = 1
    engine = start.client()
    with pytest.raises(EngineUnavailable, match="the engine cannot start: ImportError: no mlx here"):
        await read(engine)
    assert is_whole(await read(engine))


async def test_a_request_closed_during_the_start_is_not_sent(start: Starter, fake_models: FakeModels) -> None:
    start.go.clear()
    engine = start.client()
    engine.generate(REQUEST).close()
    start.go.set()
    await engine.ask(LoadModel("pico-tiny"))
    assert fake_models.backend.steps == 0


async def test_an_engine_can_be_started_before_its_first_request(start: Starter) -> None:
    engine = start.client()
    engine.prepare()
    await until(lambda: "<Engine running" in repr(engine))
    await read(engine)
    assert start.starts == 1


async def test_a_failed_early_start_is_repeated_by_the_first_request(start: Starter) -> None:
    start.failures = 1
    engine = start.client()
    engine.prepare()
    await until(lambda: start.starts == 1 and "not started" in repr(engine))
    assert is_whole(await read(engine))


@pytest.mark.parametrize("runs_already", [False, True])
async def test_a_listener_is_called_whether_the_engine_starts_before_or_after(
    start: Starter, runs_already: bool
) -> None:
    engine = start.client()
    if runs_already:
        await asyncio.wrap_future(engine.prepare())
    events: list[ModelEvent] = []
    engine.listen(events.append)
    assert start.starts == int(runs_already)
    await engine.ask(LoadModel("pico-tiny"))
    await until(lambda: events)
    assert isinstance(events[0], ModelLoaded)


async def test_the_statistics_of_an_engine_that_does_not_run_are_zero(start: Starter) -> None:
    engine = start.client()
    assert await engine.ask(ReadStatistics()) == EngineStatistics()
    assert start.starts == 0
    await engine.ask(LoadModel("pico-tiny"))
    assert (await engine.ask(ReadStatistics())).resident_bytes > 0


async def test_the_memory_is_known_before_the_engine_runs(start: Starter, fake_models: FakeModels) -> None:
    engine = start.client()
    report = await engine.ask(DescribeMemory())
    assert (report.budget, report.used, report.available, report.is_starting) == (1 << 30, 0, 1 << 30, False)
    assert {need.model: need.fit for need in report.needs}["pico-tiny"] == "fits"
    assert start.starts == 0
    start.go.clear()
    engine.prepare()
    assert (await engine.ask(DescribeMemory())).is_starting
    start.go.set()
    await engine.ask(LoadModel("pico-tiny"))
    assert (await engine.ask(DescribeMemory())).used == fake_models.backend.weights_nbytes


async def test_an_unknown_device_memory_is_an_error(start: Starter) -> None:
    def no_device() -> Capacity:
        raise ImportError("no mlx here")

    with pytest.raises(EngineUnavailable, match="the memory use cannot be determined: ImportError: no mlx here"):
        await LocalEngineClient(start.catalog, start, no_device).ask(DescribeMemory())


async def test_the_configured_budget_is_the_memory() -> None:
    report = await local_engine(EngineOptions(memory_budget=4_000_000)).ask(DescribeMemory())
    fits = {need.model: need.fit for need in report.needs}
    assert (report.budget, report.available, fits["pico-tiny"]) == (4_000_000, 4_000_000, "fits")


async def test_an_engine_that_starts_while_its_client_closes_is_closed(start: Starter) -> None:
    start.go.clear()
    engine = start.client()
    reading = asyncio.create_task(read(engine))
    await until(lambda: start.starts == 1)
    await engine.aclose()
    start.go.set()
    with pytest.raises(EngineUnavailable):
        await reading
    await until(lambda: start.engines and "<Engine stopped" in repr(start.engines[0]))
    with pytest.raises(EngineUnavailable, match="not running"):
        await read(engine)
