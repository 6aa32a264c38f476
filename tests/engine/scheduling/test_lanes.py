"""The order of turns between models, and the number of running rows."""

from __future__ import annotations

from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine.memory.model_manager import ModelManager
from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.lanes import Lanes
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence, Timestamps
from tests.engine.scheduling.scheduler_rig import GREEDY
from tests.fakes.backend import FakeBackend, FakeClock, FakeParser, FakePrefixes, FakeVocabulary, ListSink, fake_info


class Rig:
    def __init__(self) -> None:
        self.models = ModelManager(
            lambda info, free: FakeBackend(),
            prefixes=FakePrefixes(),
            capacity=Capacity(100_000),
            keep_alive=300.0,
            clock=FakeClock(),
            wall_clock=lambda: 0.0,
        )
        self.lanes = Lanes(self.models, max_rows=4, max_chunk=2048, clock=FakeClock())
        self._rows = iter(range(1, 100))

    def add(self, model: str, n: int = 1) -> Generation:
        info = fake_info(model)
        if (resident := self.models.get(info)) is None:
            resident = self.models.begin_load(info)
            assert resident
            self.models.load_step(resident)
        sequences = [Sequence(next(self._rows), index, GREEDY, FakeParser()) for index in range(n)]
        made = Generation("g", info, [1], 9, False, sequences, FakeVocabulary(), 0.0, ListSink(), Timestamps(0.0))
        self.lanes.add(made, resident)
        return made

    def next(self) -> Lane:
        lane = self.lanes.next_lane()
        assert lane
        return lane

    def lane(self, generation: Generation) -> Lane:
        lane = self.lanes.lane_of(generation)
        assert lane
        return lane


def test_without_work_there_is_no_next_lane() -> None:
    assert Rig().lanes.next_lane() is None


def test_the_model_that_has_used_the_least_time_is_next() -> None:
    rig = Rig()
    a, b = rig.lane(rig.add("a")), rig.lane(rig.add("b"))
    rig.lanes.charge(a, 0.1)
    assert rig.next() is b
    rig.lanes.charge(b, 0.2)
    assert rig.next() is a


def test_while_no_time_passes_models_alternate() -> None:
    rig = Rig()
    lanes = [rig.lane(rig.add(name)) for name in "abc"]
    assert [rig.next() for _ in range(6)] == lanes * 2


def test_a_new_model_starts_with_the_least_time_of_the_others() -> None:
    rig = Rig()
    a, b = rig.lane(rig.add("a")), rig.lane(rig.add("b"))
    rig.lanes.charge(a, 0.2)
    rig.lanes.charge(b, 0.1)
    assert rig.lane(rig.add("c")).seconds_used == 0.1


def test_the_time_above_a_share_has_a_limit() -> None:
    rig = Rig()
    a, b = rig.lane(rig.add("a")), rig.lane(rig.add("b"))
    rig.lanes.charge(a, 60.0)
    assert a.seconds_used - b.seconds_used == 0.25


def test_removing_a_generation_frees_its_rows() -> None:
    rig = Rig()
    one = rig.add("a", n=3)
    rig.add("b")
    assert (rig.lanes.row_count, rig.lanes.free_rows) == (4, 0)
    rig.lanes.remove(one, keep=False)
    assert rig.lanes.free_rows == 3
    assert rig.lanes.lane_of(one) is None
    assert repr(rig.lanes) == "<Lanes [<Lane b [1 prefilling | 0 decoding]>]>"


def test_a_model_counts_its_running_generations() -> None:
    rig = Rig()
    first, second = rig.add("a"), rig.add("a")
    resident = rig.models.get(first.info)
    assert resident
    assert resident.running == 2
    for generation in (first, second):
        rig.lanes.remove(generation, keep=True)
    assert resident.running == 0
