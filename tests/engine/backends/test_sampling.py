"""Sampling: the samplers of mlx-lm are the oracle, row by row."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import cast

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_logits_processors

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends.sampling import (
    _min_kept_weight,
    logits_processors,
    penalty_window,
    row_key,
    sample,
    top_candidates,
)

VOCABULARY = 50
# Long enough for all shortcuts: blocks before ranking, partitions before sorting.
LONG_VOCABULARY = 5000
# Makes all tokens that the filters keep equally likely.
HOTTEST = 1e30


def logprobs(rows: int, seed: int = 0, vocabulary: int = VOCABULARY) -> mx.array:
    logits = 3 * mx.random.normal((rows, vocabulary), key=mx.random.key(seed))
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def samples(distribution: mx.array, row: RowSampling, count: int) -> list[int]:
    """`count` samples for one row, at the positions 0, 1, 2, ..."""
    many = mx.broadcast_to(distribution, (count, distribution.shape[-1]))
    return cast("list[int]", sample(many, [row] * count, range(count)).tolist())


def kept(filtered: mx.array) -> list[list[int]]:
    table = cast("list[list[float]]", filtered.tolist())
    return [[token for token, value in enumerate(row) if value > -math.inf] for row in table]


def upstream(distribution: mx.array, row: RowSampling) -> mx.array:
    """The filters of mlx-lm for one row."""
    if row.top_p < 1:
        distribution = apply_top_p(distribution, row.top_p)
    if row.min_p:
        distribution = apply_min_p(distribution, row.min_p)
    return apply_top_k(distribution, row.top_k) if row.top_k else distribution


def distance(sampled: Sequence[int], expected: mx.array) -> float:
    """The total variation distance between the frequencies of tokens and their expected probabilities."""
    frequencies = mx.zeros(expected.shape).at[mx.array(list(sampled))].add(1 / len(sampled))
    return float((frequencies - expected).abs().sum()) / 2


filters = st.builds(
    RowSampling,
    temperature=st.just(HOTTEST),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 49]),
    seed=st.integers(0, 1000),
)


@settings(deadline=None, max_examples=20)
@given(rows=st.lists(filters, min_size=1, max_size=4), seed=st.integers(0, 100))
def test_a_row_samples_exactly_the_tokens_that_mlx_lm_keeps(rows: list[RowSampling], seed: int) -> None:
    distribution = logprobs(len(rows), seed)
    count = 1500  # a kept token is missed with a probability of at most 0.98 ** 1500
    many = mx.repeat(distribution, count, axis=0)
    sampled = sample(many, [row for row in rows for _ in range(count)], [*range(count)] * len(rows))
    ours = [sorted(set(tokens)) for tokens in cast("list[list[int]]", sampled.reshape(-1, count).tolist())]
    theirs = [kept(upstream(distribution[index : index + 1], row))[0] for index, row in enumerate(rows)]
    assert ours == theirs


@pytest.mark.parametrize(
    "row",
    [
        RowSampling(temperature=HOTTEST, top_p=0.7),
        RowSampling(temperature=HOTTEST, top_k=30),
        RowSampling(temperature=HOTTEST, top_k=100, top_p=0.6),
        RowSampling(temperature=HOTTEST, min_p=0.01),
    ],
    ids=["top_p", "top_k", "both", "min_p"],
)
def test_a_long_vocabulary_is_filtered_as_by_mlx_lm(row: RowSampling) -> None:
    distribution = logprobs(1, seed=4, vocabulary=LONG_VOCABULARY) * 1.3
    distribution -= mx.logsumexp(distribution)
    (theirs,) = kept(upstream(distribution, row))
    assert 10 < len(theirs) < 100
    assert sorted(set(samples(distribution, row, 2000))) == theirs


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("length", [10, 512, 513, 5000, 20_000])
def test_the_edge_of_top_p_is_found_exactly(length: int, top_p: float) -> None:
    # Integers, so that sums are exact in any order. Many of them are equal.
    weights = mx.random.randint(0, 100, (3, length), key=mx.random.key(length)).astype(mx.float32)
    table = cast("list[list[float]]", weights.tolist())
    wanted = [float(mx.array(top_p) * sum(row)) for row in table]
    expected = []
    for row, mass in zip(table, wanted, strict=True):
        falling = sorted(row, reverse=True)
        above = list(itertools.accumulate(falling, initial=0.0))
        expected.append(min(weight for weight, mass_above in zip(falling, above, strict=False) if mass_above < mass))
    assert _min_kept_weight(weights, [RowSampling(temperature=1.0, top_p=top_p)] * 3)[:, 0].tolist() == expected


def test_greedy_rows_sample_the_likeliest_token_in_any_batch() -> None:
    distribution = logprobs(3)
    rows = [RowSampling(), RowSampling(temperature=1.0, seed=5), RowSampling()]
    best = cast("list[int]", mx.argmax(distribution, axis=-1).tolist())
    mixed = cast("list[int]", sample(distribution, rows, [0, 0, 0]).tolist())
    assert [mixed[0], mixed[2]] == [best[0], best[2]]
    assert sample(distribution, [RowSampling()] * 3, [0, 0, 0]).tolist() == best


rows_of_any_kind = st.builds(
    RowSampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.001]),
    top_k=st.sampled_from([0, 2, 40, 200, LONG_VOCABULARY]),
    seed=st.integers(-(2**63), 2**63 - 1),
)


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(rows_of_any_kind, min_size=2, max_size=6), position=st.integers(0, 1000), seed=st.integers(0, 9))
def test_a_row_samples_the_same_token_in_any_batch(rows: list[RowSampling], position: int, seed: int) -> None:
    # Rounded like 16-bit logits: many tokens tie.
    distribution = mx.round(logprobs(len(rows), seed, LONG_VOCABULARY) * 8) / 8
    together = sample(distribution, rows, [position] * len(rows)).tolist()
    alone = [sample(distribution[index : index + 1], [row], [position]).item() for index, row in enumerate(rows)]
    assert together == alone


def test_a_constant_added_to_the_logits_changes_nothing() -> None:
    # Integers: an addition does not round.
    logits = mx.random.randint(-20, 0, (5, LONG_VOCABULARY), key=mx.random.key(1)).astype(mx.float32)
    rows = [
        RowSampling(),
        RowSampling(temperature=1.0, seed=1),
        RowSampling(temperature=1.0, top_p=0.9, seed=2),
        RowSampling(temperature=1.0, top_p=0.9, top_k=40, seed=3),
        RowSampling(temperature=1.0, min_p=0.1, seed=4),
    ]
    assert sample(logits, rows, range(5)).tolist() == sample(logits + 1000, rows, range(5)).tolist()


def test_filters_that_drop_only_unlikely_tokens_change_no_sample() -> None:
    distribution = mx.concatenate([logprobs(1, vocabulary=LONG_VOCABULARY - 1), mx.array([[-100.0]])], axis=-1)
    plain, ranked, nucleus = (
        samples(distribution, RowSampling(temperature=0.7, seed=6, top_k=top_k, top_p=top_p), 50)
        for top_k, top_p in ((0, 1.0), (LONG_VOCABULARY - 1, 1.0), (0, 0.999999))
    )
    assert plain == ranked == nucleus


def test_similar_distributions_usually_sample_the_same_token() -> None:
    distribution = logprobs(1)
    other = distribution + 0.05 * mx.random.normal(distribution.shape, key=mx.random.key(9))
    row = RowSampling(temperature=1.0, seed=3)
    pairs = list(zip(samples(distribution, row, 1000), samples(other, row, 1000), strict=True))
    assert sum(one == two for one, two in pairs) > 900
    assert len({one for one, _ in pairs}) > 10


def test_sampling_does_not_wait() -> None:
    rows = [
        RowSampling(),
        RowSampling(temperature=1.0),
        RowSampling(temperature=1.0, top_p=0.9),
        RowSampling(temperature=1.0, top_k=5, top_p=0.9),
    ]
    # mlx raises an error if an array is evaluated while its function is compiled.
    traced = mx.compile(lambda logits: sample(logits, rows, [0] * len(rows)))
    assert traced(logprobs(4, vocabulary=LONG_VOCABULARY)).shape == (4,)


@pytest.mark.parametrize(
    "row",
    [
        RowSampling(temperature=1e-50),
        RowSampling(temperature=1e-5),
        RowSampling(temperature=HOTTEST, top_p=1e-9),
        RowSampling(temperature=HOTTEST, min_p=1.0),
        RowSampling(temperature=HOTTEST, top_k=1),
    ],
    ids=["underflowing temperature", "tiny temperature", "tiny top_p", "min_p of 1", "top_k of 1"],
)
def test_extreme_parameters_leave_the_likeliest_token(row: RowSampling) -> None:
    distribution = logprobs(1, vocabulary=LONG_VOCABULARY)
    assert set(samples(distribution, row, 50)) == {mx.argmax(distribution).item()}


@pytest.mark.parametrize(
    "row",
    [
        RowSampling(temperature=1.0),
        RowSampling(temperature=1.0, top_p=0.9),
        RowSampling(temperature=1.0, top_k=5),
        RowSampling(temperature=1.0, min_p=0.1),
    ],
    ids=["plain", "top_p", "top_k", "min_p"],
)
def test_a_token_with_a_logit_of_minus_infinity_is_never_sampled(row: RowSampling) -> None:
    logits = mx.where(mx.arange(VOCABULARY) < 3, 0.0, -mx.inf)[None]
    assert set(samples(logits, row, 200)) == {0, 1, 2}


def test_seeds_and_positions_give_different_samples() -> None:
    distribution = logprobs(1)
    first, second = (samples(distribution, RowSampling(temperature=1.5, seed=seed), 40) for seed in (1, 2))
    assert first != second
    assert len(set(first)) > 5


def test_keys_differ_for_neighbouring_seeds_and_positions() -> None:
    keys = {row_key(seed, position) for seed in range(-20, 20) for position in range(50)}
    assert len(keys) == 40 * 50


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    "row",
    [
        RowSampling(),
        RowSampling(top_p=0.9),
        RowSampling(top_k=20),
        RowSampling(min_p=0.01),
        RowSampling(top_p=0.95, min_p=0.001, top_k=30),
    ],
    ids=["plain", "top_p", "top_k", "min_p", "all"],
)
def test_samples_follow_the_distribution_of_mlx_lm(row: RowSampling, temperature: float) -> None:
    distribution = logprobs(1)
    expected = mx.softmax(upstream(distribution, row)[0] / temperature)
    sampled = samples(distribution, dataclasses.replace(row, temperature=temperature, seed=1), 20_000)
    # Total variation of an empirical distribution over 50 tokens is about sqrt(50 / (2 pi n)) = 0.02.
    assert distance(sampled, expected) < 0.04


def test_the_noise_of_one_position_is_independent_of_the_next() -> None:
    distribution = mx.zeros((1, 8))
    sampled = samples(distribution, RowSampling(temperature=1.0, seed=11), 40_001)
    pairs = [8 * one + two for one, two in itertools.pairwise(sampled)]
    assert distance(pairs, mx.full((64,), 1 / 64)) < 0.04


def test_candidates_are_in_descending_order() -> None:
    distribution = logprobs(1)
    everything = cast("list[float]", distribution[0].tolist())
    best = cast("list[int]", top_candidates(distribution, 5)[0].tolist())
    assert best == sorted(range(VOCABULARY), key=lambda token: -everything[token])[:5]
    assert top_candidates(distribution, 99).shape == (1, VOCABULARY)
    assert top_candidates(distribution, 0).shape == (1, 0)


@pytest.mark.parametrize("vocabulary", [2, 100, 4096, 5003, 30_000])
@pytest.mark.parametrize("count", [1, 20, 64, 1000])
def test_candidates_of_a_long_vocabulary_are_the_likeliest(vocabulary: int, count: int) -> None:
    distributions = mx.round(logprobs(3, vocabulary=vocabulary) * 8) / 8
    found = cast("list[list[int]]", top_candidates(distributions, count).tolist())
    for distribution, best in zip(distributions, found, strict=True):
        falling = sorted(cast("list[float]", distribution.tolist()), reverse=True)
        assert distribution[mx.array(best)].tolist() == falling[:count]
        assert len(set(best)) == min(count, vocabulary)


def processed(row: RowSampling, tokens: Sequence[int]) -> list[float]:
    logits = logprobs(1)
    for process in logits_processors(row):
        logits = process(mx.array(list(tokens)), logits)
    return cast("list[list[float]]", logits.tolist())[0]


def test_penalties_are_those_of_mlx_lm() -> None:
    row = RowSampling(
        repetition_penalty=1.3,
        repetition_context_size=4,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        logit_bias=((3, 5.0), (9, -100.0)),
    )
    tokens = [1, 2, 3, 3, 3, 4, 5]
    theirs = logprobs(1)
    for process in make_logits_processors(
        {3: 5.0, 9: -100.0},
        repetition_penalty=1.3,
        repetition_context_size=4,
        presence_penalty=0.5,
        frequency_penalty=0.25,
    ):
        theirs = process(mx.array(tokens), theirs)
    assert processed(row, tokens) == cast("list[list[float]]", theirs.tolist())[0]


def test_neutral_penalties_have_no_processor() -> None:
    assert logits_processors(RowSampling()) == []
    assert penalty_window(RowSampling()) == 0


def test_a_context_size_of_zero_turns_its_penalty_off() -> None:
    row = RowSampling(repetition_penalty=2.0, repetition_context_size=0)
    assert logits_processors(row) == []
    assert penalty_window(row) == 0


def test_the_window_is_that_of_the_longest_active_penalty() -> None:
    row = RowSampling(presence_penalty=1.0, presence_context_size=64, frequency_penalty=0.1, frequency_context_size=7)
    assert penalty_window(row) == 64
