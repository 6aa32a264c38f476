"""Matches of tags and stop strings do not depend on how a text is split."""

from __future__ import annotations

from pico_jupyter.engine.text.matching import first_match, partial_length


def test_the_first_match_ends_first_and_is_the_longer_of_two() -> None:
    assert first_match("xabcd", ("abcd", "bc")) == (2, "bc")
    assert first_match("xabc", ("bc", "abc")) == (1, "abc")
    assert first_match("x", ("y",)) is None


def test_a_partial_match_is_the_longest_suffix_that_begins_a_needle() -> None:
    assert partial_length("x aa", ("aaab",)) == 2
    assert partial_length("x END", ("END",)) == 0
    assert partial_length("x </th", ("</think>", "<")) == 4
