"""Decodes the JSON body of a request into the Struct that declares its fields.

A body that is not a JSON object raises InvalidRequest. An invalid field does too, and `param` names the field. null
counts as omitted. Unknown fields are ignored. If a key occurs twice, the last value is used.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from pico_jupyter.dialects.json_faults import MAX_NESTING, find_json_fault
from pico_jupyter.dialects.request_errors import (
    ErrorTexts,
    describe_fault,
    find_fault,
    flatten,
    invalid,
    name_type,
    struct_type,
)
from pico_jupyter.dialects.request_fields import INT64_MAX
from pico_jupyter.errors import InvalidRequest

JsonObject: TypeAlias = dict[str, Any]
Fields = TypeVar("Fields", bound=msgspec.Struct)

# Matches every JSON escape. The group `lone` is a lone surrogate, which JavaScript sends if it cuts an emoji in half.
# An escaped backslash matches too, so that text such as "ud83d" after it is not taken for a surrogate.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def decode_object(body: bytes) -> JsonObject:
    """Decode the JSON object in `body`. Lone surrogates become U+FFFD."""
    if not body.strip():
        raise InvalidRequest("missing request body")
    try:
        value = _decode(body)
    except RecursionError:
        raise find_json_fault(body) or InvalidRequest("The request body is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise find_json_fault(body) or InvalidRequest(f"The request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"The request body must be a JSON object, but it is {name_type(value)}.")
    return value


def decode_fields(raw: JsonObject, kind: type[Fields], texts: ErrorTexts = ()) -> Fields:
    """Convert a decoded body to the Struct `kind`. `texts` are the error texts that the API prescribes.

    In `raw`, 16.0 becomes an integer, because JSON has one type of number. Integers above 64 bits are clamped if their
    field has no maximum.
    """
    _convert_integers(raw, kind)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise describe_fault(find_fault(str(error), kind, raw), texts) from None


def ignored_names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields that a Struct and its bases ignore."""
    return frozenset(name for base in kind.__mro__ for name in base.__dict__.get("ignored", ()))


@functools.cache
def known_names(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields that a Struct declares or ignores."""
    return frozenset(kind.__struct_fields__) | ignored_names(kind)


def json_text(value: object, param: str) -> str:
    """Encode a value for the chat template as compact JSON. Raises InvalidRequest at over MAX_NESTING levels."""
    if _is_nested_deeper(value, MAX_NESTING):
        raise invalid(param, f"'{param}' is nested too deeply.")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        if b"\\u" not in body:
            raise
        return msgspec.json.decode(_ESCAPE.sub(_mend_surrogate, body))


def _mend_surrogate(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["lone"] else escape[0]


def _convert_integers(raw: JsonObject, kind: type[msgspec.Struct]) -> None:
    for name, has_maximum in _integer_fields(kind).items():
        if raw.get(name) is not None:
            raw[name] = _as_integers(raw[name], has_maximum=has_maximum)
    for name, member in _struct_fields(kind).items():
        if isinstance(raw.get(name), dict):
            _convert_integers(raw[name], member)


@functools.cache
def _struct_fields(kind: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """Map each field whose objects are of one Struct to this Struct."""
    found = {}
    for field in struct_type(kind).fields:
        structs = [member.cls for member in flatten(field.type) if isinstance(member, inspect.StructType)]
        if len(structs) == 1:
            found[field.encode_name] = structs[0]
    return found


@functools.cache
def _integer_fields(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Map each field that holds an integer or a list of integers to whether it has a maximum."""
    found = {}
    for field in struct_type(kind).fields:
        types = flatten(field.type)
        types += [item for kind in types if isinstance(kind, inspect.ListType) for item in flatten(kind.item_type)]
        integers = [kind for kind in types if isinstance(kind, inspect.IntType)]
        if integers and not any(isinstance(kind, inspect.FloatType) for kind in types):
            found[field.encode_name] = integers[0].le is not None
    return found


def _as_integers(value: object, *, has_maximum: bool) -> object:
    """Convert a number, a list of numbers, or a list of such lists."""
    if not isinstance(value, list):
        return _as_integer(value, has_maximum=has_maximum)
    return [
        [_as_integer(inner, has_maximum=has_maximum) for inner in item]
        if isinstance(item, list)
        else _as_integer(item, has_maximum=has_maximum)
        for item in value
    ]


def _as_integer(value: object, *, has_maximum: bool) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return INT64_MAX if type(value) is int and value > INT64_MAX and not has_maximum else value


def _is_nested_deeper(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return False
    return True


def _members(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
