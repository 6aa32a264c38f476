"""Samples tokens from logits, for all rows of a batch in one call.

Invariants:
- A row's token depends only on its own logits, parameters, seed and position, so a seed gives the same text in any
  batch.
- The noise depends on a token's id, not on its rank, so two models with similar logits usually sample the same token.
- Sampling does not wait for the device, because the method for a row depends on its parameters and not on its logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import mlx.core as mx
from mlx_lm.sample_utils import make_logits_processors

from pico_jupyter.engine.backend import RowSampling

# A function of a row's latest tokens and its logits (1, vocabulary) that returns changed logits.
LogitsProcessor: TypeAlias = Callable[[mx.array, mx.array], mx.array]

# "greedy" selects the likeliest token. "plain" samples from all tokens, "nucleus" from those that top_p keeps, and
# "ranked" from the `top_k` likeliest.
_Method: TypeAlias = Literal["greedy", "plain", "nucleus", "ranked"]

_MASK_64 = (1 << 64) - 1
_LOG2_E = math.log2(math.e)
# Division by a lower temperature overflows. At this temperature the likeliest token is always sampled.
_MIN_TEMPERATURE = 1e-30
_MIN_CANDIDATES = 64
# On a CPU, longer rows are partitioned before they are sorted. On a GPU, mlx's partition is a sort and saves nothing.
_MAX_SORTED = 512


def row_key(seed: int, position: int) -> tuple[int, int]:
    """The random key (two 32-bit words) of the token at `position` of a row with `seed`."""
    mixed = _splitmix64(_splitmix64(seed & _MASK_64) + position)
    return mixed >> 32, mixed & 0xFFFFFFFF


def _splitmix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK_64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return value ^ (value >> 31)


def logits_processors(sampling: RowSampling) -> list[LogitsProcessor]:
    """The penalties and the bias of a row, in the order of mlx-lm. Empty for most rows."""

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
    """The number of latest tokens to which a row's penalties apply; 0 without penalties."""
    sizes = (
        sampling.repetition_context_size if sampling.repetition_penalty != 1.0 else 0,
        sampling.presence_context_size if sampling.presence_penalty != 0.0 else 0,
        sampling.frequency_context_size if sampling.frequency_penalty != 0.0 else 0,
    )
    return max(sizes)


def sample(logits: mx.array, rows: Sequence[RowSampling], positions: Sequence[int]) -> mx.array:
    """Sample one token for each row. `logits` is (rows, vocabulary) float32; the result is (rows,), lazy.

    `logits` may be log-probabilities. Filters apply in the order of mlx-lm: top_p, min_p and top_k on the unscaled
    distribution, then the temperature. If tokens tie at the edge of a filter, top_p keeps all of them, while top_k
    always keeps exactly `top_k` tokens.
    """
    groups: dict[tuple[_Method, int], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(_method(row, logits.shape[-1]), []).append(index)
    if len(groups) == 1:
        ((method, count),) = groups
        return _sample_group(method, count, logits, rows, positions)
    sampled = [
        _sample_group(method, count, logits[mx.array(group)], [rows[i] for i in group], [positions[i] for i in group])
        for (method, count), group in groups.items()
    ]
    order = [index for group in groups.values() for index in group]
    return mx.concatenate(sampled)[mx.argsort(mx.array(order))]  # back in the order of `rows`


def _method(row: RowSampling, vocabulary: int) -> tuple[_Method, int]:
    """The method for a row, and the number of candidates to rank. Powers of two let more rows share a group."""
    if row.temperature == 0:
        return "greedy", 0
    if 0 < row.top_k < vocabulary:
        return "ranked", min(max(1 << (row.top_k - 1).bit_length(), _MIN_CANDIDATES), vocabulary)
    return ("nucleus" if row.top_p < 1 else "plain"), 0


def _sample_group(
    method: _Method, count: int, logits: mx.array, rows: Sequence[RowSampling], positions: Sequence[int]
) -> mx.array:
    """Sample rows that share a method."""
    if method == "greedy":
        return mx.argmax(logits, axis=-1)
    keys = mx.array([row_key(row.seed, position) for row, position in zip(rows, positions, strict=True)], mx.uint32)
    relative = logits - logits.max(axis=-1, keepdims=True)
    if method == "ranked":
        return _sample_ranked(relative, rows, keys, count)
    return _sample_unranked(relative, rows, keys)


def _sample_unranked(relative: mx.array, rows: Sequence[RowSampling], keys: mx.array) -> mx.array:
    """Sample from the whole vocabulary. `relative` are logits minus the largest logit of the row."""
    noise = _negated_gumbel(keys, mx.arange(relative.shape[-1], dtype=mx.uint32)[None])
    scores = relative / _temperatures(rows) - noise
    if any(row.min_p > 0 for row in rows):
        scores = mx.where(relative >= _min_p_logits(rows), scores, -mx.inf)
    if any(row.top_p < 1 for row in rows):
        weights = _exp(relative)
        scores = mx.where(weights >= _min_kept_weight(weights, rows), scores, -mx.inf)
    return mx.argmax(scores, axis=-1)


def _sample_ranked(relative: mx.array, rows: Sequence[RowSampling], keys: mx.array, count: int) -> mx.array:
    """Sample from the `count` likeliest tokens, which include all tokens that top_k keeps."""
    tokens = _likeliest(relative, count)
    ranked = mx.take_along_axis(relative, tokens, axis=-1)
    kept = (mx.arange(count) < _column([row.top_k for row in rows])) & (ranked >= _min_p_logits(rows))
    if any(row.top_p < 1 for row in rows):
        wanted = _wanted_mass(_exp(relative), rows)
        inside = _mass_above(_exp(ranked)) < wanted
        lowest_inside = mx.where(inside, ranked, mx.inf).min(axis=-1, keepdims=True)
        kept &= ranked >= lowest_inside
    scores = mx.where(kept, ranked / _temperatures(rows) - _negated_gumbel(keys, tokens), -mx.inf)
    return mx.take_along_axis(tokens, mx.argmax(scores, axis=-1, keepdims=True), axis=-1)[:, 0]


def _min_kept_weight(weights: mx.array, rows: Sequence[RowSampling]) -> mx.array:
    """For each row, the smallest weight that top_p keeps, (rows, 1). All larger weights sum to less than top_p.

    A partition splits the row into a lower and an upper half. The half that contains the smallest kept weight is split
    again, until it is short enough to sort. The result is exact and costs about as much as two partitions of the row.
    """
    wanted = _wanted_mass(weights, rows)
    halvings = 0
    if mx.default_device() == mx.Device(mx.cpu):
        halvings = max(0, math.ceil(math.log2(weights.shape[-1] / _MAX_SORTED)))
    # Non-negative floats sort like their bits read as integers, and mlx sorts integers much faster.
    rest = mx.pad(weights.view(mx.int32), [(0, 0), (0, -weights.shape[-1] % (1 << halvings))])
    above = mx.zeros_like(wanted)  # the sum of all weights that are larger than those in `rest`
    for _ in range(halvings):
        half = rest.shape[-1] // 2
        rest = mx.partition(rest, half, axis=-1)
        lower, upper = rest[:, :half], rest[:, half:]
        mass = above + upper.view(mx.float32).sum(axis=-1, keepdims=True)
        is_upper = mass >= wanted
        rest, above = mx.where(is_upper, upper, lower), mx.where(is_upper, above, mass)
    descending = mx.sort(rest, axis=-1)[:, ::-1].view(mx.float32)
    inside = above + _mass_above(descending) < wanted
    return mx.where(inside, descending, mx.inf).min(axis=-1, keepdims=True)


def _wanted_mass(weights: mx.array, rows: Sequence[RowSampling]) -> mx.array:
    """For each row, the sum of weights that top_p keeps, (rows, 1); infinite for rows without top_p."""
    top_p = _column([row.top_p if row.top_p < 1 else math.inf for row in rows])
    return top_p * weights.sum(axis=-1, keepdims=True)


def _mass_above(descending: mx.array) -> mx.array:
    """For each weight, the sum of the larger weights in its row."""
    return mx.cumsum(descending, axis=-1, inclusive=False)


def _likeliest(logits: mx.array, count: int) -> mx.array:
    """The `count` likeliest token ids of each row, the likeliest first. `logits` is (rows, vocabulary).

    The likeliest tokens are in the `count` blocks with the largest maxima, so all other blocks are read only once.
    """
    rows, vocabulary = logits.shape
    size = int(math.sqrt(vocabulary / count))
    blocks = vocabulary // size
    if size < 4:
        tokens = mx.broadcast_to(mx.arange(vocabulary, dtype=mx.uint32), logits.shape)
    else:
        # Block b holds the tokens b, b + blocks, b + 2 * blocks ... All tokens outside the blocks are candidates, too.
        maxima = logits[:, : size * blocks].reshape(rows, size, blocks).max(axis=1)
        best_blocks = mx.argpartition(-maxima, kth=count - 1, axis=-1)[:, :count]
        members = best_blocks[:, None] + mx.arange(0, size * blocks, blocks, dtype=mx.uint32)[:, None]
        rest = mx.arange(size * blocks, vocabulary, dtype=mx.uint32)
        tokens = mx.concatenate([members.reshape(rows, -1), mx.broadcast_to(rest, (rows, rest.size))], axis=-1)
    best = mx.argpartition(-mx.take_along_axis(logits, tokens, axis=-1), kth=count - 1, axis=-1)[:, :count]
    return _sort_descending(logits, mx.take_along_axis(tokens, best, axis=-1))


def _sort_descending(logits: mx.array, tokens: mx.array) -> mx.array:
    """Sort each row's token ids by descending logit."""
    order = mx.argsort(-mx.take_along_axis(logits, tokens, axis=-1), axis=-1)
    return mx.take_along_axis(tokens, order, axis=-1)


def _negated_gumbel(keys: mx.array, tokens: mx.array) -> mx.array:
    """Negated Gumbel noise for each token. The argmax of (scores - noise) is a sample from the softmax of the scores.

    `keys` is (rows, 2) uint32 and `tokens` (rows or 1, any) uint32. The noise is a hash of a row's key and a token id.
    mlx's own noise depends on an index in an array, so even a few candidates would need noise for the whole vocabulary.
    """
    word = tokens * _u32(0x9E3779B1) + keys[:, :1]
    word = (word ^ (word >> 16)) * _u32(0x7FEB352D)
    word = word ^ keys[:, 1:]
    word = (word ^ (word >> 15)) * _u32(0x846CA68B)
    word = word ^ (word >> 16)
    # 23 random bits plus a half: never 0 or 1, so the noise is finite.
    uniform = ((word >> 9).astype(mx.float32) + 0.5) * 2.0**-23
    return mx.log(-mx.log(uniform))


def _u32(value: int) -> mx.array:
    return mx.array(value, mx.uint32)


def _exp(logits: mx.array) -> mx.array:
    # On Linux, mlx computes a power in less than half the time of exp().
    return mx.power(2.0, logits * _LOG2_E)


def _temperatures(rows: Sequence[RowSampling]) -> mx.array:
    return _column([max(row.temperature, _MIN_TEMPERATURE) for row in rows])


def _min_p_logits(rows: Sequence[RowSampling]) -> mx.array:
    """For each row, the logit below which min_p removes tokens, relative to the largest logit."""
    return _column([math.log(row.min_p) if row.min_p > 0 else -math.inf for row in rows])


def _column(values: Sequence[float]) -> mx.array:
    return mx.array(list(values), mx.float32)[:, None]


def top_candidates(logprobs: mx.array, count: int) -> mx.array:
    """The `count` likeliest token ids of each row, the likeliest first. `logprobs` is (rows, vocabulary)."""
    if not count:
        return mx.zeros((logprobs.shape[0], 0), mx.uint32)
    return _likeliest(logprobs, min(count, logprobs.shape[-1]))
