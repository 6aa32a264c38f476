"""Formats byte counts and parameter counts for people. All units are powers of 1000."""

from __future__ import annotations

import math
from collections.abc import Callable

_BYTE_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_PARAMETER_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def about(size: float) -> str:
    """Format `size` bytes with at least two digits, rounded to the nearest value: "2.5 kB", "45 GB"."""
    return _in_units(size, round)


def at_least(size: float) -> str:
    """Format `size` bytes, rounded up. Used for requirements."""
    return _in_units(size, math.ceil)


def at_most(size: float) -> str:
    """Format `size` bytes, rounded down. Used for limits."""
    return _in_units(size, math.floor)


def parameter_count(count: int) -> str:
    """Format a number of parameters as in model names: 596 million is "0.6B"."""
    for scale, unit in _PARAMETER_UNITS:
        if count * 2 >= scale:
            return f"{count / scale:.1f}{unit}"
    return str(count)


def _in_units(size: float, to_int: Callable[[float], int]) -> str:
    for scale, unit in _BYTE_UNITS:
        if size >= scale:
            tenths = to_int(10 * size / scale)
            return f"{tenths / 10:.1f} {unit}" if tenths < 100 else f"{to_int(size / scale)} {unit}"
    return f"{size:.0f} B"
