"""DecodeBatch: decodes rows of one model together. It queues a forward pass before it reads the last sampled tokens.

Invariants:
- A batch of one row has a scalar KV cache. A batch of several rows has a merged KV cache.
- advance() queues a forward pass. collect() then reads its input tokens; flush() waits for its output tokens.
  verify() computes the draft tokens of a single row and waits for the result.
- A row's `tokens` are exactly the tokens in its KV cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import mlx.core as mx

from pico_jupyter.engine.backend import SampledToken
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.masking import constrain
from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.backends.sampling import sample, top_candidates

# Without regular evaluations of all caches, the lazy graph of an array that is rarely read would grow.
_PASSES_BETWEEN_EVALS = 50


def positions_of(rows: Sequence[Row]) -> dict[str, mx.array]:
    """The keyword argument for the `rope_delta` of each row; empty for models that have no such argument."""
    deltas = [row.rope_delta for row in rows if row.rope_delta is not None]
    return {"rope_deltas": mx.array(deltas)[:, None]} if deltas else {}


@dataclass(slots=True)
class _Logprobs:
    """The log-probability of a sampled token, and the likeliest tokens with theirs. All arrays are lazy."""

    chosen: mx.array
    top: mx.array
    top_values: mx.array


class DecodeBatch:
    """Rows, their common cache, and the input tokens of the next forward pass."""

    def __init__(self, rows: list[Row], cache: kv.Cache, inputs: list[int]) -> None:
        self.rows = rows
        self.cache = cache
        self.inputs = mx.array(inputs, mx.uint32)
        # For each row, whether its input token still has to be returned. Tokens of the prompt are never returned.
        self._is_unreturned = [False] * len(rows)
        self._logprobs: list[_Logprobs | None] = [None] * len(rows)
        self._in_flight: tuple[mx.array, list[bool], list[_Logprobs | None]] | None = None
        self._passes = 0

    def __repr__(self) -> str:
        return f"<DecodeBatch [{len(self.rows)} rows | {max(len(row.tokens) for row in self.rows)} tokens]>"

    def begin(self, logits: mx.array) -> None:
        """Append the computed inputs to their rows. Sample the next tokens from `logits` (rows, vocabulary)."""
        inputs = self.inputs
        self._sample(logits)
        for row, token in zip(self.rows, ints(inputs), strict=True):
            row.sampled += 1
            row.tokens.append(token)

    def advance(self, model: Any) -> None:
        """Queue a forward pass and the sampling after it. Waits for the inputs if a row has a constraint."""
        self._in_flight = self.inputs, self._is_unreturned, self._logprobs
        self._sample(model(self.inputs[:, None], cache=self.cache, **positions_of(self.rows))[:, -1, :])
        self._passes += 1
        if self._passes % _PASSES_BETWEEN_EVALS == 0:
            kv.evaluate(self.cache)

    def _sample(self, logits: mx.array) -> None:
        """Queue the sampling of the next tokens from `logits`. Waits for the inputs if a row has a constraint."""
        logits = constrain(self.rows, self.inputs, logits.astype(mx.float32))
        penalised = _penalised(self.rows, self.inputs, logits)
        self.inputs = sample(penalised, [row.sampling for row in self.rows], [row.sampled for row in self.rows])
        self._is_unreturned = [True] * len(self.rows)
        self._logprobs = [_logprobs_of(row, logits[index], self.inputs[index]) for index, row in enumerate(self.rows)]
        mx.async_eval(self.inputs, _arrays(self._logprobs))  # type: ignore[no-untyped-call]  # untyped in mlx's stubs

    def collect(self) -> list[SampledToken]:
        """Wait for the input tokens of the last advance(). Returns the tokens that no earlier call has returned."""
        if self._in_flight is None:
            return []
        (inputs, is_unreturned, logprobs), self._in_flight = self._in_flight, None
        collected = []
        for index, (row, token) in enumerate(zip(self.rows, ints(inputs), strict=True)):
            row.sampled += 1
            row.tokens.append(token)
            if is_unreturned[index]:
                collected.append(_sampled_token(row.number, token, logprobs[index]))
        return collected

    @property
    def has_new_rows(self) -> bool:
        """Whether the first token of any row has not been returned yet."""
        return any(row.is_new for row in self.rows)

    def flush(self) -> list[SampledToken]:
        """Wait for the latest sampled tokens. Returns those that still have to be returned."""
        flushed = [
            _sampled_token(row.number, token, logprobs)
            for row, token, is_unreturned, logprobs in zip(
                self.rows, ints(self.inputs), self._is_unreturned, self._logprobs, strict=True
            )
            if is_unreturned
        ]
        self._is_unreturned, self._logprobs = [False] * len(self.rows), [None] * len(self.rows)
        for row in self.rows:
            row.is_new = False
        return flushed

    def verify(self, model: Any, draft_tokens: mx.array) -> tuple[list[SampledToken], int]:
        """Compute the single row's input token and draft tokens in one forward pass, and sample a token after each.

        Draft tokens before the first that differs from the sampled token are accepted. Returns the new tokens, the last
        of which is the next input, and the number of accepted draft tokens. The cache must be trimmable to any length.
        """
        (row,) = self.rows
        fed = mx.concatenate([self.inputs, draft_tokens])
        logits = model(fed[None], cache=self.cache, **positions_of(self.rows))[0].astype(mx.float32)
        count = fed.size
        positions = range(row.sampled, row.sampled + count)
        sampled = sample(_penalised_each(row, fed, logits), [row.sampling] * count, positions)
        logprobs = [_logprobs_of(row, logits[index], sampled[index]) for index in range(count)]
        mx.eval(fed, sampled, _arrays(logprobs))
        inputs, outputs = ints(fed), ints(sampled)
        accepted = 0
        while accepted < count - 1 and inputs[accepted + 1] == outputs[accepted]:
            accepted += 1
        new = [_sampled_token(row.number, inputs[0], self._logprobs[0])] if self._is_unreturned[0] else []
        new += [_sampled_token(row.number, outputs[index], logprobs[index]) for index in range(accepted + 1)]
        row.tokens += inputs[: accepted + 1]
        row.sampled += accepted + 1
        kv.trim(self.cache, len(row.tokens))
        self.inputs, self._is_unreturned, self._logprobs = sampled[accepted : accepted + 1], [False], [None]
        return new, accepted

    def extend(self, other: DecodeBatch) -> None:
        """Append the rows of another batch."""
        mine, theirs = (batch.cache if len(batch.rows) > 1 else kv.merge([batch.cache]) for batch in (self, other))
        for layer, layer_of_other in zip(mine, theirs, strict=True):
            layer.extend(layer_of_other)
        self.cache = mine
        self.rows = self.rows + other.rows
        self.inputs = mx.concatenate([self.inputs, other.inputs])
        self._is_unreturned = self._is_unreturned + other._is_unreturned
        self._logprobs = self._logprobs + other._logprobs

    def cache_of(self, index: int) -> kv.Cache:
        """The scalar cache of the row at `index`: a copy, or the cache of the batch if it has only this row."""
        return self.cache if len(self.rows) == 1 else kv.extract(self.cache, index)

    def reduce(self, keep: list[int]) -> None:
        """Remove all rows except those at the indices `keep`. If one row remains, its cache has no batch any more."""
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
        self._is_unreturned = [self._is_unreturned[index] for index in keep]
        self._logprobs = [self._logprobs[index] for index in keep]


def penalise(row: Row, latest: mx.array, logits: mx.array) -> mx.array:
    """Apply a row's penalties and bias to its logits (1, vocabulary). `latest` are the tokens after row.tokens.

    `latest` is an array because these tokens may still be in flight. Does not wait.
    """
    if not row.processors:
        return logits
    context = mx.concatenate([mx.array(row.recent, mx.uint32), latest])
    for process in row.processors:
        logits = process(context, logits)
    return logits


def _penalised(rows: Sequence[Row], inputs: mx.array, logits: mx.array) -> mx.array:
    """Apply the penalties of each row to its logits. `inputs` has the latest token of each row."""
    if not any(row.processors for row in rows):
        return logits
    return mx.concatenate([penalise(row, inputs[i : i + 1], logits[i : i + 1]) for i, row in enumerate(rows)])


def _penalised_each(row: Row, fed: mx.array, logits: mx.array) -> mx.array:
    """Apply the penalties of one row to its logits (tokens, vocabulary) after each token of `fed`."""
    if not row.processors:
        return logits
    return mx.concatenate([penalise(row, fed[: index + 1], logits[index : index + 1]) for index in range(fed.size)])


def _logprobs_of(row: Row, logits: mx.array, token: mx.array) -> _Logprobs | None:
    """The log-probabilities that a row requests, if any. `logits` is (vocabulary,), without penalties."""
    count = row.sampling.top_logprobs
    if count is None:
        return None
    logprobs = logits - mx.logsumexp(logits)
    top = top_candidates(logprobs[None], count)[0]
    return _Logprobs(logprobs[token], top, logprobs[top])


def _arrays(logprobs: Sequence[_Logprobs | None]) -> list[mx.array]:
    return [array for one in logprobs if one for array in (one.chosen, one.top, one.top_values)]


def _sampled_token(number: int, token: int, logprobs: _Logprobs | None) -> SampledToken:
    if logprobs is None:
        return SampledToken(number, token)
    values = cast("list[float]", logprobs.top_values.tolist())
    return SampledToken(number, token, float(logprobs.chosen), tuple(zip(ints(logprobs.top), values, strict=True)))


def ints(array: mx.array) -> list[int]:
    """The integers in an array. Waits until they are computed."""
    return cast("list[int]", array.tolist())
