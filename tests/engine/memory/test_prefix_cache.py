"""The prefix cache without any model: a whole cache is a list of tokens here, and a block a slice of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.memory.prefix_cache import Found, Kept, ModelPrefixes, PrefixCache, common_length

SYSTEM = list(range(100, 110))
A = [*SYSTEM, 1, 2, 3]
B = [*SYSTEM, 7, 8, 9]


def kept(tokens: list[int]) -> Kept:
    return Kept(list(tokens), len(tokens))


def cut(cache: Any, start: int, end: int) -> Kept:
    return kept(cache[start:end])


class Model:
    """One model's part of a cache with blocks of four tokens, and short ways to use it."""

    def __init__(self, limit: int = 1000, *, is_cuttable: bool = True, least: int = 2) -> None:
        self.cache = PrefixCache(limit, block=4, least=least)
        self.prefixes: ModelPrefixes = self.cache.of("model")
        self.is_cuttable = is_cuttable

    def keep(self, tokens: list[int], turn: int | None = None) -> None:
        turn = len(tokens) if turn is None else turn
        self.prefixes.keep_whole(tokens, kept(tokens), cut, turn=turn, is_cuttable=self.is_cuttable)

    def keep_prefix(self, tokens: list[int], *, checkpoint: bool = False) -> None:
        held = kept(tokens[-1:]) if checkpoint else None
        self.prefixes.keep_blocks(tokens, lambda start, end: kept(tokens[start:end]), held)

    def match(self, tokens: list[int]) -> int:
        return self.prefixes.match(tokens, is_cuttable=self.is_cuttable)

    def take(self, tokens: list[int]) -> Found:
        return self.prefixes.take(tokens, cut, is_cuttable=self.is_cuttable) or Found(0)


def tokens_of(found: Found) -> list[int]:
    whole = found.whole if found.whole is not None else [token for block in found.blocks for token in block]
    return list(whole)[: found.length]


def test_nothing_is_found_in_an_empty_cache() -> None:
    model = Model()
    assert model.match(A) == 0
    assert model.take(A).length == 0


def test_a_conversation_s_next_prompt_takes_its_cache_over() -> None:
    model = Model()
    model.keep(A)
    found = model.take([*A, 4, 5])
    assert found.whole == A
    assert found.length == len(A)
    assert model.cache.nbytes == 0, "it belongs to the taker now"


def test_a_prompt_that_was_answered_before_leaves_one_token_to_compute() -> None:
    model = Model()
    model.keep([*A, 50, 51], turn=len(A) - 1)
    assert model.take(A).length == len(A) - 1


def test_an_answer_whose_reasoning_was_stripped_is_taken_over_up_to_the_prompt_s_end() -> None:
    model = Model()
    model.keep([*A, 60, 61, 62, 50], turn=len(A))
    found = model.take([*A, 50, 70])
    assert found.whole is not None
    assert found.length == len(A)


def test_another_conversation_with_the_same_beginning_gets_a_copy_and_leaves_the_first_alone() -> None:
    model = Model()
    model.keep(A)
    found = model.take(B)
    assert found.whole is None
    assert tokens_of(found) == SYSTEM
    assert model.take([*A, 4]).whole == A


def test_a_beginning_is_found_to_the_token_within_a_block() -> None:
    model = Model()
    model.keep_prefix(A)
    assert tokens_of(model.take([*SYSTEM[:7], 55, 56])) == SYSTEM[:7]


def test_less_than_is_worth_sharing_is_not_shared() -> None:
    model = Model(least=5)
    model.keep(A)
    assert model.match([*SYSTEM[:4], 55]) == 0


def test_conversations_that_share_most_of_their_tokens_keep_them_once() -> None:
    model = Model()
    model.keep_prefix(SYSTEM)
    for last in range(5):
        model.keep([*SYSTEM, last])
    shared_blocks, own = 8, 3
    assert model.cache.nbytes == shared_blocks + 5 * own


def test_a_conversation_that_went_on_replaces_what_it_left_before() -> None:
    model = Model()
    model.keep(A)
    model.keep([*A, 4, 5, 6])
    assert model.cache.nbytes == len(A) + 3


def test_a_model_with_checkpoints_is_taken_up_only_at_one() -> None:
    model = Model(is_cuttable=False)
    model.keep_prefix(SYSTEM[:6], checkpoint=True)
    assert model.match(B) == 6
    found = model.take(B)
    assert tokens_of(found) == SYSTEM[:6]
    assert found.checkpoint == [SYSTEM[5]]
    assert model.match([*SYSTEM[:5], 77]) == 0


def test_a_whole_cache_that_cannot_be_cut_is_taken_over_only_whole() -> None:
    model = Model(is_cuttable=False)
    model.keep(A)
    assert model.match([*A[:-1], 77, 78]) == 0
    assert model.match(A) == 0, "a token must be left to compute"
    assert model.take([*A, 4]).whole == A


def test_the_longest_of_several_checkpoints_is_used() -> None:
    model = Model(is_cuttable=False)
    for length in (3, 9, 5):
        model.keep_prefix(A[:length], checkpoint=True)
    assert model.match(A) == 9
    assert model.match(A[:9]) == 5


def test_what_was_used_least_recently_goes_first() -> None:
    model = Model(limit=30)
    model.keep([1] * 10)
    model.keep([2] * 10)
    model.keep([3] * 10)
    model.keep(model.take([1] * 11).whole)
    model.keep([4] * 10)
    assert [bool(model.match([first] * 11)) for first in (1, 2, 3, 4)] == [True, False, True, True]


def test_one_budget_holds_for_all_models() -> None:
    model = Model(limit=20)
    other = model.cache.of("other")
    model.keep([1] * 10)
    other.keep_whole([2] * 15, kept([2] * 15), cut, turn=15, is_cuttable=True)
    assert model.match([1] * 11) == 0
    assert model.cache.nbytes == 15


def test_what_is_larger_than_the_budget_is_not_kept_and_pushes_nothing_out() -> None:
    model = Model(limit=20)
    model.keep([1] * 10)
    model.keep([2] * 21)
    assert model.match([1] * 11) == 10
    assert model.match([2] * 22) == 0


def test_shedding_frees_what_was_asked_for_and_says_how_much() -> None:
    model = Model()
    for first in range(5):
        model.keep([first] * 10)
    assert model.cache.shed(25) == 30
    assert model.cache.nbytes == 20
    assert model.cache.shed(1000) == 20


def test_a_cleared_model_leaves_nothing() -> None:
    model = Model()
    model.keep(A)
    model.keep_prefix(B)
    model.prefixes.clear()
    assert model.cache.nbytes == 0
    assert repr(model.cache) == "<PrefixCache [0 B of 1.0 kB | 1 models]>"


def test_a_very_long_conversation_is_no_deeper_than_python_can_go() -> None:
    model = Model(limit=1 << 30)
    long = list(range(20_000))
    model.keep_prefix(long)
    assert model.match([*long, 1]) == 20_000
    assert model.cache.shed(100) == 100


@pytest.mark.parametrize(
    ("a", "b", "common"), [([], [], 0), ([1], [2], 0), ([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2)]
)
def test_common_length_counts_leading_tokens(a: list[int], b: list[int], common: int) -> None:
    assert common_length(a, b) == common_length(b, a) == common


def test_common_length_sees_every_position_of_a_long_list() -> None:
    long = list(range(700))
    for position in (0, 1, 255, 256, 257, 511, 512, 699):
        changed = [*long[:position], -1, *long[position + 1 :]]
        assert common_length(long, changed) == position


pieces = st.lists(st.sampled_from([[1, 2, 3, 4, 5], [1, 2], [6], [7, 7, 7, 7]]), min_size=1, max_size=6)
operations = st.lists(st.tuples(st.sampled_from(["keep", "prefix", "take", "shed"]), pieces), max_size=30)


@settings(deadline=None, max_examples=200)
@given(script=operations, limit=st.sampled_from([0, 25, 1000]), is_cuttable=st.booleans())
def test_whatever_happens_what_is_found_is_the_prompt_s_own_beginning_and_bytes_add_up(
    script: list[tuple[str, list[list[int]]]], limit: int, is_cuttable: bool
) -> None:
    model = Model(limit, is_cuttable=is_cuttable)
    for verb, parts in script:
        tokens = [token for part in parts for token in part]
        if verb == "keep":
            model.keep(tokens, turn=len(tokens) // 2)
        elif verb == "prefix":
            model.keep_prefix(tokens, checkpoint=not is_cuttable)
        elif verb == "shed":
            model.cache.shed(len(tokens))
        else:
            expected = model.match(tokens)
            found = model.take(tokens)
            assert found.length == expected < len(tokens)
            assert tokens_of(found) == tokens[: found.length]
        assert model.cache.nbytes == held_bytes(model.prefixes) <= limit


def held_bytes(prefixes: ModelPrefixes) -> int:
    blocks = [*prefixes._root.children]
    total = sum(whole.kept.nbytes for whole in prefixes._wholes)
    while blocks:
        block = blocks.pop()
        total += block.kept.nbytes + sum(one.kept.nbytes for one in block.checkpoints.values())
        blocks += block.children
    return total
