"""The contract of Backend, for the fake and for the real backend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pico_jupyter.engine.backend import Backend, RowSampling
from pico_jupyter.engine.backends.lm import LmBackend
from tests.engine.tiny_models import full_attention
from tests.fakes.backend import FakeBackend

GREEDY = RowSampling()
PROMPT = [5, 9, 2, 7, 11]


@pytest.fixture(params=["fake", "lm"])
def backend(request: pytest.FixtureRequest) -> Backend:
    makers: dict[str, Callable[[], Backend]] = {
        "fake": lambda: FakeBackend(load_steps=2),
        "lm": lambda: LmBackend(full_attention(), "tiny"),
    }
    made = makers[request.param]()
    for _ in range(100):
        if made.load_step() == 0:
            return made
    raise AssertionError("loading never ended")


def prefill(backend: Backend, row: int, limit: int = 100) -> None:
    while backend.prefill([row], limit)[row]:
        pass


def tokens(backend: Backend, count: int, rows: list[int]) -> dict[int, list[int]]:
    """The next `count` tokens of each row. Further tokens are dropped."""
    return {row: one[:count] for row, one in collected(backend, count, rows).items()}


def collected(backend: Backend, count: int, rows: list[int]) -> dict[int, list[int]]:
    """Step until each row has returned `count` tokens; a row may return more."""
    output: dict[int, list[int]] = {row: [] for row in rows}
    for _ in range(count + 5):
        if all(len(one) >= count for one in output.values()):
            break
        for sampled in backend.step():
            output[sampled.row].append(sampled.token)
    return output


def alone(backend: Backend, row: int, prompt: list[int], sampling: RowSampling = GREEDY) -> list[int]:
    backend.insert({row: sampling}, prompt)
    prefill(backend, row)
    (output,) = tokens(backend, 6, [row]).values()
    backend.remove([row], keep=False)
    return output


def test_a_step_without_rows_returns_nothing(backend: Backend) -> None:
    assert backend.step() == []
    assert backend.cache_nbytes == 0


def test_weights_have_a_size(backend: Backend) -> None:
    assert backend.weights_nbytes > 0


def test_a_step_returns_at_most_one_token_of_a_row(backend: Backend) -> None:
    backend.insert({1: GREEDY}, PROMPT)
    prefill(backend, 1)
    for _ in range(5):
        assert len(backend.step()) <= 1


def test_a_prompt_of_one_token_is_enough(backend: Backend) -> None:
    assert len(alone(backend, 1, [3])) == 6


def test_nothing_is_sampled_before_the_prompt_is_prefilled(backend: Backend) -> None:
    backend.insert({1: GREEDY}, PROMPT)
    assert backend.prefill([1], 2)[1] > 0
    for _ in range(3):
        assert backend.step() == []


def test_prefill_counts_down_to_zero(backend: Backend) -> None:
    backend.insert({1: GREEDY}, list(range(1, 21)))
    remaining = [backend.prefill([1], 4)[1]]
    while remaining[-1]:
        remaining.append(backend.prefill([1], 4)[1])
    assert remaining == sorted(remaining, reverse=True)
    assert 4 <= len(remaining) <= 5


def test_the_size_of_prefill_chunks_does_not_change_the_answer(backend: Backend) -> None:
    answers = []
    for row, limit in enumerate((1, 2, 3, 100)):
        backend.insert({row: GREEDY}, PROMPT)
        prefill(backend, row, limit)
        answers.append(tokens(backend, 6, [row])[row])
        backend.remove([row], keep=False)
    assert answers == [answers[0]] * 4


def test_rows_that_share_a_prompt_are_sampled_separately(backend: Backend) -> None:
    hot = {row: RowSampling(temperature=1.5, seed=row) for row in (1, 2, 3)}
    backend.insert(hot, PROMPT)
    prefill(backend, 1)
    together = tokens(backend, 6, [1, 2, 3])
    backend.remove([1, 2, 3], keep=False)
    assert together == {row: alone(backend, row, PROMPT, sampling) for row, sampling in hot.items()}
    assert len({tuple(one) for one in together.values()}) == 3


def test_a_row_that_is_inserted_later_does_not_change_the_others(backend: Backend) -> None:
    expected = [alone(backend, 1, PROMPT), alone(backend, 2, [1, 2, 3])]
    backend.insert({1: GREEDY}, PROMPT)
    prefill(backend, 1)
    first = collected(backend, 2, [1])[1]
    backend.insert({2: GREEDY}, [1, 2, 3])
    prefill(backend, 2)
    rest = collected(backend, 6, [1, 2])
    assert (first + rest[1])[:6] == expected[0]
    assert rest[2][:6] == expected[1]


def test_a_row_that_is_removed_does_not_change_the_others(backend: Backend) -> None:
    expected = alone(backend, 9, PROMPT)
    for row, prompt in ((1, [4, 4, 4, 4, 4, 4, 4]), (2, PROMPT), (3, [8])):
        backend.insert({row: GREEDY}, prompt)
        prefill(backend, row)
    output = collected(backend, 2, [1, 2, 3])[2]
    backend.remove([1, 3], keep=False)
    assert (output + tokens(backend, 4, [2])[2])[:6] == expected


def test_removed_rows_return_no_tokens_and_free_their_memory(backend: Backend) -> None:
    backend.insert({1: GREEDY, 2: GREEDY}, PROMPT)
    prefill(backend, 1)
    backend.step()
    assert backend.cache_nbytes > 0
    backend.remove([1, 2], keep=False)
    assert backend.step() == []
    assert backend.cache_nbytes == 0


def test_a_row_may_be_removed_while_it_is_prefilled(backend: Backend) -> None:
    backend.insert({1: GREEDY}, PROMPT)
    backend.prefill([1], 2)[1]
    backend.remove([1], keep=False)
    assert backend.step() == []
    assert backend.cache_nbytes == 0


def test_removing_unknown_rows_does_nothing(backend: Backend) -> None:
    backend.remove([77], keep=False)
    assert len(alone(backend, 1, PROMPT)) == 6


def test_only_rows_that_ask_get_log_probabilities(backend: Backend) -> None:
    backend.insert({1: GREEDY}, PROMPT)
    prefill(backend, 1)
    backend.insert({2: RowSampling(top_logprobs=3), 3: RowSampling(top_logprobs=0)}, PROMPT)
    prefill(backend, 2)
    output = {}
    for _ in range(4):
        output.update({sampled.row: sampled for sampled in backend.step()})
    assert output[1].logprob is None
    assert output[1].top == ()
    assert output[2].logprob is not None
    assert output[2].logprob <= 0
    assert output[2].top[0][0] == output[2].token
    assert [value for _, value in output[2].top] == sorted((value for _, value in output[2].top), reverse=True)
    assert len(output[2].top) == 3
    assert output[3].logprob == pytest.approx(output[2].logprob, abs=1e-4)
    assert output[3].top == ()


def test_a_closed_backend_has_no_caches(backend: Backend) -> None:
    backend.insert({1: GREEDY}, PROMPT)
    prefill(backend, 1)
    backend.step()
    backend.close()
    assert backend.cache_nbytes == 0


def test_the_repr_counts_the_rows(backend: Backend) -> None:
    backend.insert({1: GREEDY, 2: GREEDY}, PROMPT)
    assert "2" in repr(backend)
