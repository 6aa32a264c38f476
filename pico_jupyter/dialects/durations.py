"""Parses keep_alive: seconds as a number, or a Go duration such as "1h30m"."""

from __future__ import annotations

import math
import re

from pico_jupyter.dialects.request_errors import invalid

# Go accepts the micro sign and the Greek letter mu.
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"([+-]?)((?:{_TERM.pattern})+)")
_MAX_LENGTH = 64
_SECONDS = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


def read_keep_alive(keep_alive: float | str | None) -> float | None:
    """Return the seconds that the model stays loaded after the request. inf: forever; None: not given.

    Raises InvalidRequest for text that is not a duration.
    """
    if keep_alive is None:
        return None
    seconds = parse_go_duration(keep_alive) if isinstance(keep_alive, str) else _as_float(keep_alive)
    return math.inf if seconds < 0 else seconds


def parse_go_duration(text: str) -> float:
    """Return the seconds of a Go duration. Unlike Go, accepts a number without a unit, in seconds.

    Raises InvalidRequest for other text.
    """
    if len(text) <= _MAX_LENGTH and _SECONDS.fullmatch(text):
        return float(text)
    duration = _DURATION.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if duration is None:
        raise invalid("keep_alive", f'time: invalid duration "{text[:_MAX_LENGTH]}"')
    sign, terms = duration[1], duration[2]
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _TERM.findall(terms))
    return -seconds if sign == "-" else seconds


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
