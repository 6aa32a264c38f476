"""Writes the negation of single keywords of a JSON schema, without `not`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pico_jupyter.engine.structure.schema_spelling import exclusive_bound
from pico_jupyter.engine.structure.schema_values import TYPES, NotExact, has_type

# The maximum length of a text whose negation is written as a pattern, and of several such texts together.
_MAX_LENGTH = 60
_MAX_TOTAL_LENGTH = 500
_OPPOSITE_BOUNDS = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}
_SIZES = {"Length": "string", "Items": "array", "Properties": "object"}


def any_of(options: Iterable[Any]) -> Any:
    """A schema of the values that match one of the options."""
    kept = [option for option in options if option is not False]
    return kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else False


def all_of(members: Sequence[Any]) -> Any:
    """A schema of the values that match all members."""
    kept = [member for member in members if member is not True]
    if any(member is False for member in kept):
        return False
    return kept[0] if len(kept) == 1 else {"allOf": kept} if kept else True


def member(name: str, schema: Any) -> dict[str, Any]:
    """A schema of the objects that have a member with this schema."""
    return {"type": "object", "required": [name], "properties": {name: schema}}


def negated_types(names: set[str]) -> Any:
    """A schema of the values with other types. Raises NotExact if no schema matches exactly these."""
    if not names <= {*TYPES, "integer"} or ("integer" in names and "number" not in names):
        raise NotExact  # No schema matches exactly the numbers that are not integers.
    return {"type": [name for name in TYPES if name not in names]}


def negated_bound(keyword: str, value: Any) -> Any:
    """A schema of the values outside a limit of numbers or sizes. Raises NotExact for other keywords."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotExact
    if keyword in _OPPOSITE_BOUNDS:
        opposite = _OPPOSITE_BOUNDS[keyword]
        bound = exclusive_bound(opposite, value) if opposite.startswith("exclusive") else {opposite: value}
        return {"type": "number", **bound}
    side, size = keyword[:3], keyword[3:]
    if side not in ("min", "max") or size not in _SIZES:
        raise NotExact
    if side == "max":
        return {"type": _SIZES[size], f"min{size}": value + 1}
    return {"type": _SIZES[size], f"max{size}": value - 1} if value > 0 else False


def other_values(values: Sequence[Any]) -> Any:
    """A schema of all values except the given ones. Raises NotExact if one of them is a list or an object."""
    given = {name: [value for value in values if has_type(value, name)] for name in TYPES}
    if given["array"] or given["object"]:
        raise NotExact
    booleans = [value for value in (True, False) if value not in given["boolean"]]
    return any_of(
        [
            {"type": [name for name in TYPES if not given[name]]},
            {"type": "string", "pattern": f"^{_other_texts(given['string'])}$"} if given["string"] else False,
            {"enum": booleans} if len(booleans) == 1 else False,
            *_other_numbers(sorted(set(given["number"]))),
        ]
    )


def _other_numbers(numbers: Sequence[float]) -> list[dict[str, Any]]:
    """The ranges between the given numbers."""
    lows = [{}, *(exclusive_bound("exclusiveMinimum", number) for number in numbers)]
    highs = [*(exclusive_bound("exclusiveMaximum", number) for number in numbers), {}]
    return [{"type": "number", **low, **high} for low, high in zip(lows, highs, strict=True)] if numbers else []


def _other_texts(texts: Sequence[str]) -> str:
    """A regular expression that matches all texts except the given ones."""
    if sum(map(len, texts)) > _MAX_TOTAL_LENGTH or any(len(text) > _MAX_LENGTH for text in texts):
        raise NotExact
    ends: dict[str, list[str]] = {}
    for text in filter(None, texts):
        ends.setdefault(f"\\U{ord(text[0]):08x}", []).append(text[1:])
    other = rf"[^{''.join(ends)}][\s\S]*" if ends else r"[\s\S]+"
    options = [other, *(first + _other_texts(rest) for first, rest in ends.items())]
    return f"(?:{'|'.join(options if '' in texts else ['', *options])})"
