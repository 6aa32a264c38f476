"""Writes formats, patterns and numbers of a JSON schema in forms that llguidance 1.9 enforces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex

# The formats that JSON Schema defines. Any other format is an annotation, which has no effect.
DEFINED_FORMATS = {
    *("date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
    *("uri", "uri-reference", "iri", "iri-reference", "uuid", "uri-template", "regex"),
    *("json-pointer", "relative-json-pointer"),
}
_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_HOST = r"//(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?"
_POINTER = "(?:/(?:[^/~]|~[01])*)*"
# RFC 3986: the references without a scheme. Hosts that are IPv6 addresses are left out.
_RELATIVE_REFERENCE = (
    rf"^(?:{_HOST}(?:/{_CHARACTER}*)*|/(?:{_CHARACTER}+(?:/{_CHARACTER}*)*)?"
    rf"|(?:{_CHARACTER.replace(':@', '@')}+(?:/{_CHARACTER}*)*)?)"
    rf"(?:\?(?:{_CHARACTER}|[/?])*)?(?:#(?:{_CHARACTER}|[/?])*)?$"
)
_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_COUNT = "[0-9]{1,6}"
_HOURS = f"T(?:{_COUNT}H(?:{_COUNT}M(?:{_COUNT}S)?)?|{_COUNT}M(?:{_COUNT}S)?|{_COUNT}S)"
_DAYS = f"(?:{_COUNT}D|{_COUNT}M(?:{_COUNT}D)?|{_COUNT}Y(?:{_COUNT}M(?:{_COUNT}D)?)?)"
# Regular expressions of dates and times. Python has no year 0 and no second 60, which llguidance 1.9 would accept. The
# numbers of digits are limited, because small models write digits without end.
DATE_FORMATS = {"date": _DATE, "time": _TIME, "date-time": f"{_DATE}[Tt]{_TIME}"}
_FORMATS: dict[str, dict[str, Any]] = {
    **{name: {"pattern": f"^{text}$"} for name, text in DATE_FORMATS.items()},
    "duration": {"pattern": f"^P(?:{_COUNT}W|{_DAYS}(?:{_HOURS})?|{_HOURS})$"},
    "uri-reference": {"anyOf": [{"format": "uri"}, {"pattern": _RELATIVE_REFERENCE}]},
    "json-pointer": {"pattern": f"^{_POINTER}$"},
    "relative-json-pointer": {"pattern": f"^(?:0|[1-9][0-9]*)(?:#|{_POINTER})$"},
}
# An escaped character, or a class, which may be negated.
_CLASS_STARTS = regex.compile(r"\\.|\[\^?(?:\\.|[^\\\]])*\]?", regex.DOTALL)


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# The distance by which exclusive_bound() moves a bound.
_STEP = 1e-6
# llguidance 1.9 keeps bounds as floats and as 64-bit integers: this is the largest number that both can be.
_LARGEST = 2**63 - 1024


def spell_format(name: str) -> Any:
    """A schema that replaces a format: True if every string is valid, None if the format needs no replacement."""
    return _FORMATS.get(name, None if name in DEFINED_FORMATS else True)


def spell_pattern(pattern: str) -> str:
    """Exclude the character U+0000 in the negated classes of a pattern.

    In llguidance 1.9, a negated class that includes all control characters also matches quotes and backslashes, even if
    the class excludes them.
    """
    return _CLASS_STARTS.sub(
        lambda part: part[0].replace("[^", r"[^\x00", 1) if part[0][0] == "[" else part[0], pattern
    )


def spell_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Move large bounds into the range of llguidance, and exclusive ones with exclusive_bound() if two are close.

    Bounds are close if they differ by less than 1.
    """
    schema = _within_range(schema)
    bounds = {key: schema[key] for key in _BOUNDS if _is_number(schema.get(key))}
    close = [key for key, value in bounds.items() if any(0 < abs(value - other) < 1 for other in bounds.values())]
    moved = [exclusive_bound(key, bounds[key]) for key in close if key.startswith("exclusive")]
    return {**schema, **{key: value for bound in moved for key, value in bound.items()}}


def _within_range(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema whose bounds are at most _LARGEST from 0. Valid values beyond are not accepted.

    If all valid values are beyond, one bound stays, which llguidance refuses.
    """
    for side, sign in (("Minimum", -1), ("Maximum", 1)):
        for keyword in (side.lower(), f"exclusive{side}"):
            value: Any = schema.get(keyword)
            if not _is_number(value) or abs(value) <= _LARGEST:
                continue
            if value * sign < 0:
                return {**{key: item for key, item in schema.items() if key not in _BOUNDS}, side.lower(): value}
            others = {key: item for key, item in schema.items() if key != keyword}
            schema = {side.lower(): sign * _LARGEST, **others}
    return schema


def exclusive_bound(keyword: str, value: float) -> dict[str, float]:
    """An exclusive bound that llguidance enforces: a whole number is moved by 0.000001 into the range.

    For 2 < x < 2.5, llguidance 1.9 would also accept 2.
    """
    if value != value // 1:
        return {keyword: value}
    return {keyword: value + (_STEP if keyword == "exclusiveMinimum" else -_STEP)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def spell_values(values: list[Any]) -> dict[str, Any]:
    """A schema of the given values. Whole numbers may be written 1 or 1.0. llguidance 1.9 itself accepts only 1."""
    if not any(map(_has_round_number, values)):
        return {"enum": values}
    exact = [value for value in values if not _has_round_number(value)]
    options = [*([{"enum": exact}] if exact else []), *(_value(value) for value in values if _has_round_number(value))]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _has_round_number(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_round_number, value.values()))
    return isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        properties = {name: _value(item) for name, item in value.items()}
        return {"type": "object", "properties": properties, "required": [*value], "additionalProperties": False}
    if _has_round_number(value):
        return {"type": "number", "minimum": value - 0.25, "maximum": value + 0.25, "multipleOf": 0.5}
    return {"const": value}
