"""The engine starts when something is to be computed, once, and not to list models."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from pico_jupyter.client import NearEngine
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.deferred import DeferredEngineClient, deferred_engine
from pico_jupyter.engine.memory.capacity import Capacity
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
from pico_jupyter.types import (
    Delta,
    EngineOptions,
    EngineStatistics,
    GenerationRequest,
    MemoryReport,
    ModelEvent,
    ModelLoaded,
    ModelNeed,
    RawPrompt,
)
from tests.engine.model_folders import write_model
from tests.model_kernel.loopback import until
from tests.server.scripted import FINISHED, MEMORY, ScriptedEngine

REQUEST = GenerationRequest(id="r", model="m", prompt=RawPrompt("Hello"))
LOADED = ModelLoaded("m", 1000, 0.5)


class Starter:
    """Starts a ScriptedEngine when `go` is set; fails first as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.engine = ScriptedEngine()
        self.starts = 0
        self.failures = failures
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> NearEngine:
        self.starts += 1
        self.go.wait(30)
        if self.starts <= self.failures:
            raise ImportError("no mlx here")
        return self.engine


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    write_model(tmp_path / "m")
    return Catalog(
        EngineOptions(model_dirs=(str(tmp_path),)), environ={}, hub_cache=None, builtin_dir=tmp_path / "none"
    )


def deferred(catalog: Catalog, start: Starter) -> DeferredEngineClient:
    return DeferredEngineClient(catalog, start, lambda: Capacity(10_000))


async def read(engine: DeferredEngineClient) -> list[Delta]:
    async with aclosing(engine.generate(REQUEST)) as deltas:
        return [delta async for delta in deltas]


async def test_what_the_catalog_knows_starts_nothing(catalog: Catalog) -> None:
    start = Starter()
    engine = deferred(catalog, start)
    assert [info.name for info in await engine.ask(ListModels())] == ["m"]
    assert (await engine.ask(FindModel("M:latest"))).name == "m"
    assert await engine.ask(ListResident()) == ()
    await engine.ask(UnloadModel("m"))
    with pytest.raises(ModelNotFound):
        await engine.ask(UnloadModel("none"))
    await engine.aclose()
    assert start.starts == 0
    assert repr(engine) == "<DeferredEngineClient not started>"


async def test_the_first_requests_share_one_start(catalog: Catalog) -> None:
    start = Starter()
    start.go.clear()
    engine = deferred(catalog, start)
    reading = [asyncio.create_task(read(engine)) for _ in range(3)]
    await asyncio.sleep(0)
    reading[0].cancel()
    start.go.set()
    assert [(await one)[-1] for one in reading[1:]] == [FINISHED, FINISHED]
    assert start.starts == 1


async def test_a_started_engine_is_asked(catalog: Catalog) -> None:
    start = Starter()
    engine = deferred(catalog, start)
    await engine.ask(LoadModel("tiny", 5.0))
    await engine.ask(UnloadModel("tiny"))
    await engine.ask(ListResident())
    await engine.aclose()
    assert start.engine.calls == [("load", "tiny", 5.0), ("unload", "tiny", None)]
    assert start.engine.closed
    assert repr(engine) == "<DeferredEngineClient <ScriptedEngine [0 asked]>>"


async def test_a_start_that_fails_says_why_and_can_be_tried_again(catalog: Catalog) -> None:
    engine = deferred(catalog, Starter(failures=1))
    with pytest.raises(EngineUnavailable, match="the engine cannot start: ImportError: no mlx here"):
        await read(engine)
    assert (await read(engine))[-1] == FINISHED


async def test_leaving_reaches_the_engine(catalog: Catalog) -> None:
    start = Starter()
    start.engine.script = (*start.engine.script[:1], asyncio.Event())
    async with aclosing(deferred(catalog, start).generate(REQUEST)) as deltas:
        await anext(deltas)
    assert start.engine.aborted.is_set()


async def test_an_engine_can_be_prepared_before_it_is_needed(catalog: Catalog) -> None:
    start = Starter()
    engine = deferred(catalog, start)
    engine.prepare()
    await until(lambda: repr(engine) == "<DeferredEngineClient <ScriptedEngine [0 asked]>>")
    await read(engine)
    assert start.starts == 1


async def test_a_preparation_that_failed_is_tried_again_by_the_first_request(catalog: Catalog) -> None:
    start = Starter(failures=1)
    engine = deferred(catalog, start)
    engine.prepare()
    await until(lambda: start.starts == 1 and "not started" in repr(engine))
    assert (await read(engine))[-1] == FINISHED


async def test_an_engine_that_starts_later_is_listened_to_from_then_on(catalog: Catalog) -> None:
    start = Starter()
    engine = deferred(catalog, start)
    heard: list[ModelEvent] = []
    engine.listen(heard.append)
    assert start.starts == 0
    await read(engine)
    start.engine.tell(LOADED)
    assert heard == [LOADED]


async def test_an_engine_that_runs_already_is_listened_to_at_once(catalog: Catalog) -> None:
    start = Starter()
    engine = deferred(catalog, start)
    await read(engine)
    heard: list[ModelEvent] = []
    engine.listen(heard.append)
    start.engine.tell(LOADED)
    assert heard == [LOADED]


async def test_the_figures_of_an_engine_that_does_not_run_are_zero(catalog: Catalog) -> None:
    start = Starter()
    start.engine.figures = EngineStatistics(resident_bytes=1000)
    engine = deferred(catalog, start)
    assert await engine.ask(ReadStatistics()) == EngineStatistics()
    assert start.starts == 0
    await read(engine)
    assert await engine.ask(ReadStatistics()) == EngineStatistics(resident_bytes=1000)


async def test_the_memory_is_known_before_the_engine_runs(catalog: Catalog) -> None:
    start = Starter()
    engine = deferred(catalog, start)
    needs = (ModelNeed("m", 256, "fits"),)
    assert await engine.ask(DescribeMemory()) == MemoryReport(10_000, 0, 10_000, False, None, needs)
    assert start.starts == 0
    start.go.clear()
    engine.prepare()
    assert (await engine.ask(DescribeMemory())).is_starting
    start.go.set()
    await read(engine)
    assert await engine.ask(DescribeMemory()) == MEMORY


async def test_a_device_that_cannot_be_asked_is_told(catalog: Catalog) -> None:
    def no_device() -> Capacity:
        raise ImportError("no mlx here")

    with pytest.raises(EngineUnavailable, match="the memory is not known: ImportError: no mlx here"):
        await DeferredEngineClient(catalog, Starter(), no_device).ask(DescribeMemory())


async def test_the_configured_budget_is_the_memory() -> None:
    report = await deferred_engine(EngineOptions(memory_budget=4_000_000)).ask(DescribeMemory())
    fits = {need.model: need.fit for need in report.needs}
    assert (report.budget, report.available, fits["pico-tiny"]) == (4_000_000, 4_000_000, "fits")
