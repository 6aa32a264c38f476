"""How many examples the property tests try: all in CI, a quarter elsewhere, so that `make check` is fast."""

from __future__ import annotations

import os

IN_CI = "CI" in os.environ


def examples(count: int) -> int:
    """The number of examples of a test that has `count` of them in CI."""
    return count if IN_CI else -(-count // 4)
