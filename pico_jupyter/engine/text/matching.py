"""Searches text for tags and stop strings in a way that does not depend on how the text is split into tokens."""

from __future__ import annotations

from collections.abc import Sequence


def first_match(text: str, needles: Sequence[str]) -> tuple[int, str] | None:
    """Find the needle that ends first in `text`; of several with the same end, the longest. Returns its start and text.

    The result is the same if the text arrives character by character.
    """
    best: tuple[int, str] | None = None
    best_end = len(text) + 1
    for needle in needles:
        at = text.find(needle, 0, best_end)
        if at < 0:
            continue
        end = at + len(needle)
        if best is None or end < best_end or at < best[0]:
            best, best_end = (at, needle), end
    return best


def partial_length(text: str, needles: Sequence[str]) -> int:
    """The length of the longest suffix of a text that is a proper prefix of a needle."""
    longest = 0
    for needle in needles:
        at = text.find(needle[0], max(0, len(text) - len(needle) + 1))
        while at >= 0 and not needle.startswith(text[at:]):
            at = text.find(needle[0], at + 1)
        if at >= 0:
            longest = max(longest, len(text) - at)
    return longest
