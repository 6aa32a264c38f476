"""Reads the fields of a JSON body one by one. Every complaint is an InvalidRequest that names the field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

import msgspec

from pico_jupyter.errors import InvalidRequest

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
MAX_NESTING = 100

# JavaScript cuts emoji in half: a lone surrogate becomes U+FFFD. Every escape is matched, so that `\\ud83d` stays.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)

_TYPE_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Fields:
    """The members of one JSON object. `path` is where the object sits in the body; null counts as omitted."""

    __slots__ = ("path", "values")

    def __init__(self, values: dict[str, object], path: str = "") -> None:
        self.values = values
        self.path = path

    def __repr__(self) -> str:
        return f"<Fields {self.path or 'body'}: {', '.join(self.values)}>"

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def param(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> object:
        return self.values.get(key)

    def string(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        refuse_type(self.param(key), "a string", value)

    def boolean(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return value
        refuse_type(self.param(key), "a boolean", value)

    def integer(self, key: str, minimum: int | None = None, maximum: int | None = None) -> int | None:
        """An integer in the range given; 16.0 is one too, 16.5 is not. With a minimum alone, no count is too large."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            refuse_type(self.param(key), "an integer", value)
        if minimum is not None and maximum is None:
            value = min(value, INT64_MAX)
        low = INT64_MIN if minimum is None else minimum
        _check_range(self.param(key), value, low, INT64_MAX if maximum is None else maximum)
        return value

    def number(self, key: str, minimum: float, maximum: float) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse_type(self.param(key), "a number", value)
        _check_range(self.param(key), value, minimum, maximum)
        return float(value)

    def array(self, key: str) -> list[object] | None:
        value = self.values.get(key)
        if value is None or isinstance(value, list):
            return value
        refuse_type(self.param(key), "an array", value)

    def fields(self, key: str) -> Fields | None:
        """The object in `key`."""
        value = self.values.get(key)
        return None if value is None else as_fields(value, self.param(key))

    def each(self, key: str) -> Iterator[Fields]:
        """The objects in the array in `key`; nothing when it is omitted."""
        for i, value in enumerate(self.array(key) or ()):
            yield as_fields(value, f"{self.param(key)}[{i}]")


def decode_body(body: bytes) -> Fields:
    """The JSON object that a request's body must be."""
    if not body.strip():
        raise InvalidRequest("missing request body")
    try:
        value = _decode(body)
    except RecursionError:
        raise InvalidRequest("The request body is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"The request body must be a JSON object, but it is {_name_type(value)}.")
    return Fields(value)


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        if b"\\u" not in body:
            raise
        return msgspec.json.decode(_ESCAPE.sub(_mend_surrogate, body))


def _mend_surrogate(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["lone"] else escape[0]


def as_fields(value: object, param: str) -> Fields:
    if isinstance(value, dict):
        return Fields(value, param)
    refuse_type(param, "an object", value)


def json_text(value: object, param: str) -> str:
    """JSON that is handed on as it is: to the chat template, in the end."""
    if _is_nested_deeper(value, MAX_NESTING):
        raise InvalidRequest(f"'{param}' is nested too deeply.", param=param, code="invalid_value")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def refuse_type(param: str, expected: str, value: object) -> NoReturn:
    raise InvalidRequest(
        f"Invalid type for '{param}': expected {expected}, but got {_name_type(value)} instead.",
        param=param,
        code="invalid_type",
    )


def refuse_value(param: str, value: str, allowed: tuple[str, ...]) -> NoReturn:
    supported = ", ".join(f"'{word}'" for word in allowed)
    raise InvalidRequest(
        f"Invalid value: '{value[:64]}'. Supported values are: {supported}.", param=param, code="invalid_value"
    )


def _check_range(param: str, value: float, minimum: float, maximum: float) -> None:
    if not minimum <= value <= maximum:
        raise InvalidRequest(
            f"Invalid value for '{param}': it must be {_name_range(minimum, maximum)}.",
            param=param,
            code="invalid_value",
        )


def _name_range(minimum: float, maximum: float) -> str:
    if maximum == INT64_MAX and minimum != INT64_MIN:
        return f"at least {minimum}"
    return f"between {minimum} and {maximum}"


def _name_type(value: object) -> str:
    return _TYPE_NAMES[type(value)]


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
