"""Drawing tokens from logits, all rows of a batch in one call. Knows neither models nor caches.

Invariants: a row's token depends on its own logits, parameters, seed and position alone, never on its neighbours, so
that a seed gives the same text in any batch. Its randomness belongs to token ids and not to ranks, so that two models
that nearly agree nearly always draw the same token. Nothing here waits for the device: the way to draw a row follows
from its parameters, and each way is exact whatever the logits are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import mlx.core as mx
from mlx_lm.sample_utils import make_logits_processors

from pico_jupyter.engine.backend import RowSampling

# Takes a row's latest tokens and its logits (1, vocabulary), and returns changed logits.
LogitsProcessor: TypeAlias = Callable[[mx.array, mx.array], mx.array]

# How a row is drawn: the likeliest token, one of all tokens, of those inside top_p, or of the `top_k` likeliest.
_Way: TypeAlias = Literal["greedy", "plain", "nucleus", "ranked"]

_WORD = (1 << 64) - 1
_LOG2_E = math.log2(math.e)
# Dividing by less overflows; at this temperature no other than the likeliest token is ever drawn.
_COLDEST = 1e-30
_FEWEST_CANDIDATES = 64
# On a CPU longer rows are cut down by partitions before they are sorted; a GPU partitions by sorting.
_SORTED_AT_ONCE = 512


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


def sample(logits: mx.array, rows: Sequence[RowSampling], positions: Sequence[int]) -> mx.array:
    """Draw one token per row. `logits` is (rows, vocabulary) float32; the result is (rows,), lazy.

    A row's logits may be off by a constant, so log-probabilities do as well. The filters are mlx-lm's, in its order:
    top_p, min_p, top_k on the distribution itself, then the temperature. Tokens that tie at the edge of top_p all stay;
    of those that tie at the edge of top_k some stay, `top_k` in all.
    """
    groups: dict[tuple[_Way, int], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(_way(row, logits.shape[-1]), []).append(index)
    if len(groups) == 1:
        ((way, count),) = groups
        return _draw(way, count, logits, rows, positions)
    drawn = [
        _draw(way, count, logits[mx.array(own)], [rows[index] for index in own], [positions[index] for index in own])
        for (way, count), own in groups.items()
    ]
    grouped = [index for own in groups.values() for index in own]
    return mx.concatenate(drawn)[mx.argsort(mx.array(grouped))]


def _way(row: RowSampling, vocabulary: int) -> tuple[_Way, int]:
    """How to draw a row; and how many candidates to rank, a number that depends on no other row."""
    if row.temperature == 0:
        return "greedy", 0
    if 0 < row.top_k < vocabulary:
        return "ranked", min(max(1 << (row.top_k - 1).bit_length(), _FEWEST_CANDIDATES), vocabulary)
    return ("nucleus" if row.top_p < 1 else "plain"), 0


def _draw(way: _Way, count: int, logits: mx.array, rows: Sequence[RowSampling], positions: Sequence[int]) -> mx.array:
    """Draw rows that are all drawn in one way."""
    if way == "greedy":
        return mx.argmax(logits, axis=-1)
    keys = mx.array([row_key(row.seed, position) for row, position in zip(rows, positions, strict=True)], mx.uint32)
    relative = logits - logits.max(axis=-1, keepdims=True)
    return _draw_ranked(relative, rows, keys, count) if way == "ranked" else _draw_any(relative, rows, keys)


def _draw_any(relative: mx.array, rows: Sequence[RowSampling], keys: mx.array) -> mx.array:
    """Draw from the whole vocabulary. `relative` are logits with 0 as their largest."""
    scores = relative / _temperatures(rows) - _handicaps(keys, mx.arange(relative.shape[-1], dtype=mx.uint32)[None])
    if any(row.min_p > 0 for row in rows):
        scores = mx.where(relative >= _floors(rows), scores, -mx.inf)
    if any(row.top_p < 1 for row in rows):
        weights = _exp(relative)
        scores = mx.where(weights >= _least_inside(weights, rows), scores, -mx.inf)
    return mx.argmax(scores, axis=-1)


def _draw_ranked(relative: mx.array, rows: Sequence[RowSampling], keys: mx.array, count: int) -> mx.array:
    """Draw from the `count` likeliest tokens, among which is every token that top_k leaves."""
    tokens = _likeliest(relative, count)
    ranked = mx.take_along_axis(relative, tokens, axis=-1)
    kept = (mx.arange(count) < _column([row.top_k for row in rows])) & (ranked >= _floors(rows))
    if any(row.top_p < 1 for row in rows):
        wanted = _wanted_mass(_exp(relative), rows)
        inside = _mass_above(_exp(ranked)) < wanted
        kept &= ranked >= mx.where(inside, ranked, mx.inf).min(axis=-1, keepdims=True)
    scores = mx.where(kept, ranked / _temperatures(rows) - _handicaps(keys, tokens), -mx.inf)
    return mx.take_along_axis(tokens, mx.argmax(scores, axis=-1, keepdims=True), axis=-1)[:, 0]


def _least_inside(weights: mx.array, rows: Sequence[RowSampling]) -> mx.array:
    """The smallest weight in each row that top_p keeps: those above it have less than top_p of the mass. (rows, 1).

    A partition cuts the row into a lower and an upper half. The half with the weight in question is cut again, until
    little is left to sort. So the weight is found exactly, and at the price of about two partitions of the row.
    """
    wanted = _wanted_mass(weights, rows)
    halvings = 0
    if mx.default_device() == mx.Device(mx.cpu):
        halvings = max(0, math.ceil(math.log2(weights.shape[-1] / _SORTED_AT_ONCE)))
    # Floats that are not negative are in the order of their bits, and whole numbers are much faster to sort.
    left = mx.pad(weights.view(mx.int32), [(0, 0), (0, -weights.shape[-1] % (1 << halvings))])
    above = mx.zeros_like(wanted)
    for _ in range(halvings):
        half = left.shape[-1] // 2
        left = mx.partition(left, half, axis=-1)
        lower, upper = left[:, :half], left[:, half:]
        mass = above + upper.view(mx.float32).sum(axis=-1, keepdims=True)
        is_upper = mass >= wanted
        left, above = mx.where(is_upper, upper, lower), mx.where(is_upper, above, mass)
    falling = mx.sort(left, axis=-1)[:, ::-1].view(mx.float32)
    inside = above + _mass_above(falling) < wanted
    return mx.where(inside, falling, mx.inf).min(axis=-1, keepdims=True)


def _wanted_mass(weights: mx.array, rows: Sequence[RowSampling]) -> mx.array:
    """How much of each row's mass top_p asks for, (rows, 1); infinite for rows without it."""
    top_p = _column([row.top_p if row.top_p < 1 else math.inf for row in rows])
    return top_p * weights.sum(axis=-1, keepdims=True)


def _mass_above(falling: mx.array) -> mx.array:
    return mx.cumsum(falling, axis=-1, inclusive=False)


def _likeliest(logits: mx.array, count: int) -> mx.array:
    """Ids of the `count` likeliest tokens of each row, falling. `logits` is (rows, vocabulary).

    They lie in the `count` blocks with the largest maxima, so most of a long row is read only once.
    """
    rows, vocabulary = logits.shape
    size = int(math.sqrt(vocabulary / count))
    blocks = vocabulary // size
    if size < 4:
        tokens = mx.broadcast_to(mx.arange(vocabulary, dtype=mx.uint32), logits.shape)
    else:
        # Block b holds the tokens b, b + blocks, b + 2 * blocks ...; those left over at the end are candidates too.
        maxima = logits[:, : size * blocks].reshape(rows, size, blocks).max(axis=1)
        heads = mx.argpartition(-maxima, kth=count - 1, axis=-1)[:, :count]
        members = heads[:, None] + mx.arange(0, size * blocks, blocks, dtype=mx.uint32)[:, None]
        rest = mx.arange(size * blocks, vocabulary, dtype=mx.uint32)
        tokens = mx.concatenate([members.reshape(rows, -1), mx.broadcast_to(rest, (rows, rest.size))], axis=-1)
    best = mx.argpartition(-mx.take_along_axis(logits, tokens, axis=-1), kth=count - 1, axis=-1)[:, :count]
    return _fall(logits, mx.take_along_axis(tokens, best, axis=-1))


def _fall(logits: mx.array, tokens: mx.array) -> mx.array:
    """Sort each row's token ids by falling logit."""
    order = mx.argsort(-mx.take_along_axis(logits, tokens, axis=-1), axis=-1)
    return mx.take_along_axis(tokens, order, axis=-1)


def _handicaps(keys: mx.array, tokens: mx.array) -> mx.array:
    """Gumbel noise, negated, a function of a row's key and a token's id; the largest score less it is a fair draw.

    `keys` is (rows, 2) uint32 and `tokens` (rows or 1, any) uint32. mlx's own noise goes by place, so it would have to
    be made for the whole vocabulary even where only a few tokens are left.
    """
    word = tokens * _u32(0x9E3779B1) + keys[:, :1]
    word = (word ^ (word >> 16)) * _u32(0x7FEB352D)
    word = word ^ keys[:, 1:]
    word = (word ^ (word >> 15)) * _u32(0x846CA68B)
    word = word ^ (word >> 16)
    # 23 bits and a half: neither 0 nor 1, so the noise is finite.
    uniform = ((word >> 9).astype(mx.float32) + 0.5) * 2.0**-23
    return mx.log(-mx.log(uniform))


def _u32(value: int) -> mx.array:
    return mx.array(value, mx.uint32)


def _exp(logits: mx.array) -> mx.array:
    # In mlx's build for Linux exp() takes more than twice the time of a power.
    return mx.power(2.0, logits * _LOG2_E)


def _temperatures(rows: Sequence[RowSampling]) -> mx.array:
    return _column([max(row.temperature, _COLDEST) for row in rows])


def _floors(rows: Sequence[RowSampling]) -> mx.array:
    """The logits below which min_p drops tokens, when the largest is 0."""
    return _column([math.log(row.min_p) if row.min_p > 0 else -math.inf for row in rows])


def _column(values: Sequence[float]) -> mx.array:
    return mx.array(list(values), mx.float32)[:, None]


def top_candidates(logprobs: mx.array, count: int) -> mx.array:
    """Ids of the `count` likeliest tokens of one row, falling. `logprobs` is (vocabulary,)."""
    return _likeliest(logprobs[None], min(count, logprobs.shape[-1]))[0]
