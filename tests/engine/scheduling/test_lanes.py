"""Which model has its turn next, and how many rows there are."""

from __future__ import annotations

from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine.memory.model_manager import ModelManager
from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.lanes import Lanes
from pico_jupyter.engine.scheduling.sequence import Generation, Marks, Sequence
from pico_jupyter.engine.scheduling.work import Work
from tests.engine.scheduling.scheduler_rig import GREEDY
from tests.fakes import FakeBackend, FakeClock, FakeParser, FakePrefixes, FakeVocabulary, ListSink, fake_info


class Rig:
    def __init__(self) -> None:
        self.models = ModelManager(
            lambda info, room: FakeBackend(),
            prefixes=FakePrefixes(),
            capacity=Capacity(100_000),
            keep_alive=300.0,
            clock=FakeClock(),
            wall_clock=lambda: 0.0,
        )
        self.lanes = Lanes(self.models, Work(), max_rows=4, most=2048, clock=FakeClock())
        self._rows = iter(range(1, 100))

    def enter(self, model: str, n: int = 1) -> Generation:
        info = fake_info(model)
        if (resident := self.models.get(info)) is None:
            resident = self.models.begin_load(info)
            assert resident
            self.models.load_step(resident)
        sequences = [Sequence(next(self._rows), index, GREEDY, FakeParser()) for index in range(n)]
        made = Generation("g", info, [1], 9, False, sequences, FakeVocabulary(), 0.0, ListSink(), Marks(0.0))
        self.lanes.enter(made, resident)
        return made

    def next(self) -> Lane:
        lane = self.lanes.next()
        assert lane
        return lane

    def lane(self, generation: Generation) -> Lane:
        lane = self.lanes.of(generation)
        assert lane
        return lane


def test_without_work_nobody_has_a_turn() -> None:
    assert Rig().lanes.next() is None


def test_the_model_that_had_the_least_time_is_next() -> None:
    rig = Rig()
    a, b = rig.lane(rig.enter("a")), rig.lane(rig.enter("b"))
    rig.lanes.charge(a, 0.1)
    assert rig.next() is b
    rig.lanes.charge(b, 0.2)
    assert rig.next() is a


def test_while_no_time_passes_models_alternate() -> None:
    rig = Rig()
    lanes = [rig.lane(rig.enter(name)) for name in "abc"]
    assert [rig.next() for _ in range(6)] == lanes * 2


def test_a_model_that_starts_begins_like_the_one_that_had_the_least() -> None:
    rig = Rig()
    a, b = rig.lane(rig.enter("a")), rig.lane(rig.enter("b"))
    rig.lanes.charge(a, 0.2)
    rig.lanes.charge(b, 0.1)
    assert rig.lane(rig.enter("c")).spent == 0.1


def test_a_debt_has_a_limit() -> None:
    rig = Rig()
    a, b = rig.lane(rig.enter("a")), rig.lane(rig.enter("b"))
    rig.lanes.charge(a, 60.0)
    assert a.spent - b.spent == 0.25


def test_rows_are_free_again_when_their_generation_is_taken_out() -> None:
    rig = Rig()
    one = rig.enter("a", n=3)
    rig.enter("b")
    assert (rig.lanes.row_count, rig.lanes.free_rows) == (4, 0)
    rig.lanes.take_out(one, keep=False)
    assert rig.lanes.free_rows == 3
    assert rig.lanes.of(one) is None
    assert repr(rig.lanes) == "<Lanes [<Lane b [1 prefilling | 0 decoding]>]>"


def test_a_model_counts_who_runs_on_it() -> None:
    rig = Rig()
    first, second = rig.enter("a"), rig.enter("a")
    resident = rig.models.get(first.info)
    assert resident
    assert resident.running == 2
    for generation in (first, second):
        rig.lanes.take_out(generation, keep=True)
    assert resident.running == 0
