"""Log-probabilities of prompts by LmBackend. One forward pass over the whole prompt is the oracle."""

from __future__ import annotations

import mlx.core as mx
import pytest

from pico_jupyter.engine.backend import DraftModel, RowSampling, SampledToken
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from tests.engine.backends.conductor import ANSWER, Conductor, answer_of, backend_for, tiny_model
from tests.engine.tiny_models import TINY_MODELS

TOP = 3
SCORED = RowSampling(top_logprobs=TOP)
PROMPT = [1, 9, 2, 60, 41, 7, 8, 8, 3, 5, 13, 21, 34, 55, 2, 1, 3, 4, 7, 11, 18, 29, 47, 6, 10, 16, 26, 42, 4, 46]


def first_token(backend: LmBackend, row: int, limit: int) -> SampledToken:
    """Prefill a row in chunks of `limit` tokens, and return its first token."""
    while backend.prefill([row], limit)[row]:
        pass
    for _ in range(3):
        for sampled in backend.step():
            if sampled.row == row:
                return sampled
    raise AssertionError("no token was sampled")


def assert_right(kind: str, prompt: list[int], scores: tuple[SampledToken, ...]) -> None:
    logits = tiny_model(kind)(mx.array([prompt]))[0].astype(mx.float32)
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    assert [score.token for score in scores] == prompt[1:]
    for position, score in enumerate(scores):
        assert score.logprob == pytest.approx(logprobs[position, score.token].item(), abs=1e-4)
        likeliest = mx.sort(logprobs[position])[::-1][:TOP].tolist()
        assert [value for _, value in score.top] == pytest.approx(likeliest, abs=1e-4)


@pytest.mark.parametrize("kind", TINY_MODELS)
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_scores_are_those_of_one_forward_pass(kind: str, limit: int) -> None:
    backend = backend_for(kind)
    assert backend.insert({1: SCORED}, PROMPT, boundaries=[4, 20], scores_prompt=True) == 0
    assert_right(kind, PROMPT, first_token(backend, 1, limit).prompt)


@pytest.mark.parametrize("kind", TINY_MODELS)
def test_scores_of_a_cached_prompt_are_computed_again(kind: str) -> None:
    conductor = Conductor(backend_for(kind, PrefixCache(1 << 30, block=4, min_shared=2)))
    conductor.answer(1, PROMPT)
    assert conductor.backend.match(PROMPT) > 0
    assert conductor.backend.insert({2: SCORED}, PROMPT, scores_prompt=True) == 0
    assert_right(kind, PROMPT, first_token(conductor.backend, 2, 12).prompt)


@pytest.mark.parametrize("kind", TINY_MODELS)
def test_other_rows_have_the_same_tokens(kind: str) -> None:
    conductor = Conductor(backend_for(kind))
    conductor.admit(1, PROMPT[:5])
    conductor.step()
    conductor.backend.insert({2: SCORED}, PROMPT, scores_prompt=True)
    conductor.prefilling.append(2)
    conductor.tokens[2] = []
    conductor.running.add(2)
    conductor.admit(3, PROMPT[3:9])
    conductor.finish()
    for row, prompt in ((1, PROMPT[:5]), (2, PROMPT), (3, PROMPT[3:9])):
        assert conductor.tokens[row] == answer_of(kind, tuple(prompt))[:ANSWER]


def test_all_rows_of_a_prompt_receive_its_scores_with_their_first_token() -> None:
    backend = backend_for("full attention")
    backend.insert({1: SCORED, 2: SCORED}, PROMPT, scores_prompt=True)
    backend.prefill([1], 100)
    sampled = [token for _ in range(4) for token in backend.step()]
    for row in (1, 2):
        first, *others = [token for token in sampled if token.row == row]
        assert_right("full attention", PROMPT, first.prompt)
        assert not any(token.prompt for token in others)


def test_scores_do_not_depend_on_a_draft_model() -> None:
    backend = backend_for("full attention")
    draft = DraftModel(backend_for("full attention"), 4)
    backend.insert({1: SCORED}, PROMPT, draft=draft, scores_prompt=True)
    assert_right("full attention", PROMPT, first_token(backend, 1, 12).prompt)


def test_penalties_change_no_score() -> None:
    backend = backend_for("full attention")
    sampling = RowSampling(top_logprobs=TOP, repetition_penalty=2.0, logit_bias=((5, 100.0),))
    backend.insert({1: sampling}, PROMPT, scores_prompt=True)
    assert_right("full attention", PROMPT, first_token(backend, 1, 12).prompt)


def test_a_removed_row_leaves_no_scores() -> None:
    backend = backend_for("full attention")
    backend.insert({1: SCORED}, PROMPT, scores_prompt=True)
    backend.prefill([1], 100)
    backend.remove([1], keep=True)
    assert backend._scores == {}
