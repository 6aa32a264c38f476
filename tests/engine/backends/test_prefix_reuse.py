"""Prompts with the beginning of earlier ones, on real models with every kind of cache: same tokens, less computed."""

from __future__ import annotations

import gc

import mlx.core as mx
import pytest

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from tests.engine.backends.conductor import GREEDY, KINDS, Conductor, answer_of, backend_for, tiny_model

CUTTABLE = ["full attention", "quantised"]
CHECKPOINTED = ["sliding window", "convolution", "unmergeable"]
SYSTEM = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
ROOM = 1 << 30


def warm(kind: str, limit: int = ROOM) -> tuple[Conductor, PrefixCache]:
    prefixes = PrefixCache(limit, block=4, min_shared=2)
    return Conductor(backend_for(kind, prefixes)), prefixes


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_turn_of_a_conversation_computes_only_new_tokens(kind: str) -> None:
    conductor, _ = warm(kind)
    first = conductor.answer(1, SYSTEM)
    second = [*SYSTEM, *first, 30, 31]
    assert conductor.answer(2, second) == answer_of(kind, tuple(second))
    assert conductor.cached[2] == len(SYSTEM) + len(first)


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_without_the_earlier_reasoning_reuses_the_prompt(kind: str) -> None:
    conductor, _ = warm(kind)
    first = conductor.answer(1, SYSTEM)
    second = [*SYSTEM[:-1], first[-1], 30, 31]
    assert conductor.answer(2, second) == answer_of(kind, tuple(second))
    expected = len(SYSTEM) - 1 if kind in CUTTABLE else len(SYSTEM) - 3
    assert conductor.cached[2] == expected, "the boundary is three tokens before the end"


@pytest.mark.parametrize("kind", CUTTABLE)
def test_a_new_question_reuses_the_whole_system_message(kind: str) -> None:
    conductor, _ = warm(kind)
    conductor.answer(1, [*SYSTEM, 40, 41, 42, 43, 44])
    other = [*SYSTEM, 50, 51, 52, 53, 54]
    assert conductor.answer(2, other) == answer_of(kind, tuple(other))
    assert conductor.cached[2] == len(SYSTEM)


@pytest.mark.parametrize("kind", CHECKPOINTED)
def test_a_boundary_at_the_end_of_a_system_message_makes_it_reusable(kind: str) -> None:
    conductor, _ = warm(kind)
    for row, question in enumerate(([40] * 6, [41] * 7)):
        prompt = [*SYSTEM, *question]
        assert conductor.answer(row, prompt, boundaries=[len(SYSTEM), len(prompt) - 3]) == answer_of(
            kind, tuple(prompt)
        )
    assert conductor.cached[1] == len(SYSTEM)


@pytest.mark.parametrize("kind", CHECKPOINTED)
def test_caches_that_are_not_trimmable_get_a_checkpoint_where_conversations_diverge(kind: str) -> None:
    conductor, _ = warm(kind)
    long = SYSTEM * 5
    questions = [[*long, *([first] * 5)] for first in (40, 41, 42)]
    for row, question in enumerate(questions):
        assert conductor.answer(row, question) == answer_of(kind, tuple(question))
    assert [conductor.cached[row] for row in range(3)] == [0, 0, len(long)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_follower_uses_the_tokens_of_its_leader(kind: str) -> None:
    conductor, _ = warm(kind)
    leader, follower = [*SYSTEM, 40, 41, 42], [*SYSTEM, 50, 51, 52]
    conductor.admit(1, leader)
    conductor.backend.keep(1, len(SYSTEM))
    while conductor.backend.match(follower) < len(SYSTEM):
        assert conductor.backend.prefill([1], 3)[1] > 0
    conductor.admit(2, follower)
    conductor.finish()
    assert conductor.cached[2] == len(SYSTEM)
    assert conductor.tokens == {row: answer_of(kind, tuple(prompt)) for row, prompt in ((1, leader), (2, follower))}


@pytest.mark.parametrize("kind", KINDS)
def test_an_aborted_prefill_is_continued(kind: str) -> None:
    conductor, _ = warm(kind)
    conductor.admit(1, SYSTEM)
    conductor.backend.prefill([1], 9)
    conductor.remove([1])
    assert conductor.answer(2, SYSTEM) == answer_of(kind, tuple(SYSTEM))
    assert conductor.cached[2] == 9


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_removed_without_keep_cache_nothing(kind: str) -> None:
    conductor, prefixes = warm(kind)
    conductor.admit(1, SYSTEM)
    conductor.backend.prefill([1], 9)
    conductor.remove([1], keep=False)
    assert prefixes.nbytes == 0


@pytest.mark.parametrize("kind", KINDS)
def test_logits_after_a_restored_beginning_equal_those_of_a_full_prefill(kind: str) -> None:
    whole, restored = (tiny_prefill(kind, is_warm=is_warm) for is_warm in (False, True))
    assert mx.allclose(whole, restored, atol=1e-4).item()


def tiny_prefill(kind: str, *, is_warm: bool) -> mx.array:
    """The logits after SYSTEM and two tokens, with a computed or a restored cache."""
    conductor, _ = warm(kind)
    prompt = [*SYSTEM, 33, 34]
    if is_warm:
        conductor.admit(1, [*SYSTEM, 40, 41])
        conductor.backend.keep(1, len(SYSTEM))
        conductor.finish()
    conductor.admit(2, prompt)
    assert conductor.cached[2] == (len(SYSTEM) if is_warm else 0)
    backend = conductor.backend
    (prefill,) = backend._prefills
    logits: mx.array = tiny_model(kind)(mx.array([prompt[prefill.computed :]]), cache=prefill.cache)
    return logits[0, -1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_requeued_row_continues_with_the_same_tokens(kind: str) -> None:
    seeded = RowSampling(temperature=1.0, seed=11)
    conductor, _ = warm(kind)
    expected = conductor.answer(1, SYSTEM, seeded)
    backend = backend_for(kind)
    backend.insert({2: seeded}, [*SYSTEM, *expected[:3]], generated=3)
    while backend.prefill([2], 4)[2]:
        pass
    output: list[int] = []
    while len(output) < len(expected) - 3:
        output += [sampled.token for sampled in backend.step()]
    assert output == expected[3:]


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimate_is_near_the_size_of_the_cache(kind: str) -> None:
    backend = backend_for(kind)
    backend.insert({1: GREEDY}, list(range(1, 31)))
    while backend.prefill([1], 30)[1]:
        pass
    backend.step()
    backend.step()
    assert backend.cache_nbytes <= backend.estimate_cache(32) * 1.01
    assert backend.cache_nbytes >= backend.estimate_cache(32) * 0.5


def test_rows_of_very_different_lengths_decode_in_separate_batches() -> None:
    backend = LmBackend(tiny_model("full attention"), "tiny", small_padding=0)
    prompts = {1: [3] * 900, 2: [4] * 20, 3: [5] * 30, 4: [6] * 880}
    for row, prompt in prompts.items():
        backend.insert({row: GREEDY}, prompt)
        while backend.prefill([row], 1000)[row]:
            pass
    assert [sorted(row.number for row in batch.rows) for batch in backend._batches] == [[1, 4], [2, 3]]


def test_evicting_all_prefixes_leaves_only_the_weights_in_memory() -> None:
    backend_for("full attention").load_step()
    conductor, prefixes = warm("full attention")
    settle()
    before = mx.get_active_memory()
    for row in range(4):
        conductor.admit(row, [*SYSTEM, row, row + 1])
    for _ in range(9):
        conductor.step()
    conductor.remove([0, 1, 2, 3])
    assert prefixes.nbytes > 0
    prefixes.evict(prefixes.nbytes)
    settle()
    assert mx.get_active_memory() == before


def settle() -> None:
    mx.synchronize()
    gc.collect()
