"""The line of those who wait: its order, its length, and when to come back."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.scheduling.sequence import Generation, Marks
from pico_jupyter.engine.scheduling.waiting import Waiting
from pico_jupyter.errors import QueueFull
from tests.fakes import FakeClock, ListSink, fake_info


class Rig:
    def __init__(self, *, max_queue: int = 4, max_rows: int = 2, timeout: float = 60.0) -> None:
        self.clock = FakeClock()
        self.line = Waiting(max_queue=max_queue, max_rows=max_rows, timeout=timeout, clock=self.clock)
        self._arrivals = iter(range(1, 100))

    def made(self) -> Generation:
        generation = Generation("g", fake_info(), [1], 1, False, [], None, 0.0, ListSink(), Marks(self.clock()))
        generation.arrival = next(self._arrivals)
        return generation

    def add(self, *, free_rows: int = 0) -> Generation:
        generation = self.made()
        self.line.add(generation, free_rows=free_rows)
        return generation


def test_who_comes_first_stands_first() -> None:
    rig = Rig()
    assert [rig.add(), rig.add()] == list(rig.line)
    assert repr(rig.line) == "<Waiting [2]>"


def test_who_is_put_back_stands_in_front_in_order_of_arrival() -> None:
    rig = Rig()
    first, second, third = rig.made(), rig.made(), rig.add()
    rig.line.put_back([second, first])
    assert list(rig.line) == [first, second, third]


def test_beyond_its_length_the_line_refuses() -> None:
    rig = Rig(max_queue=1)
    rig.add(free_rows=1)
    rig.add(free_rows=1)
    with pytest.raises(QueueFull, match="2 requests are waiting already") as caught:
        rig.add(free_rows=1)
    assert caught.value.code == "server_busy"


def test_without_experience_the_rounds_tell_when_to_come_back() -> None:
    rig = Rig(max_queue=4, max_rows=2)
    for _ in range(4):
        rig.add()
    with pytest.raises(QueueFull) as caught:
        rig.add()
    assert caught.value.retry_after == 3


def test_the_latest_requests_tell_when_to_come_back() -> None:
    rig = Rig(max_queue=4, max_rows=2)
    for _ in range(4):
        rig.add()
    for _ in range(30):
        rig.line.note_duration(10.0)
    with pytest.raises(QueueFull) as caught:
        rig.add()
    assert caught.value.retry_after == 30


def test_nobody_is_sent_away_for_hours() -> None:
    rig = Rig(max_queue=0)
    rig.line.note_duration(1e6)
    with pytest.raises(QueueFull) as caught:
        rig.add()
    assert caught.value.retry_after == 600


def test_who_has_waited_too_long_is_told_so() -> None:
    rig = Rig(timeout=60.0)
    early = rig.add()
    rig.clock.advance(30)
    rig.add()
    assert rig.line.late() == []
    rig.clock.advance(31)
    ((generation, refusal),) = rig.line.late()
    assert generation is early
    assert "within 60 seconds" in refusal.message
    assert refusal.retry_after >= 1


def test_who_ran_before_is_never_late() -> None:
    rig = Rig(timeout=60.0)
    generation = rig.add()
    generation.marks.prefill_started = rig.clock()
    rig.clock.advance(1000)
    assert rig.line.late() == []
