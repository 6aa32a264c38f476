"""Speculation: a smaller model drafts tokens for a lone row, and the row's own model checks them all in one pass.

Invariants: every token of the row is drawn by its own model, with the key of its position, and a drafted token counts
only where it equals that draw. So at any temperature the tokens are those without drafts. The draft model draws with
the same keys, which makes the same draw likely. Between steps its cache holds a beginning of the row's tokens; it falls
behind while the row decodes in company or drafts do not pay, and follows later. Knows no prompt and no prefix cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx

from pico_jupyter.engine.backend import Draw
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import Batch, Row, penalise
from pico_jupyter.engine.backends.sampling import sample

# How many of the row's tokens the draft model takes in at a step, at most: the row's next token but one waits for it.
_CHUNK = 512
# Callers may ask for any number; more drafts than these are hardly ever right to the last.
_MOST = 16
# Tokens without drafts after drafts did not pay, and so many times as many each time that they still do not.
_PAUSE = 32
_LONGER = 4
# The same where not even right drafts would pay.
_LONG_PAUSE = 1024
# What the newest measurement counts among all.
_WEIGHT = 0.5


class Drafter(Protocol):
    """What a loaded model does for another one's rows."""

    def logits(self, tokens: mx.array, cache: kv.Cache) -> mx.array:
        """Take in tokens of one row; float32 logits (vocabulary,) after the last one, lazy."""
        ...

    def open_cache(self, tokens: Sequence[int]) -> tuple[kv.Cache, int]:
        """A cache that holds a beginning of these tokens, and the length of that."""
        ...

    def keep_cache(self, tokens: Sequence[int], cache: kv.Cache, turn: int) -> None:
        """Take back a cache that holds these tokens; see Row about `turn`."""
        ...


@dataclass(slots=True)
class Prospect:
    """What drafts are worth, as far as is known.

    A draft is right with `chance` if those before it are, and makes a step longer by `cost` steps without drafts: the
    draft model's pass, and what the wider pass of the row's own model takes more. On a GPU that is next to nothing and
    on a CPU may be a whole pass, so both are measured. `plain` are the seconds of a step without drafts.
    """

    cost: float
    chance: float = 0.8
    plain: float | None = None

    def note_plain(self, seconds: float) -> None:
        self.plain = seconds if self.plain is None else _between(self.plain, seconds)

    def note_drafts(self, count: int, right: int, seconds: float) -> None:
        """A step drafted `count` tokens, of which the first `right` were right."""
        # Each draft after the first wrong one was in vain, and tells nothing about the chance.
        for place in range(min(right + 1, count)):
            self.chance += 0.1 * ((place < right) - self.chance)
        if self.plain:
            self.cost = _between(self.cost, max(0.0, (seconds / self.plain - 1) / count))

    @property
    def is_hopeless(self) -> bool:
        """Whether a draft costs so much that it does not pay even when it is right."""
        return self.cost >= 1

    def best_count(self, most: int) -> int:
        """How many tokens to draft, 0 to `most`, for the most tokens in a time."""

        def pace(count: int) -> float:
            tokens = sum(self.chance**place for place in range(count + 1))
            return tokens / (1 + count * self.cost)

        return max(range(most + 1), key=pace)


def _between(known: float, measured: float) -> float:
    return known + _WEIGHT * (measured - known)


class Speculation:
    """The drafts for one row, `tokens` a step at most. The row's own model knows the first `vocabulary` token ids."""

    def __init__(
        self, drafter: Drafter, tokens: int, *, prospect: Prospect, vocabulary: int, clock: Callable[[], float]
    ) -> None:
        self._drafter = drafter
        self._most = min(tokens, _MOST)
        self._prospect = prospect
        self._vocabulary = vocabulary
        self._clock = clock
        self._cache: kv.Cache | None = None
        self._held = 0
        self._pause = _PAUSE
        self._pause_ends = 0
        # How long the row was after the last step without drafts, and when that was.
        self._last_plain: tuple[int, float] | None = None

    def __repr__(self) -> str:
        count = self._prospect.best_count(self._most)
        return f"<Speculation [{count} of {self._most} tokens | {self._prospect.chance:.0%} right]>"

    @property
    def nbytes(self) -> int:
        """Bytes of the draft model's cache."""
        return kv.nbytes(self._cache) if self._cache else 0

    def step(self, batch: Batch, model: Any) -> list[Draw]:
        """Advance the lone row of a batch, with drafts if they pay."""
        (row,) = batch.rows
        if self._prospect.plain is None or len(row.tokens) < self._pause_ends:
            return self._step_plainly(batch, model)
        if self._lag(row) > 1:
            draws = self._step_plainly(batch, model)
            self._follow(row)
            return draws
        count = self._prospect.best_count(self._most)
        if count == 0 and not self._pause_ends:
            self._pause_ends = len(row.tokens) + (_LONG_PAUSE if self._prospect.is_hopeless else self._pause)
            self._pause *= _LONGER
            return self._step_plainly(batch, model)
        # Behind a pause one draft tells whether times have changed.
        self._pause_ends = 0
        return self._step_with_drafts(batch, model, count or 1)

    def keep(self, row: Row) -> None:
        """Give the cache back for the next prompt of the row's conversation. Nothing may be called afterwards."""
        if self._cache:
            self._drafter.keep_cache(row.tokens[: self._held], self._cache, row.turn)

    def _open(self, row: Row) -> kv.Cache:
        if self._cache is None:
            self._cache, self._held = self._drafter.open_cache(row.tokens)
        return self._cache

    def _lag(self, row: Row) -> int:
        """How many of the row's tokens the draft model has not seen."""
        self._open(row)
        return len(row.tokens) - self._held

    def _follow(self, row: Row) -> None:
        """Let the draft model take in more of the row's tokens. Nothing is waited for."""
        cache = self._open(row)
        chunk = row.tokens[self._held : self._held + _CHUNK]
        self._drafter.logits(mx.array(chunk, mx.uint32), cache)
        kv.evaluate(cache)
        self._held += len(chunk)
        self._last_plain = None  # The next step waits for this, so its time tells nothing.

    def _step_plainly(self, batch: Batch, model: Any) -> list[Draw]:
        (row,) = batch.rows
        batch.advance(model)
        draws = batch.collect()
        length, now = len(row.tokens), self._clock()
        # Steps overlap, so only the time between the ends of two in sequence is that of one.
        if self._last_plain and self._last_plain[0] == length - 1:
            self._prospect.note_plain(now - self._last_plain[1])
        self._last_plain = length, now
        return draws

    def _step_with_drafts(self, batch: Batch, model: Any, count: int) -> list[Draw]:
        (row,) = batch.rows
        mx.synchronize()  # What is still under way is no part of this step.
        started = self._clock()
        draws, right = batch.verify(model, self._draft(row, batch.inputs, count))
        self._prospect.note_drafts(count, right, self._clock() - started)
        # The last draft was not taken in by the draft model, and wrong ones go.
        self._held = min(self._held, len(row.tokens))
        kv.trim(self._open(row), self._held)
        return draws

    def _draft(self, row: Row, pending: mx.array, count: int) -> mx.array:
        """`count` tokens to follow the row's tokens and the pending one; lazy."""
        cache = self._open(row)
        fed = mx.concatenate([mx.array(row.tokens[self._held :], mx.uint32), pending])
        latest = pending
        for place in range(count):
            logits = self._drafter.logits(fed, cache)[None, : self._vocabulary]
            fed = sample(penalise(row, latest, logits), [row.sampling], [row.drawn + place])
            mx.async_eval(fed)  # type: ignore[no-untyped-call]  # untyped in mlx's stubs
            latest = mx.concatenate([latest, fed])
        self._held = len(row.tokens) + count
        return latest[1:]
