"""Speculation: speculative decoding of one row. A draft model drafts tokens; the row's model verifies them in one pass.

Invariants:
- The row's model samples every token with the random key of its position. A draft token is accepted only if it equals
  this sampled token. So the tokens are the same as without drafts, at any temperature.
- The draft model samples with the same keys, which makes equal tokens likely.
- Between steps the draft model's cache holds a prefix of the row's tokens. This cache falls behind while the row
  decodes in a batch or while drafts are paused, and catches up later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx

from pico_jupyter.engine.backend import SampledToken
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import DecodeBatch, penalise
from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.backends.sampling import sample

# The largest number of tokens that the draft model computes in one step to catch up. The next step waits for them.
_MAX_CATCH_UP = 512
# The upper limit of the configured number of draft tokens. More of them are hardly ever accepted.
_MAX_DRAFT_TOKENS = 16
# The first pause of drafts, in tokens, after they cost more time than they saved, and the factor for the next pauses.
_PAUSE = 32
_BACK_OFF = 4
# The pause if even accepted drafts cost more time than they save.
_LONG_PAUSE = 1024
# The weight of a new value in the moving averages of the times, and in the moving average of the acceptance.
_TIME_WEIGHT = 0.5
_ACCEPTANCE_WEIGHT = 0.1


class DraftBackend(Protocol):
    """A loaded draft model."""

    def logits(self, tokens: mx.array, cache: kv.Cache) -> mx.array:
        """Append tokens to a cache. Returns the lazy float32 logits (vocabulary,) after the last token."""

    def open_cache(self, tokens: Sequence[int]) -> tuple[kv.Cache, int]:
        """A cache that holds a prefix of `tokens`, and the length of this prefix."""

    def keep_cache(self, tokens: Sequence[int], cache: kv.Cache, continuation_start: int) -> None:
        """Return a cache of `tokens` to the prefix cache. Row documents `continuation_start`."""


@dataclass(slots=True)
class DraftStatistics:
    """Measures whether drafts save time.

    `acceptance` is the probability that a draft token is accepted after all earlier ones were. `cost` is the time
    that one draft token adds to a step, divided by `step_seconds`, the time of a step without drafts (None: unknown).
    The cost is measured, because it is near 0 on a GPU and may be 1 on a CPU.
    """

    cost: float
    acceptance: float = 0.8
    step_seconds: float | None = None

    def record_step(self, seconds: float) -> None:
        """Update the duration of a step without drafts."""
        self.step_seconds = seconds if self.step_seconds is None else _average(self.step_seconds, seconds, _TIME_WEIGHT)

    def record_drafts(self, count: int, accepted: int, seconds: float) -> None:
        """Update both averages after a step with `count` draft tokens, of which the first `accepted` were accepted."""
        # Draft tokens after the first rejected one are not counted, because they continue another text.
        for index in range(min(accepted + 1, count)):
            self.acceptance = _average(self.acceptance, float(index < accepted), _ACCEPTANCE_WEIGHT)
        if self.step_seconds:
            self.cost = _average(self.cost, max(0.0, (seconds / self.step_seconds - 1) / count), _TIME_WEIGHT)

    @property
    def never_pays(self) -> bool:
        """Whether even an accepted draft token costs more time than it saves."""
        return self.cost >= 1

    def best_count(self, limit: int) -> int:
        """The number of draft tokens, 0 to `limit`, with the highest expected tokens per second."""

        def speed(count: int) -> float:
            tokens = sum(self.acceptance**index for index in range(count + 1))
            return tokens / (1 + count * self.cost)

        return max(range(limit + 1), key=speed)


def _average(average: float, measured: float, weight: float) -> float:
    return average + weight * (measured - average)


class Speculation:
    """Drafts at most `tokens` tokens in each step for one row, whose model has `vocabulary` token ids."""

    def __init__(
        self,
        draft_backend: DraftBackend,
        tokens: int,
        *,
        statistics: DraftStatistics,
        vocabulary: int,
        clock: Callable[[], float],
    ) -> None:
        self._draft_backend = draft_backend
        self._max_tokens = min(tokens, _MAX_DRAFT_TOKENS)
        self._statistics = statistics
        self._vocabulary = vocabulary
        self._clock = clock
        self._cache: kv.Cache | None = None
        self._cache_length = 0
        self._pause = _PAUSE
        self._pause_ends = 0  # the row's length at which the pause of drafts ends; 0: no pause
        # The row's length after the last step without drafts, and the time when that step ended.
        self._last_step: tuple[int, float] | None = None

    def __repr__(self) -> str:
        count = self._statistics.best_count(self._max_tokens)
        return f"<Speculation [{count} of {self._max_tokens} tokens | {self._statistics.acceptance:.0%} accepted]>"

    @property
    def nbytes(self) -> int:
        """Bytes of the draft model's cache."""
        return kv.nbytes(self._cache) if self._cache else 0

    def step(self, batch: DecodeBatch, model: Any) -> list[SampledToken]:
        """Advance the single row of a batch, with drafts if they save time."""
        (row,) = batch.rows
        if self._statistics.step_seconds is None or len(row.tokens) < self._pause_ends:
            return self._step_without_drafts(batch, model)
        if self._lag(row) > 1:
            sampled = self._step_without_drafts(batch, model)
            self._catch_up(row)
            return sampled
        count = self._statistics.best_count(self._max_tokens)
        if count == 0 and not self._pause_ends:
            self._pause_ends = len(row.tokens) + (_LONG_PAUSE if self._statistics.never_pays else self._pause)
            self._pause *= _BACK_OFF
            return self._step_without_drafts(batch, model)
        # At the end of a pause, at least one draft token is drafted to measure the cost and the acceptance again.
        self._pause_ends = 0
        return self._step_with_drafts(batch, model, count or 1)

    def keep(self, row: Row) -> None:
        """Return the draft model's cache to the prefix cache. No other call may follow."""
        if self._cache:
            self._draft_backend.keep_cache(row.tokens[: self._cache_length], self._cache, row.continuation_start)

    def _opened_cache(self, row: Row) -> kv.Cache:
        """Return the draft model's cache, which the first call creates."""
        if self._cache is None:
            self._cache, self._cache_length = self._draft_backend.open_cache(row.tokens)
        return self._cache

    def _lag(self, row: Row) -> int:
        """The number of the row's tokens that the draft model's cache does not hold."""
        self._opened_cache(row)
        return len(row.tokens) - self._cache_length

    def _catch_up(self, row: Row) -> None:
        """Queue the draft model's pass over tokens of the row that it has not computed yet. Does not wait."""
        cache = self._opened_cache(row)
        chunk = row.tokens[self._cache_length : self._cache_length + _MAX_CATCH_UP]
        self._draft_backend.logits(mx.array(chunk, mx.uint32), cache)
        kv.evaluate(cache)
        self._cache_length += len(chunk)
        self._last_step = None  # The next step waits for this pass, so the duration of that step is not measured.

    def _step_without_drafts(self, batch: DecodeBatch, model: Any) -> list[SampledToken]:
        (row,) = batch.rows
        batch.advance(model)
        sampled = batch.collect()
        length, now = len(row.tokens), self._clock()
        # Steps overlap, so the duration of a step is the time between the ends of two consecutive steps.
        if self._last_step and self._last_step[0] == length - 1:
            self._statistics.record_step(now - self._last_step[1])
        self._last_step = length, now
        return sampled

    def _step_with_drafts(self, batch: DecodeBatch, model: Any, count: int) -> list[SampledToken]:
        (row,) = batch.rows
        mx.synchronize()  # Earlier work in flight must not count as time of this step.
        started = self._clock()
        sampled, accepted = batch.verify(model, self._draft(row, batch.inputs, count))
        self._statistics.record_drafts(count, accepted, self._clock() - started)
        # Remove rejected draft tokens from the draft model's cache. The last draft token was never added to it.
        self._cache_length = min(self._cache_length, len(row.tokens))
        kv.trim(self._opened_cache(row), self._cache_length)
        return sampled

    def _draft(self, row: Row, pending: mx.array, count: int) -> mx.array:
        """Draft `count` tokens after the row's tokens and its `pending` input token. The result is lazy."""
        cache = self._opened_cache(row)
        fed = mx.concatenate([mx.array(row.tokens[self._cache_length :], mx.uint32), pending])
        latest = pending
        for index in range(count):
            logits = self._draft_backend.logits(fed, cache)[None, : self._vocabulary]
            fed = sample(penalise(row, latest, logits), [row.sampling], [row.sampled + index])
            mx.async_eval(fed)  # type: ignore[no-untyped-call]  # untyped in mlx's stubs
            latest = mx.concatenate([latest, fed])
        self._cache_length = len(row.tokens) + count
        return latest[1:]
