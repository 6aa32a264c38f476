"""Drawing tokens from logits, all rows of a batch in one call. Knows neither models nor caches.

A row's tokens depend on its own logits, parameters, seed and position alone: never on its neighbours, so that a seed
gives the same text in any batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import mlx.core as mx
from mlx_lm.sample_utils import make_logits_processors

from pico_jupyter.engine.backends.base import RowSampling

# Takes a row's latest tokens and its logits (1, vocabulary), and returns changed logits.
LogitsProcessor: TypeAlias = Callable[[mx.array, mx.array], mx.array]

_WORD = (1 << 64) - 1


def row_key(seed: int, position: int) -> tuple[int, int]:
    """The random key (two 32-bit words) of the token at `position` of a row with `seed`."""
    mixed = _splitmix64(_splitmix64(seed & _WORD) + position)
    return mixed >> 32, mixed & 0xFFFFFFFF


def _splitmix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)


def logits_processors(sampling: RowSampling) -> list[LogitsProcessor]:
    """The penalties and the bias that a row asked for, in mlx-lm's order; empty for most rows."""

    def active(penalty: float, neutral: float, context_size: int) -> float | None:
        return None if penalty == neutral or context_size == 0 else penalty

    processors: list[LogitsProcessor] = make_logits_processors(
        logit_bias=dict(sampling.logit_bias) or None,
        repetition_penalty=active(sampling.repetition_penalty, 1.0, sampling.repetition_context_size),
        repetition_context_size=sampling.repetition_context_size,
        presence_penalty=active(sampling.presence_penalty, 0.0, sampling.presence_context_size),
        presence_context_size=sampling.presence_context_size,
        frequency_penalty=active(sampling.frequency_penalty, 0.0, sampling.frequency_context_size),
        frequency_context_size=sampling.frequency_context_size,
    )
    return processors


def penalty_window(sampling: RowSampling) -> int:
    """How many of the latest tokens the row's penalties look at; 0 without penalties."""
    sizes = (
        sampling.repetition_context_size if sampling.repetition_penalty != 1.0 else 0,
        sampling.presence_context_size if sampling.presence_penalty != 0.0 else 0,
        sampling.frequency_context_size if sampling.frequency_penalty != 0.0 else 0,
    )
    return max(sizes)


def sample(logprobs: mx.array, rows: Sequence[RowSampling], positions: Sequence[int]) -> mx.array:
    """Draw one token per row. `logprobs` is (rows, vocabulary) float32; the result is (rows,), lazy.

    The filters are mlx-lm's, in its order: top_p, min_p, top_k on the unscaled distribution, then the temperature.
    """
    greedy = mx.argmax(logprobs, axis=-1)
    if all(row.temperature == 0 for row in rows):
        return greedy
    filtered = _filter(logprobs, rows) if any(_is_filtered(row) for row in rows) else logprobs
    keys = mx.array([row_key(row.seed, position) for row, position in zip(rows, positions, strict=True)], mx.uint32)
    vocabulary = logprobs.shape[-1]
    noise = mx.vmap(lambda key: mx.random.gumbel((vocabulary,), key=key))(keys)
    temperatures = _column([row.temperature or 1.0 for row in rows])
    drawn = mx.argmax(filtered / temperatures + noise, axis=-1)
    return mx.where(mx.array([row.temperature == 0 for row in rows]), greedy, drawn)


def _is_filtered(row: RowSampling) -> bool:
    return row.temperature > 0 and (row.top_p < 1 or row.min_p > 0 or row.top_k > 0)


def _filter(logprobs: mx.array, rows: Sequence[RowSampling]) -> mx.array:
    """Put -inf where a row's top_p, min_p or top_k drops a token."""
    vocabulary = logprobs.shape[-1]
    order = mx.argsort(-logprobs, axis=-1)
    ranked = mx.take_along_axis(logprobs, order, axis=-1)
    probabilities = mx.exp(ranked)
    mass_above = mx.cumsum(probabilities, axis=-1, inclusive=False)
    total = mass_above[:, -1:] + probabilities[:, -1:]
    top_p = _column([row.top_p if row.top_p < 1 else math.inf for row in rows])
    floor = _column([math.log(row.min_p) if row.min_p > 0 else -math.inf for row in rows])
    top_k = _column([row.top_k or vocabulary for row in rows])
    # Tokens that tie with the last one inside top_p stay, as in mlx-lm.
    lowest = mx.where(mass_above < top_p * total, ranked, mx.inf).min(axis=-1, keepdims=True)
    kept = (ranked >= lowest) & (ranked >= ranked[:, :1] + floor) & (mx.arange(vocabulary) < top_k)
    return mx.put_along_axis(logprobs, order, mx.where(kept, ranked, -mx.inf), axis=-1)


def _column(values: Sequence[float]) -> mx.array:
    return mx.array(list(values), mx.float32)[:, None]


def top_candidates(logprobs: mx.array, count: int) -> mx.array:
    """Ids of the `count` likeliest tokens of one row, falling. `logprobs` is (vocabulary,)."""
    count = min(count, logprobs.shape[-1])
    best = mx.argpartition(-logprobs, kth=count - 1)[:count] if count < logprobs.shape[-1] else mx.arange(count)
    return best[mx.argsort(-logprobs[best])]
