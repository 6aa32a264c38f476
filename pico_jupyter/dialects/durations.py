"""Parses keep_alive: seconds as a number, or a Go duration such as "1h30m". Knows no clock."""

from __future__ import annotations

import math
import re

from pico_jupyter.dialects.fields import Fields
from pico_jupyter.errors import InvalidRequest

# Micro is written with either of two characters, in Go too.
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"([+-]?)((?:{_TERM.pattern})+)")
_MAX_LENGTH = 64
_SECONDS = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


def read_keep_alive(fields: Fields) -> float | None:
    """Seconds to keep the model after this request; inf: for ever; None: not given."""
    value = fields.get("keep_alive")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidRequest(f"Unsupported type: '{_go_type(value)}'", param="keep_alive", code="invalid_type")
    seconds = parse_go_duration(value) if isinstance(value, str) else _as_float(value)
    return math.inf if seconds < 0 else seconds


def parse_go_duration(text: str) -> float:
    """Seconds. A text without a unit is taken as seconds: Go refuses it, and users write it."""
    if len(text) <= _MAX_LENGTH and _SECONDS.fullmatch(text):
        return float(text)
    duration = _DURATION.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if duration is None:
        raise InvalidRequest(f'time: invalid duration "{text[:_MAX_LENGTH]}"', param="keep_alive", code="invalid_value")
    sign, terms = duration[1], duration[2]
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _TERM.findall(terms))
    return -seconds if sign == "-" else seconds


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _go_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
