"""Which models are loaded and unloaded, and what is freed for them."""

from __future__ import annotations

import math

import msgspec
import pytest

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine.memory.model_manager import ManagedModel, ModelManager
from pico_jupyter.engine_reports import ModelEvent, ModelLoaded, ModelLoading, ModelNeed, ModelUnloaded
from pico_jupyter.errors import OutOfMemory
from pico_jupyter.types import ModelInfo
from tests.fakes.backend import FakeBackend, FakeClock, FakePrefixes, fake_info

WALL = 5_000_000.0


class Rig:
    def __init__(
        self, budget: int = 10_000, keep_alive: float = 300.0, *, in_float32: bool = False, load_steps: int = 1
    ) -> None:
        self._load_steps = load_steps
        self.clock = FakeClock()
        self.free_bytes: list[int] = []
        self.prefixes = FakePrefixes()
        self.events: list[ModelEvent] = []
        self.manager = ModelManager(
            self._open,
            prefixes=self.prefixes,
            capacity=Capacity(budget, in_float32),
            keep_alive=keep_alive,
            clock=self.clock,
            wall_clock=lambda: WALL,
            on_event=self.events.append,
        )

    def _open(self, info: ModelInfo, free: int) -> FakeBackend:
        self.free_bytes.append(free)
        return FakeBackend(weights_nbytes=info.size, prefixes=self.prefixes, load_steps=self._load_steps)

    def load(self, name: str, size: int = 1000) -> ManagedModel:
        resident = self.manager.begin_load(fake_info(name, size))
        assert resident is not None
        while not resident.is_ready:
            self.manager.load_step(resident)
        return resident

    def use(self, name: str, keep_alive: float = 300.0) -> None:
        """A request for a loaded model, from start to end."""
        self.manager.acquire(fake_info(name))
        self.manager.release(fake_info(name), keep_alive)

    @property
    def names(self) -> list[str]:
        return [one.info.name for one in self.manager.resident()]


def test_models_of_different_names_are_resident_together() -> None:
    rig = Rig()
    rig.load("a")
    rig.load("b")
    assert sorted(rig.names) == ["a", "b"]
    assert repr(rig.manager) == "<ModelManager [a, b | 2.0 kB of 10 kB]>"


def test_a_model_is_listed_once_it_is_ready() -> None:
    rig = Rig()
    resident = rig.manager.begin_load(fake_info("a"))
    assert resident is not None
    assert rig.names == []
    assert rig.manager.loading is resident
    rig.manager.load_step(resident)
    assert rig.names == ["a"]
    assert rig.manager.loading is None


def test_the_keep_alive_timer_starts_at_the_end_of_each_request() -> None:
    rig = Rig()
    rig.load("a")
    rig.clock.advance(200)
    rig.use("a", keep_alive=100)
    rig.clock.advance(99)
    rig.manager.expire()
    assert rig.names == ["a"]
    rig.clock.advance(1)
    rig.manager.expire()
    assert rig.names == []


def test_an_unused_model_expires_after_the_default_keep_alive() -> None:
    rig = Rig(keep_alive=10)
    rig.load("a")
    assert rig.manager.next_expiry() == 10
    rig.clock.advance(10)
    rig.manager.expire()
    assert rig.names == []


def test_keep_alive_zero_unloads_at_the_end_of_the_request() -> None:
    rig = Rig()
    backend = rig.load("a").backend
    rig.use("a", keep_alive=0)
    assert rig.names == []
    assert isinstance(backend, FakeBackend)
    assert backend.is_closed


def test_an_infinite_keep_alive_never_expires() -> None:
    rig = Rig()
    rig.load("a")
    rig.use("a", keep_alive=math.inf)
    rig.clock.advance(10**9)
    rig.manager.expire()
    assert rig.manager.next_expiry() is None
    assert rig.manager.resident()[0].expires_at is None


def test_a_model_does_not_expire_while_a_request_waits_for_it() -> None:
    rig = Rig(keep_alive=10)
    rig.load("a")
    rig.manager.acquire(fake_info("a"))
    rig.clock.advance(1000)
    rig.manager.expire()
    assert rig.names == ["a"]
    assert rig.manager.next_expiry() is None
    assert rig.manager.resident()[0].active == 1


def test_the_expiry_is_reported_on_the_wall_clock_latest_first() -> None:
    rig = Rig()
    for name in ("short", "for ever", "long"):
        rig.load(name)
    rig.use("short", keep_alive=10)
    rig.use("long", keep_alive=1000)
    rig.use("for ever", keep_alive=math.inf)
    assert rig.names == ["for ever", "long", "short"]
    assert [one.expires_at for one in rig.manager.resident()] == [None, WALL + 1000, WALL + 10]


def test_the_least_recently_used_idle_model_is_unloaded_first() -> None:
    rig = Rig(budget=2500)
    for name in ("a", "b"):
        rig.load(name)
        rig.clock.advance(1)
    rig.use("a")
    rig.load("c")
    assert sorted(rig.names) == ["a", "c"]


def test_no_more_models_are_unloaded_than_needed() -> None:
    rig = Rig(budget=3500)
    for name in ("a", "b", "c"):
        rig.load(name)
        rig.clock.advance(1)
    rig.load("d", size=1200)
    assert sorted(rig.names) == ["b", "c", "d"]
    assert rig.manager.used_bytes <= 3500


def test_a_running_model_is_never_unloaded() -> None:
    rig = Rig(budget=1500)
    rig.load("a").running = 1
    assert rig.manager.begin_load(fake_info("b")) is None
    assert rig.names == ["a"]


def test_nothing_is_unloaded_when_that_would_not_be_enough() -> None:
    rig = Rig(budget=2500)
    rig.load("running", size=2000).running = 1
    rig.load("idle", size=400)
    assert rig.manager.begin_load(fake_info("big", size=1000)) is None
    assert sorted(rig.names) == ["idle", "running"]


def test_caches_count_towards_the_budget() -> None:
    rig = Rig(budget=2500)
    resident = rig.load("a")
    resident.running = 1
    rig.manager.acquire(resident.info)
    backend = resident.backend
    before = rig.manager.used_bytes
    backend.insert({1: RowSampling()}, [1] * 700)
    backend.prefill([1], 1000)
    assert rig.manager.used_bytes == before + 699
    assert rig.manager.begin_load(fake_info("b")) is None


def test_a_model_over_the_whole_budget_is_refused() -> None:
    rig = Rig(budget=999)
    with pytest.raises(OutOfMemory, match=r"a needs 1\.0 kB, and the memory budget is 999 B") as caught:
        rig.manager.begin_load(fake_info("a"))
    assert caught.value.model == "a"


def test_the_loader_gets_the_number_of_free_bytes() -> None:
    rig = Rig(budget=2500)
    rig.load("a")
    rig.load("b")
    assert rig.free_bytes == [2500, 1500]


def test_idle_models_are_unloaded_for_float32_weights() -> None:
    half = msgspec.structs.replace(fake_info("half"), float32_size=2000)
    rig = Rig(budget=2500, in_float32=True)
    rig.load("idle")
    rig.manager.begin_load(half)
    assert rig.free_bytes[-1] == 2500


def test_running_models_are_not_unloaded_for_float32_weights() -> None:
    half = msgspec.structs.replace(fake_info("half"), float32_size=2000)
    rig = Rig(budget=2500, in_float32=True)
    rig.load("running").running = 1
    rig.manager.begin_load(half)
    assert rig.free_bytes[-1] == 1500


def test_the_report_counts_the_memory_of_idle_models_as_available() -> None:
    rig = Rig(budget=3000)
    idle, running = rig.load("idle"), rig.load("running")
    rig.prefixes.keep(idle.backend, [1] * 100)
    running.running = 1
    catalog = [idle.info, running.info, *(fake_info(f"{size}", size) for size in (2000, 2001, 3001))]
    report = rig.manager.report(catalog)
    assert (report.budget, report.used, report.available) == (3000, 2100, 2000)
    assert [(need.model, need.size, need.fit) for need in report.needs] == [
        ("idle", 1000, "loaded"),
        ("running", 1000, "loaded"),
        ("2000", 2000, "fits"),
        ("2001", 2001, "later"),
        ("3001", 3001, "never"),
    ]
    assert rig.manager.begin_load(catalog[3]) is None
    assert rig.manager.begin_load(catalog[2]) is not None


def test_the_report_has_the_progress_of_a_load() -> None:
    rig = Rig(load_steps=4)
    resident = rig.manager.begin_load(fake_info("a"))
    assert resident is not None
    rig.manager.load_step(resident)
    report = rig.manager.report([resident.info])
    assert report.loading == ModelLoading("a", 250, 1000)
    assert report.needs == (ModelNeed("a", 1000, "fits"),)
    assert report.available == 9000
    while not resident.is_ready:
        rig.manager.load_step(resident)
    assert rig.manager.report([]).loading is None


def test_unloading_waits_for_the_requests_of_the_model() -> None:
    rig = Rig()
    rig.load("a")
    rig.manager.acquire(fake_info("a"))
    rig.manager.unload("a")
    assert rig.names == ["a"]
    rig.manager.release(fake_info("a"), keep_alive=300)
    assert rig.names == []


def test_unloading_an_idle_model_is_immediate() -> None:
    rig = Rig()
    rig.load("a")
    rig.manager.unload("a")
    assert rig.names == []


def test_unloading_a_model_that_is_not_loaded_does_nothing() -> None:
    rig = Rig()
    rig.manager.unload("a")
    rig.load("a")
    assert rig.names == ["a"]


def test_a_model_may_be_loaded_again_after_an_unload() -> None:
    rig = Rig()
    rig.load("a")
    rig.manager.acquire(fake_info("a"))
    rig.manager.unload("a")
    rig.manager.release(fake_info("a"), keep_alive=300)
    rig.load("a")
    rig.use("a")
    assert rig.names == ["a"]


def test_a_load_without_waiting_requests_is_cancelled() -> None:
    rig = Rig()
    rig.manager.acquire(fake_info("a"))
    rig.manager.begin_load(fake_info("a"))
    rig.manager.release(fake_info("a"), keep_alive=300)
    assert rig.manager.loading is None
    assert rig.manager.used_bytes == 0


def test_loading_and_unloading_are_notified() -> None:
    rig = Rig()
    resident = rig.manager.begin_load(fake_info("a"))
    assert resident is not None
    rig.clock.advance(2.5)
    rig.manager.load_step(resident)
    rig.manager.unload("a")
    assert rig.events == [ModelLoaded("a", 1000, 2.5), ModelUnloaded("a", "as asked")]


def test_prefixes_are_evicted_before_a_model_is_unloaded() -> None:
    rig = Rig(budget=2500)
    backend = rig.load("a").backend
    rig.prefixes.keep(backend, [1] * 700)
    rig.load("b")
    assert sorted(rig.names) == ["a", "b"]
    assert rig.manager.used_bytes == 2000


def test_prefixes_are_not_evicted_when_that_would_not_be_enough() -> None:
    rig = Rig(budget=2500)
    running = rig.load("a")
    running.running = 1
    rig.prefixes.keep(running.backend, [1] * 100)
    assert rig.manager.begin_load(fake_info("b", 1600)) is None
    assert rig.manager.prefix_cache_nbytes == 100


def test_a_model_is_not_unloaded_for_its_draft_model() -> None:
    rig = Rig(budget=1500)
    resident = rig.load("a")
    assert rig.manager.begin_load(fake_info("draft"), beside=[resident.info]) is None
    assert rig.names == ["a"]


def test_rows_may_reserve_a_share_of_the_memory_beside_the_weights() -> None:
    rig = Rig(budget=2000)
    resident = rig.load("a")
    resident.running = 1
    assert rig.manager.reserve((resident,), 500, is_alone=False)
    assert not rig.manager.reserve((resident,), 400, is_alone=False)
    assert rig.manager.reserve((resident,), 350, is_alone=False)
    assert resident.reserved == 850


def test_a_request_that_runs_alone_may_reserve_all_the_memory() -> None:
    rig = Rig(budget=2000)
    resident = rig.load("a")
    assert rig.manager.reserve((resident,), 1000, is_alone=True)


def test_an_idle_model_with_waiting_requests_is_unloaded_only_for_a_request_that_runs_alone() -> None:
    rig = Rig(budget=3000)
    idle, resident = rig.load("idle"), rig.load("a")
    rig.manager.acquire(idle.info)
    assert not rig.manager.reserve((resident,), 1200, is_alone=False)
    assert rig.manager.reserve((resident,), 1200, is_alone=True)
    assert rig.names == ["a"]


def test_the_error_for_rows_that_do_not_fit_names_needed_and_free_memory() -> None:
    rig = Rig(budget=2_000_000_000)
    resident = rig.load("a", size=1_000_000_000)
    rig.manager.check_fits((resident,), 1_000_000_000)
    with pytest.raises(
        OutOfMemory, match=r"needs 1\.5 GB .* the weights of a leave only 1\.0 GB of the budget\."
    ) as caught:
        rig.manager.check_fits((resident,), 1_500_000_000)
    assert caught.value.model == "a"


def test_prefixes_are_evicted_when_memory_is_nearly_full() -> None:
    rig = Rig(budget=2000)
    backend = rig.load("a").backend
    for number in range(10):
        rig.prefixes.keep(backend, [number] * 80)
    assert not rig.manager.relieve_pressure()
    assert rig.manager.used_bytes == 1800, "nothing is evicted up to here"
    rig.prefixes.keep(backend, [99] * 80)
    assert not rig.manager.relieve_pressure()
    assert rig.manager.used_bytes <= 1700


def test_idle_models_are_unloaded_when_running_rows_exceed_the_budget() -> None:
    rig = Rig(budget=2500)
    rig.load("idle")
    resident = rig.load("a")
    resident.running = 1
    resident.backend.insert({1: RowSampling()}, [1] * 700)
    resident.backend.prefill([1], 1000)
    assert not rig.manager.relieve_pressure()
    assert rig.names == ["a"]


def test_the_pressure_remains_when_nothing_can_be_freed() -> None:
    rig = Rig(budget=1500)
    resident = rig.load("a")
    resident.running = 1
    resident.backend.insert({1: RowSampling()}, [1] * 700)
    resident.backend.prefill([1], 1000)
    assert rig.manager.relieve_pressure()
