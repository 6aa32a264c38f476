"""The prefix cache without a model: a whole cache is a list of tokens, a block a slice of it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.memory.prefix_cache import CachedValue, FoundPrefix, ModelPrefixes, PrefixCache, common_length
from tests.property_examples import examples

SYSTEM = list(range(100, 110))
A = [*SYSTEM, 1, 2, 3]
B = [*SYSTEM, 7, 8, 9]


def cached(tokens: list[int]) -> CachedValue:
    return CachedValue(list(tokens), len(tokens))


def copy(cache: Any, start: int, end: int) -> CachedValue:
    return cached(cache[start:end])


class Model:
    """The entries of one model in a cache with blocks of four tokens, and short ways to use them."""

    def __init__(self, limit: int = 1000, *, is_trimmable: bool = True, min_shared: int = 2) -> None:
        self.cache = PrefixCache(limit, block=4, min_shared=min_shared)
        self.prefixes: ModelPrefixes = self.cache.for_model("model")
        self.is_trimmable = is_trimmable

    def keep(self, tokens: list[int], continuation_start: int | None = None) -> None:
        continuation_start = len(tokens) if continuation_start is None else continuation_start
        self.prefixes.keep_whole(
            tokens, cached(tokens), copy, continuation_start=continuation_start, is_trimmable=self.is_trimmable
        )

    def keep_prefix(self, tokens: list[int], *, checkpoint: bool = False) -> None:
        value = cached(tokens[-1:]) if checkpoint else None
        self.prefixes.keep_blocks(tokens, lambda start, end: cached(tokens[start:end]), value)

    def match(self, tokens: list[int]) -> int:
        return self.prefixes.match(tokens, is_trimmable=self.is_trimmable)

    def check_out(self, tokens: list[int]) -> FoundPrefix:
        return self.prefixes.check_out(tokens, copy, is_trimmable=self.is_trimmable) or FoundPrefix(0)


def tokens_of(found: FoundPrefix) -> list[int]:
    whole = found.whole if found.whole is not None else [token for block in found.blocks for token in block]
    return list(whole)[: found.length]


def test_nothing_is_found_in_an_empty_cache() -> None:
    model = Model()
    assert model.match(A) == 0
    assert model.check_out(A).length == 0


def test_the_next_prompt_of_a_conversation_uses_its_whole_cache() -> None:
    model = Model()
    model.keep(A)
    found = model.check_out([*A, 4, 5])
    assert found.whole == A
    assert found.length == len(A)
    assert model.cache.nbytes == 0, "it belongs to the caller now"


def test_a_repeated_prompt_computes_one_token() -> None:
    model = Model()
    model.keep([*A, 50, 51], continuation_start=len(A) - 1)
    assert model.check_out(A).length == len(A) - 1


def test_a_cache_is_reused_up_to_the_prompt_when_the_reasoning_was_removed() -> None:
    model = Model()
    model.keep([*A, 60, 61, 62, 50], continuation_start=len(A))
    found = model.check_out([*A, 50, 70])
    assert found.whole is not None
    assert found.length == len(A)


def test_another_conversation_with_the_same_beginning_gets_a_copy() -> None:
    model = Model()
    model.keep(A)
    found = model.check_out(B)
    assert found.whole is None
    assert tokens_of(found) == SYSTEM
    assert model.check_out([*A, 4]).whole == A


def test_a_beginning_may_end_within_a_block() -> None:
    model = Model()
    model.keep_prefix(A)
    assert tokens_of(model.check_out([*SYSTEM[:7], 55, 56])) == SYSTEM[:7]


def test_a_short_beginning_does_not_match() -> None:
    model = Model(min_shared=5)
    model.keep(A)
    assert model.match([*SYSTEM[:4], 55]) == 0


def test_shared_tokens_of_several_conversations_are_kept_once() -> None:
    model = Model()
    model.keep_prefix(SYSTEM)
    for last in range(5):
        model.keep([*SYSTEM, last])
    shared_blocks, own = 8, 3
    assert model.cache.nbytes == shared_blocks + 5 * own


def test_a_longer_conversation_replaces_its_earlier_turn() -> None:
    model = Model()
    model.keep(A)
    model.keep([*A, 4, 5, 6])
    assert model.cache.nbytes == len(A) + 3


def test_a_cache_that_is_not_trimmable_matches_only_at_a_checkpoint() -> None:
    model = Model(is_trimmable=False)
    model.keep_prefix(SYSTEM[:6], checkpoint=True)
    assert model.match(B) == 6
    found = model.check_out(B)
    assert tokens_of(found) == SYSTEM[:6]
    assert found.checkpoint == [SYSTEM[5]]
    assert model.match([*SYSTEM[:5], 77]) == 0


def test_a_whole_cache_that_is_not_trimmable_matches_only_whole() -> None:
    model = Model(is_trimmable=False)
    model.keep(A)
    assert model.match([*A[:-1], 77, 78]) == 0
    assert model.match(A) == 0, "one token must remain to compute"
    assert model.check_out([*A, 4]).whole == A


def test_the_longest_of_several_checkpoints_is_used() -> None:
    model = Model(is_trimmable=False)
    for length in (3, 9, 5):
        model.keep_prefix(A[:length], checkpoint=True)
    assert model.match(A) == 9
    assert model.match(A[:9]) == 5


def test_the_least_recently_used_entry_is_evicted_first() -> None:
    model = Model(limit=30)
    model.keep([1] * 10)
    model.keep([2] * 10)
    model.keep([3] * 10)
    model.keep(model.check_out([1] * 11).whole)
    model.keep([4] * 10)
    assert [bool(model.match([first] * 11)) for first in (1, 2, 3, 4)] == [True, False, True, True]


def test_all_models_share_one_limit() -> None:
    model = Model(limit=20)
    other = model.cache.for_model("other")
    model.keep([1] * 10)
    other.keep_whole([2] * 15, cached([2] * 15), copy, continuation_start=15, is_trimmable=True)
    assert model.match([1] * 11) == 0
    assert model.cache.nbytes == 15


def test_an_entry_over_the_budget_is_not_kept_and_evicts_nothing() -> None:
    model = Model(limit=20)
    model.keep([1] * 10)
    model.keep([2] * 21)
    assert model.match([1] * 11) == 10
    assert model.match([2] * 22) == 0


def test_evicting_frees_at_least_the_wanted_bytes_and_returns_the_number() -> None:
    model = Model()
    for first in range(5):
        model.keep([first] * 10)
    assert model.cache.evict(25) == 30
    assert model.cache.nbytes == 20
    assert model.cache.evict(1000) == 20


def test_clearing_a_model_removes_all_its_entries() -> None:
    model = Model()
    model.keep(A)
    model.keep_prefix(B)
    model.prefixes.clear()
    assert model.cache.nbytes == 0
    assert repr(model.cache) == "<PrefixCache [0 B of 1.0 kB | 1 models]>"


def test_a_very_long_conversation_does_not_reach_the_recursion_limit() -> None:
    model = Model(limit=1 << 30)
    long = list(range(4 * (sys.getrecursionlimit() + 100)))
    model.keep_prefix(long)
    assert model.match([*long, -1]) == len(long)
    assert model.cache.evict(100) == 100


@pytest.mark.parametrize(
    ("a", "b", "common"), [([], [], 0), ([1], [2], 0), ([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2)]
)
def test_common_length_counts_leading_tokens(a: list[int], b: list[int], common: int) -> None:
    assert common_length(a, b) == common_length(b, a) == common


def test_common_length_compares_every_position_of_a_long_list() -> None:
    long = list(range(700))
    for position in (0, 1, 255, 256, 257, 511, 512, 699):
        changed = [*long[:position], -1, *long[position + 1 :]]
        assert common_length(long, changed) == position


pieces = st.lists(st.sampled_from([[1, 2, 3, 4, 5], [1, 2], [6], [7, 7, 7, 7]]), min_size=1, max_size=6)
operations = st.lists(st.tuples(st.sampled_from(["keep", "prefix", "check_out", "evict"]), pieces), max_size=30)


@settings(deadline=None, max_examples=examples(200))
@given(script=operations, limit=st.sampled_from([0, 25, 1000]), is_trimmable=st.booleans())
def test_a_found_prefix_is_the_beginning_of_the_prompt_and_the_bytes_add_up(
    script: list[tuple[str, list[list[int]]]], limit: int, is_trimmable: bool
) -> None:
    model = Model(limit, is_trimmable=is_trimmable)
    for action, parts in script:
        tokens = [token for part in parts for token in part]
        if action == "keep":
            model.keep(tokens, continuation_start=len(tokens) // 2)
        elif action == "prefix":
            model.keep_prefix(tokens, checkpoint=not is_trimmable)
        elif action == "evict":
            model.cache.evict(len(tokens))
        else:
            expected = model.match(tokens)
            found = model.check_out(tokens)
            assert found.length == expected < len(tokens)
            assert tokens_of(found) == tokens[: found.length]
        assert model.cache.nbytes == held_bytes(model.prefixes) <= limit


def held_bytes(prefixes: ModelPrefixes) -> int:
    blocks = [*prefixes._root.children]
    total = sum(whole.cached.nbytes for whole in prefixes._wholes)
    while blocks:
        block = blocks.pop()
        total += block.cached.nbytes + sum(one.cached.nbytes for one in block.checkpoints.values())
        blocks += block.children
    return total
