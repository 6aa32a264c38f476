"""Writes the negation of single keywords of a JSON schema, without `not`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pico_jupyter.engine.structure.schema_values import TYPES, NotExact, has_type

# The longest text whose negation is written as a pattern, and the longest sum of such texts.
_MAX_TEXT = 60
_MAX_TEXTS = 500
_OPPOSITE_BOUNDS = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}
_SIZES = {"Length": "string", "Items": "array", "Properties": "object"}


def any_of(options: Iterable[Any]) -> Any:
    kept = [option for option in options if option is not False]
    return kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else False


def all_of(members: Sequence[Any]) -> Any:
    kept = [member for member in members if member is not True]
    if any(member is False for member in kept):
        return False
    return kept[0] if len(kept) == 1 else {"allOf": kept} if kept else True


def member(name: str, schema: Any) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: schema}}


def negated_types(names: set[str]) -> Any:
    if not names <= {*TYPES, "integer"} or ("integer" in names and "number" not in names):
        raise NotExact  # The numbers that are no integers have no schema.
    return {"type": [name for name in TYPES if name not in names]}


def negated_bound(keyword: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotExact
    if keyword in _OPPOSITE_BOUNDS:
        return {"type": "number", _OPPOSITE_BOUNDS[keyword]: value}
    side, size = keyword[:3], keyword[3:]
    if side not in ("min", "max") or size not in _SIZES:
        raise NotExact
    if side == "max":
        return {"type": _SIZES[size], f"min{size}": value + 1}
    return {"type": _SIZES[size], f"max{size}": value - 1} if value > 0 else False


def other_values(values: Sequence[Any]) -> Any:
    """All values but the given ones. Raises NotExact if one of them is a list or an object."""
    given = {name: [value for value in values if has_type(value, name)] for name in TYPES}
    if given["array"] or given["object"]:
        raise NotExact
    bounds = [None, *sorted(set(given["number"])), None]
    numbers = [{"exclusiveMinimum": low, "exclusiveMaximum": high} for low, high in pairwise(bounds)]
    booleans = [value for value in (True, False) if value not in given["boolean"]]
    return any_of(
        [
            {"type": [name for name in TYPES if not given[name]]},
            {"type": "string", "pattern": f"^{_other_texts(given['string'])}$"} if given["string"] else False,
            {"enum": booleans} if len(booleans) == 1 else False,
            *({"type": "number", **_without_none(limits)} for limits in numbers if given["number"]),
        ]
    )


def _without_none(limits: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in limits.items() if value is not None}


def _other_texts(texts: Sequence[str]) -> str:
    """A regular expression of all texts but the given ones."""
    if sum(map(len, texts)) > _MAX_TEXTS or any(len(text) > _MAX_TEXT for text in texts):
        raise NotExact
    ends: dict[str, list[str]] = {}
    for text in filter(None, texts):
        ends.setdefault(f"\\U{ord(text[0]):08x}", []).append(text[1:])
    other = rf"[^{''.join(ends)}][\s\S]*" if ends else r"[\s\S]+"
    options = [other, *(first + _other_texts(rest) for first, rest in ends.items())]
    return f"(?:{'|'.join(options if '' in texts else ['', *options])})"
