"""Which models stay, which go, and who pays for the room."""

from __future__ import annotations

import math

import pytest

from pico_jupyter.engine.backends.base import RowSampling
from pico_jupyter.engine.models import ModelManager, Resident
from pico_jupyter.errors import OutOfMemory
from pico_jupyter.types import ModelInfo, Notice
from tests.fakes import FakeBackend, FakeClock, FakePrefixes, fake_info

WALL = 5_000_000.0


class Rig:
    def __init__(self, budget: int = 10_000, keep_alive: float = 300.0) -> None:
        self.clock = FakeClock()
        self.rooms: list[int] = []
        self.prefixes = FakePrefixes()
        self.notices: list[Notice] = []
        self.manager = ModelManager(
            self._open,
            prefixes=self.prefixes,
            budget=budget,
            keep_alive=keep_alive,
            clock=self.clock,
            wall_clock=lambda: WALL,
            on_notice=self.notices.append,
        )

    def _open(self, info: ModelInfo, room: int) -> FakeBackend:
        self.rooms.append(room)
        return FakeBackend(weights_nbytes=info.size, prefixes=self.prefixes)

    def load(self, name: str, size: int = 1000) -> Resident:
        resident = self.manager.begin_load(fake_info(name, size))
        assert resident is not None
        while not resident.is_ready:
            self.manager.load_step(resident)
        return resident

    def use(self, name: str, keep_alive: float = 300.0) -> None:
        """A whole request for a loaded model."""
        self.manager.want(fake_info(name))
        self.manager.done(fake_info(name), keep_alive)

    @property
    def names(self) -> list[str]:
        return [one.info.name for one in self.manager.resident()]


def test_models_of_different_names_are_resident_together() -> None:
    rig = Rig()
    rig.load("a")
    rig.load("b")
    assert sorted(rig.names) == ["a", "b"]
    assert repr(rig.manager) == "<ModelManager [a, b | 0 of 0 MiB]>"


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


def test_a_loaded_model_that_nobody_uses_expires_by_the_default() -> None:
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


def test_keep_alive_for_ever_never_expires() -> None:
    rig = Rig()
    rig.load("a")
    rig.use("a", keep_alive=math.inf)
    rig.clock.advance(10**9)
    rig.manager.expire()
    assert rig.manager.next_expiry() is None
    assert rig.manager.resident()[0].expires_at is None


def test_a_model_does_not_expire_while_a_request_wants_it() -> None:
    rig = Rig(keep_alive=10)
    rig.load("a")
    rig.manager.want(fake_info("a"))
    rig.clock.advance(1000)
    rig.manager.expire()
    assert rig.names == ["a"]
    assert rig.manager.next_expiry() is None
    assert rig.manager.resident()[0].active == 1


def test_expiry_is_told_on_the_wall_clock_latest_first() -> None:
    rig = Rig()
    for name in ("short", "for ever", "long"):
        rig.load(name)
    rig.use("short", keep_alive=10)
    rig.use("long", keep_alive=1000)
    rig.use("for ever", keep_alive=math.inf)
    assert rig.names == ["for ever", "long", "short"]
    assert [one.expires_at for one in rig.manager.resident()] == [None, WALL + 1000, WALL + 10]


def test_the_least_recently_used_idle_model_makes_room() -> None:
    rig = Rig(budget=2500)
    for name in ("a", "b"):
        rig.load(name)
        rig.clock.advance(1)
    rig.use("a")
    rig.load("c")
    assert sorted(rig.names) == ["a", "c"]


def test_only_as_many_models_go_as_are_needed() -> None:
    rig = Rig(budget=3500)
    for name in ("a", "b", "c"):
        rig.load(name)
        rig.clock.advance(1)
    rig.load("d", size=1200)
    assert sorted(rig.names) == ["b", "c", "d"]
    assert rig.manager.used_bytes <= 3500


def test_a_running_model_is_never_unloaded_for_room() -> None:
    rig = Rig(budget=1500)
    rig.load("a").running = 1
    assert rig.manager.begin_load(fake_info("b")) is None
    assert rig.names == ["a"]


def test_nothing_is_unloaded_when_that_would_not_make_room() -> None:
    rig = Rig(budget=2500)
    rig.load("running", size=2000).running = 1
    rig.load("idle", size=400)
    assert rig.manager.begin_load(fake_info("big", size=1000)) is None
    assert sorted(rig.names) == ["idle", "running"]


def test_caches_count_towards_the_budget() -> None:
    rig = Rig(budget=2500)
    resident = rig.load("a")
    resident.running = 1
    rig.manager.want(resident.info)
    backend = resident.backend
    before = rig.manager.used_bytes
    backend.insert({1: RowSampling()}, [1] * 700)
    backend.prefill([1], 1000)
    assert rig.manager.used_bytes == before + 699
    assert rig.manager.begin_load(fake_info("b")) is None


def test_a_model_over_the_whole_budget_is_refused() -> None:
    rig = Rig(budget=999)
    with pytest.raises(OutOfMemory, match=r"a needs .* GB and models may take"):
        rig.manager.begin_load(fake_info("a"))


def test_the_loader_hears_how_much_room_there_is() -> None:
    rig = Rig(budget=2500)
    rig.load("a")
    rig.load("b")
    assert rig.rooms == [2500, 1500]


def test_unloading_waits_for_the_requests_that_want_the_model() -> None:
    rig = Rig()
    rig.load("a")
    rig.manager.want(fake_info("a"))
    rig.manager.unload("a")
    assert rig.names == ["a"]
    rig.manager.done(fake_info("a"), keep_alive=300)
    assert rig.names == []


def test_unloading_an_idle_model_is_immediate() -> None:
    rig = Rig()
    rig.load("a")
    rig.manager.unload("a")
    assert rig.names == []


def test_unloading_what_is_not_loaded_is_fine() -> None:
    rig = Rig()
    rig.manager.unload("a")
    rig.load("a")
    assert rig.names == ["a"]


def test_a_model_that_was_told_to_go_may_come_back() -> None:
    rig = Rig()
    rig.load("a")
    rig.manager.want(fake_info("a"))
    rig.manager.unload("a")
    rig.manager.done(fake_info("a"), keep_alive=300)
    rig.load("a")
    rig.use("a")
    assert rig.names == ["a"]


def test_a_load_that_nobody_waits_for_is_given_up() -> None:
    rig = Rig()
    rig.manager.want(fake_info("a"))
    rig.manager.begin_load(fake_info("a"))
    rig.manager.done(fake_info("a"), keep_alive=300)
    assert rig.manager.loading is None
    assert rig.manager.used_bytes == 0
