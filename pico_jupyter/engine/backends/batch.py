"""Batch: rows of one model that decode together, one step always in flight. Knows no prompt and no prefix cache.

Invariants: a lone row decodes in its scalar cache, several in a merged one. advance() queues the next forward pass;
collect() then reads the tokens that went into it, and give_out() waits for those that came out. verify() does it all
for a lone row and tokens that were drafted for it. A row's tokens are those that its cache holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import mlx.core as mx

from pico_jupyter.engine.backend import Draw, RowSampling
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.sampling import LogitsProcessor, penalty_window, sample, top_candidates

# How often the whole state of the caches is evaluated, so that no lazy graph grows behind a part that is rarely read.
_STEPS_BETWEEN_EVALS = 50


@dataclass(slots=True, eq=False)
class Row:
    """A row of the backend.

    `tokens` are those in its KV cache; `drawn` counts the tokens sampled; it `is_new` until one was given out. From
    `turn` tokens on, another prompt counts as the next one of the same conversation. `rope_delta` is what positions are
    ahead of the count of tokens behind pictures; None for models whose positions are the count.
    """

    number: int
    sampling: RowSampling
    processors: list[LogitsProcessor]
    turn: int
    drawn: int = 0
    tokens: list[int] = field(default_factory=list)
    is_new: bool = True
    rope_delta: int | None = None

    @property
    def recent(self) -> list[int]:
        """The latest tokens that the row's penalties look at; places of pictures are none."""
        window = penalty_window(self.sampling)
        return [token for token in self.tokens[-window:] if token >= 0] if window else []


def positions_of(rows: Sequence[Row]) -> dict[str, mx.array]:
    """What a model must be told about the positions of some rows, besides how many tokens are in their caches."""
    deltas = [row.rope_delta for row in rows if row.rope_delta is not None]
    return {"rope_deltas": mx.array(deltas)[:, None]} if deltas else {}


@dataclass(slots=True)
class _Logprobs:
    """Lazy log-probabilities of one row's token and of the likeliest ones."""

    chosen: mx.array
    top: mx.array
    top_values: mx.array


class Batch:
    """Some rows, their common cache, and the tokens that the next forward pass takes in."""

    def __init__(self, rows: list[Row], cache: kv.Cache, inputs: list[int]) -> None:
        self.rows = rows
        self.cache = cache
        self.inputs = mx.array(inputs, mx.uint32)
        # Whether a row's input is to be given out: it was drawn, and nobody has heard of it.
        self._is_news = [False] * len(rows)
        self._logprobs: list[_Logprobs | None] = [None] * len(rows)
        self._fed: tuple[mx.array, list[bool], list[_Logprobs | None]] | None = None
        self._steps = 0

    def __repr__(self) -> str:
        return f"<Batch [{len(self.rows)} rows | {max(len(row.tokens) for row in self.rows)} tokens]>"

    def begin(self, logits: mx.array) -> None:
        """The inputs are in the cache already, and these logits (rows, vocabulary) came out: draw the next ones."""
        inputs = self.inputs
        self._draw(logits)
        for row, token in zip(self.rows, ints(inputs), strict=True):
            row.drawn += 1
            row.tokens.append(token)

    def advance(self, model: Any) -> None:
        """Queue a forward pass and the draws after it; nothing is waited for."""
        self._fed = self.inputs, self._is_news, self._logprobs
        self._draw(model(self.inputs[:, None], cache=self.cache, **positions_of(self.rows))[:, -1, :])
        self._steps += 1
        if self._steps % _STEPS_BETWEEN_EVALS == 0:
            kv.evaluate(self.cache)

    def _draw(self, logits: mx.array) -> None:
        """Draw what follows the inputs; nothing is waited for."""
        logits = logits.astype(mx.float32)
        drawn_from = _penalised(self.rows, self.inputs, logits)
        self.inputs = sample(drawn_from, [row.sampling for row in self.rows], [row.drawn for row in self.rows])
        self._is_news = [True] * len(self.rows)
        self._logprobs = [_logprobs_of(row, logits[index], self.inputs[index]) for index, row in enumerate(self.rows)]
        mx.async_eval(self.inputs, _arrays(self._logprobs))  # type: ignore[no-untyped-call]  # untyped in mlx's stubs

    def collect(self) -> list[Draw]:
        """The tokens that the last advance() took in, as far as they were drawn."""
        if self._fed is None:
            return []
        (inputs, is_news, logprobs), self._fed = self._fed, None
        draws = []
        for index, (row, token) in enumerate(zip(self.rows, ints(inputs), strict=True)):
            row.drawn += 1
            row.tokens.append(token)
            if is_news[index]:
                draws.append(_draw(row.number, token, logprobs[index]))
        return draws

    @property
    def has_newcomers(self) -> bool:
        """Whether there are rows that have given out no token yet."""
        return any(row.is_new for row in self.rows)

    def give_out(self) -> list[Draw]:
        """The tokens that were drawn last, as far as nobody has heard of them; waits for them."""
        news = [
            _draw(row.number, token, logprobs)
            for row, token, is_news, logprobs in zip(
                self.rows, ints(self.inputs), self._is_news, self._logprobs, strict=True
            )
            if is_news
        ]
        self._is_news, self._logprobs = [False] * len(self.rows), [None] * len(self.rows)
        for row in self.rows:
            row.is_new = False
        return news

    def verify(self, model: Any, drafted: mx.array) -> tuple[list[Draw], int]:
        """Take in the lone row's input and tokens drafted to follow it, as far as the row draws the same ones.

        Returns what is new, the row's next input included, and how many of the drafted tokens were right. The cache
        must be one that can be cut at any token.
        """
        (row,) = self.rows
        fed = mx.concatenate([self.inputs, drafted])
        logits = model(fed[None], cache=self.cache, **positions_of(self.rows))[0].astype(mx.float32)
        count = fed.size
        drawn = sample(_penalised_each(row, fed, logits), [row.sampling] * count, range(row.drawn, row.drawn + count))
        logprobs = [_logprobs_of(row, logits[place], drawn[place]) for place in range(count)]
        mx.eval(fed, drawn, _arrays(logprobs))
        taken, next_ones = ints(fed), ints(drawn)
        right = next((place for place in range(count - 1) if taken[place + 1] != next_ones[place]), count - 1)
        news = [_draw(row.number, taken[0], self._logprobs[0])] if self._is_news[0] else []
        news += [_draw(row.number, next_ones[place], logprobs[place]) for place in range(right + 1)]
        row.tokens += taken[: right + 1]
        row.drawn += right + 1
        kv.trim(self.cache, len(row.tokens))
        self.inputs, self._is_news, self._logprobs = drawn[right : right + 1], [False], [None]
        return news, right

    def extend(self, other: Batch) -> None:
        """Take in the rows of another batch."""
        mine, theirs = (batch.cache if len(batch.rows) > 1 else kv.merge([batch.cache]) for batch in (self, other))
        for layer, layer_of_other in zip(mine, theirs, strict=True):
            layer.extend(layer_of_other)
        self.cache = mine
        self.rows = self.rows + other.rows
        self.inputs = mx.concatenate([self.inputs, other.inputs])
        self._is_news = self._is_news + other._is_news
        self._logprobs = self._logprobs + other._logprobs

    def cache_of(self, index: int) -> kv.Cache:
        """The scalar cache of one row that is about to leave; a copy, unless the row is alone."""
        return self.cache if len(self.rows) == 1 else kv.extract(self.cache, index)

    def reduce(self, keep: list[int]) -> None:
        """Keep only some rows; a last one goes back to a scalar cache."""
        if not keep:
            self.rows = []
            return
        if len(keep) == 1:
            self.cache = [layer.extract(keep[0]) for layer in self.cache]
        else:
            for layer in self.cache:
                layer.filter(keep)
        self.rows = [self.rows[index] for index in keep]
        self.inputs = self.inputs[mx.array(keep)]
        self._is_news = [self._is_news[index] for index in keep]
        self._logprobs = [self._logprobs[index] for index in keep]


def penalise(row: Row, latest: mx.array, logits: mx.array) -> mx.array:
    """One row's logits (1, vocabulary) after its penalties and its bias; `latest` came after the row's tokens.

    The latest tokens may still be in flight: they are an array, and nothing waits for them.
    """
    if not row.processors:
        return logits
    context = mx.concatenate([mx.array(row.recent, mx.uint32), latest])
    for process in row.processors:
        logits = process(context, logits)
    return logits


def _penalised(rows: Sequence[Row], inputs: mx.array, logits: mx.array) -> mx.array:
    """The logits of several rows, each after its own input."""
    if not any(row.processors for row in rows):
        return logits
    one_by_one = [slice(index, index + 1) for index in range(len(rows))]
    return mx.concatenate([penalise(row, inputs[own], logits[own]) for row, own in zip(rows, one_by_one, strict=True)])


def _penalised_each(row: Row, fed: mx.array, logits: mx.array) -> mx.array:
    """The logits of one row after each of the tokens that were fed to it."""
    if not row.processors:
        return logits
    places = range(fed.size)
    return mx.concatenate([penalise(row, fed[: place + 1], logits[place : place + 1]) for place in places])


def _logprobs_of(row: Row, logits: mx.array, token: mx.array) -> _Logprobs | None:
    """What a row asked to know about its token. `logits` is (vocabulary,), before penalties."""
    if row.sampling.top_logprobs is None:
        return None
    raw = logits - mx.logsumexp(logits)
    top = top_candidates(raw, row.sampling.top_logprobs) if row.sampling.top_logprobs else mx.array([], mx.uint32)
    return _Logprobs(raw[token], top, raw[top])


def _arrays(logprobs: Sequence[_Logprobs | None]) -> list[mx.array]:
    return [array for one in logprobs if one for array in (one.chosen, one.top, one.top_values)]


def _draw(number: int, token: int, given: _Logprobs | None) -> Draw:
    if given is None:
        return Draw(number, token)
    values = cast("list[float]", given.top_values.tolist())
    return Draw(number, token, float(given.chosen), tuple(zip(ints(given.top), values, strict=True)))


def ints(array: mx.array) -> list[int]:
    """The whole numbers in an array; waits until they are computed."""
    return cast("list[int]", array.tolist())
