"""RequestQueue: the generations that wait for admission, first come, first served, up to a limit.

A requeued generation is placed before those that never ran, and has no timeout. Generations of low priority are after
all others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator

from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import QueueFull

_MAX_RETRY_SECONDS = 600
# The weight of the latest request in the moving average of durations.
_WEIGHT = 0.2


class RequestQueue:
    """Waiting generations, at most `max_queue`. At most `max_rows` rows run at once. `timeout` is in seconds."""

    def __init__(self, *, max_queue: int, max_rows: int, timeout: float, clock: Callable[[], float]) -> None:
        self._max_queue = max_queue
        self._max_rows = max_rows
        self._timeout = timeout
        self._clock = clock
        self._waiting: deque[Generation] = deque()
        self._mean_duration: float | None = None

    def __repr__(self) -> str:
        return f"<RequestQueue [{len(self._waiting)}]>"

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Generation]:
        """Iterate over a copy, so the queue may change during the iteration. Generations of low priority are last."""
        return iter(sorted(self._waiting, key=lambda one: one.low_priority))

    def add(self, generation: Generation, *, free_rows: int) -> None:
        """Append a generation. Raises QueueFull if `max_queue` plus `free_rows` generations are waiting."""
        if len(self._waiting) >= self._max_queue + max(0, free_rows):
            raise self._queue_full(f"{len(self._waiting)} requests are waiting already; try again later")
        self._waiting.append(generation)

    def requeue(self, generations: Collection[Generation]) -> None:
        """Insert previously running generations at the front, in their order of arrival."""
        self._waiting.extendleft(sorted(generations, key=lambda one: one.arrival, reverse=True))

    def remove(self, generation: Generation) -> None:
        """Remove a waiting generation."""
        self._waiting.remove(generation)

    def clear(self) -> None:
        """Remove all generations."""
        self._waiting.clear()

    def overdue(self) -> list[tuple[Generation, QueueFull]]:
        """The generations that never ran and have waited longer than the timeout, each with its error."""
        oldest = self._clock() - self._timeout
        overdue = [one for one in self._waiting if one.times.prefill_started is None and one.times.submitted < oldest]
        message = f"the request was not started within {self._timeout:.0f} seconds; try again later"
        return [(generation, self._queue_full(message)) for generation in overdue]

    def record_duration(self, seconds: float) -> None:
        """Update the mean duration of requests, from their admission to their end."""
        before = seconds if self._mean_duration is None else self._mean_duration
        self._mean_duration = (1 - _WEIGHT) * before + _WEIGHT * seconds

    def _queue_full(self, message: str) -> QueueFull:
        """The error to raise. `retry_after` estimates from the mean duration when the queue will be empty."""
        rounds = 1 + len(self._waiting) / self._max_rows
        seconds = rounds * (1.0 if self._mean_duration is None else self._mean_duration)
        return QueueFull(message, retry_after=min(_MAX_RETRY_SECONDS, max(1, math.ceil(seconds))))
