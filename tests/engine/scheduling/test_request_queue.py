"""The queue of waiting requests: its order, its limit, its timeout and its retry time."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.scheduling.request_queue import RequestQueue
from pico_jupyter.engine.scheduling.sequence import Generation, Timestamps
from pico_jupyter.errors import QueueFull
from tests.fakes.backend import FakeClock, ListSink, fake_info


class Rig:
    def __init__(self, *, max_queue: int = 4, max_rows: int = 2, timeout: float = 60.0) -> None:
        self.clock = FakeClock()
        self.queue = RequestQueue(max_queue=max_queue, max_rows=max_rows, timeout=timeout, clock=self.clock)
        self._arrivals = iter(range(1, 100))

    def made(self) -> Generation:
        generation = Generation("g", fake_info(), [1], 1, False, [], None, 0.0, ListSink(), Timestamps(self.clock()))
        generation.arrival = next(self._arrivals)
        return generation

    def add(self, *, free_rows: int = 0) -> Generation:
        generation = self.made()
        self.queue.add(generation, free_rows=free_rows)
        return generation


def test_the_first_request_is_first() -> None:
    rig = Rig()
    assert [rig.add(), rig.add()] == list(rig.queue)
    assert repr(rig.queue) == "<RequestQueue [2]>"


def test_requeued_requests_are_in_front_in_order_of_arrival() -> None:
    rig = Rig()
    first, second, third = rig.made(), rig.made(), rig.add()
    rig.queue.requeue([second, first])
    assert list(rig.queue) == [first, second, third]


def test_requests_of_low_priority_are_after_all_others() -> None:
    rig = Rig()
    low, requeued, later = rig.add(), rig.made(), rig.add()
    low.low_priority = requeued.low_priority = True
    rig.queue.requeue([requeued])
    assert list(rig.queue) == [later, requeued, low]


def test_a_full_queue_raises() -> None:
    rig = Rig(max_queue=1)
    rig.add(free_rows=1)
    rig.add(free_rows=1)
    with pytest.raises(QueueFull, match="2 requests are waiting already") as caught:
        rig.add(free_rows=1)
    assert caught.value.code == "server_busy"


def test_without_finished_requests_each_round_counts_as_one_second() -> None:
    rig = Rig(max_queue=4, max_rows=2)
    for _ in range(4):
        rig.add()
    with pytest.raises(QueueFull) as caught:
        rig.add()
    assert caught.value.retry_after == 3


def test_the_retry_time_follows_the_latest_durations() -> None:
    rig = Rig(max_queue=4, max_rows=2)
    for _ in range(4):
        rig.add()
    for _ in range(30):
        rig.queue.record_duration(10.0)
    with pytest.raises(QueueFull) as caught:
        rig.add()
    assert caught.value.retry_after == 30


def test_the_retry_time_has_a_limit() -> None:
    rig = Rig(max_queue=0)
    rig.queue.record_duration(1e6)
    with pytest.raises(QueueFull) as caught:
        rig.add()
    assert caught.value.retry_after == 600


def test_a_request_that_waits_longer_than_the_timeout_is_overdue() -> None:
    rig = Rig(timeout=60.0)
    early = rig.add()
    rig.clock.advance(30)
    rig.add()
    assert rig.queue.overdue() == []
    rig.clock.advance(31)
    ((generation, error),) = rig.queue.overdue()
    assert generation is early
    assert "within 60 seconds" in error.message
    assert error.retry_after >= 1


def test_a_request_that_has_run_is_never_overdue() -> None:
    rig = Rig(timeout=60.0)
    generation = rig.add()
    generation.times.prefill_started = rig.clock()
    rig.clock.advance(1000)
    assert rig.queue.overdue() == []
