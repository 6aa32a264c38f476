"""Drawing tokens: mlx-lm's samplers are the oracle, row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, make_logits_processors

from pico_jupyter.engine.backends.base import RowSampling
from pico_jupyter.engine.sampling import _filter, logits_processors, penalty_window, row_key, sample, top_candidates

VOCABULARY = 50


def logprobs(rows: int, seed: int = 0) -> mx.array:
    logits = 3 * mx.random.normal((rows, VOCABULARY), key=mx.random.key(seed))
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def draws(distribution: mx.array, row: RowSampling, count: int) -> list[int]:
    """Many draws for one row, at the positions 0, 1, 2, ..."""
    many = mx.broadcast_to(distribution, (count, VOCABULARY))
    return cast("list[int]", sample(many, [row] * count, range(count)).tolist())


def kept(filtered: mx.array) -> list[list[int]]:
    table = cast("list[list[float]]", filtered.tolist())
    return [[token for token, value in enumerate(row) if value > -math.inf] for row in table]


def upstream(distribution: mx.array, row: RowSampling) -> mx.array:
    """mlx-lm's chain of filters for one row."""
    if row.top_p < 1:
        distribution = apply_top_p(distribution, row.top_p)
    if row.min_p:
        distribution = apply_min_p(distribution, row.min_p)
    return apply_top_k(distribution, row.top_k) if row.top_k else distribution


filters = st.builds(
    RowSampling,
    temperature=st.just(1.0),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 49]),
)


@settings(deadline=None, max_examples=20)
@given(rows=st.lists(filters, min_size=1, max_size=5), seed=st.integers(0, 100))
def test_each_row_keeps_the_tokens_that_mlx_lm_would_keep(rows: list[RowSampling], seed: int) -> None:
    distribution = logprobs(len(rows), seed)
    ours = kept(_filter(distribution, rows))
    theirs = [kept(upstream(distribution[index : index + 1], row))[0] for index, row in enumerate(rows)]
    assert ours == theirs


def test_filtered_values_are_the_unfiltered_ones() -> None:
    distribution = logprobs(1)
    filtered = _filter(distribution, [RowSampling(temperature=1.0, top_k=5)])
    (tokens,) = kept(filtered)
    assert filtered[0, mx.array(tokens)].tolist() == distribution[0, mx.array(tokens)].tolist()


def test_greedy_rows_take_the_likeliest_token_in_any_company() -> None:
    distribution = logprobs(3)
    rows = [RowSampling(), RowSampling(temperature=1.0, seed=5), RowSampling()]
    best = cast("list[int]", mx.argmax(distribution, axis=-1).tolist())
    mixed = cast("list[int]", sample(distribution, rows, [0, 0, 0]).tolist())
    assert [mixed[0], mixed[2]] == [best[0], best[2]]
    assert sample(distribution, [RowSampling()] * 3, [0, 0, 0]).tolist() == best


@pytest.mark.parametrize(
    "company",
    [
        RowSampling(),
        RowSampling(temperature=2.0, seed=99),
        RowSampling(temperature=0.7, top_p=0.3, seed=1),
        RowSampling(temperature=0.7, top_k=2, min_p=0.5, seed=7),
    ],
    ids=["greedy", "hot", "top_p", "top_k and min_p"],
)
def test_a_seed_draws_the_same_tokens_in_any_batch(company: RowSampling) -> None:
    own = logprobs(1, seed=3)
    row = RowSampling(temperature=1.0, seed=42)
    alone = [sample(own, [row], [position]).item() for position in range(20)]
    batch = mx.concatenate([logprobs(1, seed=8), own])
    together = [sample(batch, [company, row], [3, position])[1].item() for position in range(20)]
    assert alone == together
    assert len(set(alone)) > 1


def test_seeds_and_positions_give_different_draws() -> None:
    distribution = logprobs(1)
    first, second = (draws(distribution, RowSampling(temperature=1.5, seed=seed), 40) for seed in (1, 2))
    assert first != second
    assert len(set(first)) > 5


def test_keys_differ_for_neighbouring_seeds_and_positions() -> None:
    keys = {row_key(seed, position) for seed in range(-20, 20) for position in range(50)}
    assert len(keys) == 40 * 50


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_distribution_at_its_temperature(temperature: float) -> None:
    distribution = logprobs(1)
    expected = cast("list[float]", mx.softmax(distribution[0] / temperature).tolist())
    count = 20_000
    drawn = draws(distribution, RowSampling(temperature=temperature, seed=1), count)
    # Total variation of an empirical distribution over 50 tokens is about sqrt(50 / (2 pi n)) = 0.02.
    distance = sum(abs(drawn.count(token) / count - p) for token, p in enumerate(expected)) / 2
    assert distance < 0.04


def test_a_filtered_token_is_never_drawn() -> None:
    distribution = logprobs(1)
    row = RowSampling(temperature=2.0, top_k=3, seed=1)
    allowed = set(cast("list[int]", top_candidates(distribution[0], 3).tolist()))
    assert set(draws(distribution, row, 500)) == allowed


def test_candidates_come_in_falling_order() -> None:
    distribution = logprobs(1)[0]
    everything = cast("list[float]", distribution.tolist())
    best = cast("list[int]", top_candidates(distribution, 5).tolist())
    assert best == sorted(range(VOCABULARY), key=lambda token: -everything[token])[:5]
    assert len(cast("list[int]", top_candidates(distribution, 99).tolist())) == VOCABULARY


def processed(row: RowSampling, tokens: Sequence[int]) -> list[float]:
    logits = logprobs(1)
    for process in logits_processors(row):
        logits = process(mx.array(tokens), logits)
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


def test_neutral_penalties_cost_nothing() -> None:
    assert logits_processors(RowSampling()) == []
    assert penalty_window(RowSampling()) == 0


def test_a_context_size_of_zero_turns_its_penalty_off() -> None:
    row = RowSampling(repetition_penalty=2.0, repetition_context_size=0)
    assert logits_processors(row) == []
    assert penalty_window(row) == 0


def test_the_window_is_the_longest_of_the_active_penalties() -> None:
    row = RowSampling(presence_penalty=1.0, presence_context_size=64, frequency_penalty=0.1, frequency_context_size=7)
    assert penalty_window(row) == 64
