"""The constraint of a row excludes tokens from its logits, and from no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import llguidance
import llguidance.hf
import mlx.core as mx
import numpy as np
import pytest

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends import loading
from pico_jupyter.engine.backends.masking import constrain
from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR, Catalog
from pico_jupyter.engine.structure.constraint import RowConstraint
from pico_jupyter.engine.text.tokenizer import Tokenizer, load_tokenizer
from pico_jupyter.types import EngineOptions


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer(BUILTIN_DIR / "pico-tiny")


@pytest.fixture(scope="module")
def ll_tokenizer(tokenizer: Tokenizer) -> Any:
    return llguidance.hf.from_tokenizer(tokenizer.fast_tokenizer, eos_token=sorted(tokenizer.eos_token_ids))


def row_of(tokenizer: Tokenizer, ll_tokenizer: Any, grammar: str | None, *, sampled: int = 0) -> Row:
    constraint = None
    if grammar is not None:
        constraint = RowConstraint(
            vocab_size=ll_tokenizer.vocab_size,
            token_bytes=tokenizer.token_bytes,
            eos_tokens=sorted(tokenizer.eos_token_ids),
            matcher=llguidance.LLMatcher(ll_tokenizer, grammar),
        )
    return Row(0, RowSampling(constraint=constraint), [], 0, sampled=sampled)


def kept(rows: Sequence[Row], inputs: Sequence[int], vocabulary: int) -> list[set[int]]:
    """For each row, the tokens whose logits are finite. The logits of these tokens must be unchanged."""
    logits = mx.arange(len(rows) * vocabulary, dtype=mx.float32).reshape(len(rows), vocabulary)
    constrained = cast("Any", np.array(constrain(rows, mx.array(list(inputs)), logits)))
    finite = np.isfinite(constrained)
    assert (constrained[finite] == np.array(logits)[finite]).all()
    return [set(np.flatnonzero(row).tolist()) for row in finite]


def test_only_rows_with_a_constraint_are_limited(tokenizer: Tokenizer, ll_tokenizer: Any) -> None:
    rows = [row_of(tokenizer, ll_tokenizer, grammar) for grammar in (None, 'start: "yes"', None)]
    first, second, third = kept(rows, [0, 0, 0], tokenizer.vocab_size)
    assert len(first) == len(third) == tokenizer.vocab_size
    assert {tokenizer.token_bytes(token)[:1] for token in second} == {b"y"}


def test_the_latest_token_of_a_row_is_consumed_once(tokenizer: Tokenizer, ll_tokenizer: Any) -> None:
    row = row_of(tokenizer, ll_tokenizer, 'start: "y" "e"', sampled=1)
    (y,) = tokenizer.encode("y", add_special_tokens=False)
    for _ in range(2):
        (tokens,) = kept([row], [y], tokenizer.vocab_size)
        assert {tokenizer.token_bytes(token) for token in tokens} == {b"e"}


def test_logits_without_a_token_are_excluded(tokenizer: Tokenizer, ll_tokenizer: Any) -> None:
    row = row_of(tokenizer, ll_tokenizer, "start: /.*/")
    (tokens,) = kept([row], [0], tokenizer.vocab_size + 70)
    assert max(tokens) < tokenizer.vocab_size


def test_a_row_that_is_removed_and_added_again_continues_its_grammar(tokenizer: Tokenizer, ll_tokenizer: Any) -> None:
    info = Catalog(EngineOptions(), environ={}, hub_cache=None).find("pico-tiny")
    prompt = tokenizer.encode("Say it:", add_special_tokens=False)

    def decode(backend: Any, sampling: RowSampling, generated: list[int], count: int) -> list[int]:
        backend.insert({1: sampling}, [*prompt, *generated], generated=len(generated))
        while backend.prefill([1], 1000)[1]:
            pass
        tokens: list[int] = []
        while len(tokens) < count:
            tokens += [sampled.token for sampled in backend.step()]
        backend.remove([1], keep=False)
        return tokens

    backend = loading.load(info, 1 << 40)
    while backend.load_step():
        pass
    row = row_of(tokenizer, ll_tokenizer, r'start: "[" /[0-9]{8}/ "]" /[a-z]{8}/')
    whole = decode(backend, row.sampling, [], 12)
    for count in (1, 5, 9):
        assert decode(backend, row.sampling, whole[:count], 12 - count) == whole[count:]


def test_without_constraints_the_logits_are_returned_as_they_are(tokenizer: Tokenizer, ll_tokenizer: Any) -> None:
    logits = mx.zeros((1, 8))
    assert constrain([row_of(tokenizer, ll_tokenizer, None)], mx.array([0]), logits) is logits
