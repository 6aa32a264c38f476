"""Computes medians, ranges and rates, and checks figures against bars (goals)."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Spread:
    """The median and the range of some values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Compute the spread of `values`. Raises ValueError if there are no values."""
        if not values:
            raise ValueError("no values")
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Comparison:
    """The values of a figure by round, of pico_jupyter and of the other server. None means that the round failed."""

    ours: tuple[float | None, ...]
    theirs: tuple[float | None, ...] = ()

    @property
    def our_spread(self) -> Spread | None:
        return _spread(self.ours)

    @property
    def their_spread(self) -> Spread | None:
        return _spread(self.theirs)

    @property
    def ratio(self) -> Spread | None:
        """Ours divided by theirs, by round."""
        return _spread([a / b for a, b in self._pairs() if b])

    @property
    def difference(self) -> Spread | None:
        """Ours minus theirs, by round."""
        return _spread([a - b for a, b in self._pairs()])

    def _pairs(self) -> list[tuple[float, float]]:
        return [(a, b) for a, b in zip(self.ours, self.theirs, strict=False) if a is not None and b is not None]


@dataclass(frozen=True)
class Bar:
    """A goal for a figure: bounds for the median of our values, of the ratios, or of the differences."""

    text: str
    of: Literal["ours", "ratio", "difference"]
    at_most: float = math.inf
    at_least: float = -math.inf

    def holds(self, comparison: Comparison) -> bool | None:
        """Whether the bar holds, or None without values. A failed round of pico_jupyter fails the bar."""
        if not comparison.ours:
            return None
        if any(value is None for value in comparison.ours):
            return False
        spreads = {"ours": comparison.our_spread, "ratio": comparison.ratio, "difference": comparison.difference}
        spread = spreads[self.of]
        return None if spread is None else self.at_least <= spread.median <= self.at_most


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by `share` (0 to 1) of all values. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def largest_gap(times: Sequence[float], start: float, end: float) -> float:
    """The longest gap between two arrivals, of the gaps that overlap the time from `start` to `end`."""
    edges = [*(time for time in times if time <= end), end] if times else [start, end]
    return max((b - a for a, b in itertools.pairwise(edges) if b >= start), default=0.0)


def rate_together(streams: Sequence[Sequence[tuple[float, int]]]) -> float:
    """Tokens per second of all streams together, while all of them run.

    A stream is a list of arrivals (time, tokens). Raises ValueError if the streams never run at the same time.
    """
    start = max(stream[0][0] for stream in streams)
    end = min(stream[-1][0] for stream in streams)
    if end <= start:
        raise ValueError("the streams did not run at the same time")
    tokens = sum(count for stream in streams for moment, count in stream if start < moment <= end)
    return tokens / (end - start)


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else None
