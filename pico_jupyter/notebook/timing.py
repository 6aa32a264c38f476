"""AnswerTiming: measures when an answer begins and how fast it is generated."""

from __future__ import annotations

import time
from collections.abc import Callable


class AnswerTiming:
    """`first` and `last` are the times of the first and the latest piece with text, in seconds since the request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked = clock()
        self.first = 0.0
        self.last = 0.0

    def __repr__(self) -> str:
        return f"<AnswerTiming {self.decode:.1f} s>"

    def stamp(self) -> None:
        """Record that a piece with text has arrived."""
        self.last = self._clock() - self._asked
        self.first = self.first or self.last

    @property
    def decode(self) -> float:
        """The seconds between the first and the latest piece with text."""
        return self.last - self.first
