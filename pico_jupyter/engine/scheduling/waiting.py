"""Waiting: the bounded line of those who wait for their turn, first come, first served. Knows no model and no row.

A request that was let in and put back stands in front of the line, and is never refused for the time that it waits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator

from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import QueueFull

_LONGEST_RETRY = 600
# How much the latest request counts in the mean of durations.
_WEIGHT = 0.2


class Waiting:
    """`timeout` is in seconds; `max_rows` is how many run at once at most."""

    def __init__(self, *, max_queue: int, max_rows: int, timeout: float, clock: Callable[[], float]) -> None:
        self._max_queue = max_queue
        self._max_rows = max_rows
        self._timeout = timeout
        self._clock = clock
        self._line: deque[Generation] = deque()
        self._duration: float | None = None

    def __repr__(self) -> str:
        return f"<Waiting [{len(self._line)}]>"

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Generation]:
        """Those who wait just now; the line may change meanwhile."""
        return iter(list(self._line))

    def add(self, generation: Generation, *, free_rows: int) -> None:
        """Stand at the end of the line. Raises QueueFull."""
        if len(self._line) >= self._max_queue + max(0, free_rows):
            raise self._refusal(f"{len(self._line)} requests are waiting already; try again later")
        self._line.append(generation)

    def put_back(self, generations: Collection[Generation]) -> None:
        """Stand in front of the line again, in their order of arrival."""
        self._line.extendleft(sorted(generations, key=lambda one: one.arrival, reverse=True))

    def remove(self, generation: Generation) -> None:
        self._line.remove(generation)

    def clear(self) -> None:
        self._line.clear()

    def late(self) -> list[tuple[Generation, QueueFull]]:
        """Who has waited too long, and what to tell them."""
        too_long = self._clock() - self._timeout
        late = [one for one in self._line if one.marks.prefill_started is None and one.marks.submitted < too_long]
        words = f"no turn came within {self._timeout:.0f} seconds; try again later"
        return [(generation, self._refusal(words)) for generation in late]

    def note_duration(self, seconds: float) -> None:
        """A request was answered in so many seconds, from its turn on."""
        before = seconds if self._duration is None else self._duration
        self._duration = (1 - _WEIGHT) * before + _WEIGHT * seconds

    def _refusal(self, words: str) -> QueueFull:
        """Says after how many seconds the line will be worked off, as far as the latest requests tell."""
        rounds = 1 + len(self._line) / self._max_rows
        seconds = rounds * (1.0 if self._duration is None else self._duration)
        return QueueFull(words, retry_after=min(_LONGEST_RETRY, max(1, math.ceil(seconds))))
