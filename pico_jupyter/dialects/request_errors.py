"""Turns msgspec's errors about a request into InvalidRequest, with the texts that OpenAI and Ollama use.

msgspec reports the path of the first wrong field. The error text is derived from the field's declared type and value.
If an API prescribes another text, ErrorTexts has an entry for it: a pattern for `param`, and a function that returns
the error.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec
from msgspec import inspect

from pico_jupyter.errors import InvalidRequest

_PATH_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_MAX_ECHOED = 64
_JSON_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_PYTHON_TYPES: dict[type[inspect.Type], type] = {
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
    inspect.LiteralType: str,
    inspect.ListType: list,
    inspect.DictType: dict,
    inspect.StructType: dict,
}


class Fault(msgspec.Struct, frozen=True):
    """A field whose `value` does not fit its `declared` types. `param` is its path, such as "messages[0].role"."""

    param: str
    declared: tuple[inspect.Type, ...]
    value: object
    is_missing: bool = False


ErrorText: TypeAlias = Callable[[Fault, re.Match[str]], InvalidRequest]
ErrorTexts: TypeAlias = tuple[tuple[str, ErrorText], ...]


def find_fault(message: str, kind: type[msgspec.Struct], body: dict[str, object]) -> Fault:
    """Find the field of `body` that msgspec's error `message` reports."""
    text, _, place = message.rpartition(" - at ")
    declared: list[inspect.Type] = [struct_type(kind)]
    value: object = body
    param, last = "", ""
    steps: list[tuple[str, str]] = _PATH_STEP.findall(place if text else "")
    if missing := _MISSING.match(text or message):
        steps.append((missing[1], ""))
    for name, index in steps:
        if index == "...":
            # msgspec does not report which key of a dict is wrong.
            break
        declared, value = _step(declared, value, name, index)
        param = f"{param}[{index}]" if index else f"{param}.{name}".lstrip(".")
        last = name
    is_missing = bool(last) and value is None
    # A missing object is reported as its first required field.
    while is_missing and (required := _required_field(declared)):
        param, declared = f"{param}.{required.encode_name}", flatten(required.type)
    return Fault(param, tuple(declared), value, is_missing)


def describe_fault(fault: Fault, texts: ErrorTexts) -> InvalidRequest:
    """Return the error of a fault, with the first matching text in `texts` and COMMON_TEXTS, else a general text."""
    for pattern, describe in (*texts, *COMMON_TEXTS):
        if match := re.fullmatch(pattern, fault.param):
            return describe(fault, match)
    return describe_generally(fault)


def describe_generally(fault: Fault) -> InvalidRequest:
    """Return the error of a fault, derived from the declared types and the value."""
    param, value = fault.param, fault.value
    fitting = next((kind for kind in fault.declared if _is_instance(value, kind)), None)
    if fault.is_missing or (value == "" and isinstance(fitting, inspect.StrType)):
        return missing_parameter(param)
    match fitting:
        case None:
            return wrong_type(param, " or ".join(dict.fromkeys(map(_name_declared, fault.declared))), value)
        case inspect.LiteralType(values=allowed):
            return wrong_value(param, str(value), map(str, allowed))
        case inspect.IntType() | inspect.FloatType():
            return invalid(param, f"Invalid value for '{param}': it must be {_describe_range(fitting)}.")
        case inspect.ListType(min_length=least, max_length=most) if isinstance(value, list):
            limit = f"at most {most}" if most is not None and len(value) > most else f"at least {least}"
            return invalid(param, f"Invalid value for '{param}': it must have {limit} items, but it has {len(value)}.")
        case inspect.DictType(value_type=inspect.FloatType() as member):
            text = f"a key is not valid, or a value is not a number {_describe_range(member)}"
            return invalid(param, f"Invalid value for '{param}': {text}.")
        case _:
            return invalid(param, f"Invalid value for '{param}'.")


def invalid(param: str, message: str, code: str = "invalid_value") -> InvalidRequest:
    """Return an error about the field at `param`."""
    return InvalidRequest(message, param=param, code=code)


def missing_parameter(param: str, *, reported: str = "") -> InvalidRequest:
    """Return the error for a missing required field. `reported` replaces the field as the error's `param`."""
    return invalid(reported or param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def wrong_type(param: str, expected: str, value: object) -> InvalidRequest:
    """Return the error for a wrong type. `expected` names JSON types, such as "a string or an array"."""
    message = f"Invalid type for '{param}': expected {expected}, but got {name_type(value)} instead."
    return invalid(param, message, "invalid_type")


def wrong_value(param: str, value: str, allowed: Iterable[str]) -> InvalidRequest:
    """Return the error for a `value` that is not one of the `allowed` texts."""
    supported = ", ".join(f"'{text}'" for text in allowed)
    return invalid(param, f"Invalid value: '{value[:_MAX_ECHOED]}'. Supported values are: {supported}.")


def name_type(value: object) -> str:
    """Return the JSON type of a decoded value, with an article: "an array"."""
    return _JSON_NAMES[type(value)]


@functools.cache
def struct_type(kind: type[msgspec.Struct]) -> inspect.StructType:
    """Return msgspec's description of a Struct and of its fields."""
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return found


def flatten(declared: inspect.Type) -> list[inspect.Type]:
    """Return the types in a union, or else the type itself, without null and without annotations."""
    match declared:
        case inspect.Metadata(type=inner):
            return flatten(inner)
        case inspect.UnionType(types=types):
            return [kind for member in types for kind in flatten(member)]
        case inspect.NoneType():
            return []
        case _:
            return [declared]


def _step(declared: list[inspect.Type], value: object, name: str, index: str) -> tuple[list[inspect.Type], object]:
    """Return the declared types and the value of a member: the list item `index`, or else the field `name`."""
    if index:
        items = [kind.item_type for kind in declared if isinstance(kind, inspect.ListType)]
        assert isinstance(value, list)
        return [kind for item in items for kind in flatten(item)], value[int(index)]
    assert isinstance(value, dict)
    structs = [kind for kind in declared if isinstance(kind, inspect.StructType)]
    # The tag field has the tag of one of the Structs. The tag selects the Struct that declares the other fields.
    if any(struct.tag_field == name for struct in structs):
        return [inspect.LiteralType(tuple(struct.tag for struct in structs if struct.tag))], value.get(name)
    chosen = (struct for struct in structs if struct.tag_field is None or value.get(struct.tag_field) == struct.tag)
    types = [field.type for struct in chosen for field in struct.fields if field.encode_name == name]
    return [kind for member in types for kind in flatten(member)], value.get(name)


def _required_field(declared: list[inspect.Type]) -> inspect.Field | None:
    match declared:
        case [inspect.StructType(fields=fields)]:
            return next((field for field in fields if field.required), None)
        case _:
            return None


def _is_instance(value: object, kind: inspect.Type) -> bool:
    expected = _PYTHON_TYPES.get(type(kind), object)
    return type(value) is expected or (expected is float and type(value) is int)


def _name_declared(kind: inspect.Type) -> str:
    return _JSON_NAMES[_PYTHON_TYPES[type(kind)]]


def _describe_range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f"between {_number(kind.ge)} and {_number(kind.le)}"
    bounds = (("at least", kind.ge), ("greater than", kind.gt), ("at most", kind.le), ("less than", kind.lt))
    return " and ".join(f"{text} {_number(bound)}" for text, bound in bounds if bound is not None)


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:.16g}"


def _describe_think(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    if not isinstance(fault.value, str):
        return wrong_type("think", 'a boolean or one of "high", "medium", "low", "max"', fault.value)
    value = fault.value[:_MAX_ECHOED]
    return invalid("think", f'invalid think value: "{value}" (must be "high", "medium", "low", "max", true, or false)')


def _describe_keep_alive(fault: Fault, _: re.Match[str]) -> InvalidRequest:
    go_types = {bool: "bool", dict: "map[string]interface {}", list: "[]interface {}"}
    return invalid("keep_alive", f"Unsupported type: '{go_types[type(fault.value)]}'", "invalid_type")


def _describe_option(fault: Fault, place: re.Match[str]) -> InvalidRequest:
    """Like Ollama, report an option's declared type, even if only its range is wrong."""
    if isinstance(fault.value, list) and place["name"] == "stop":
        return describe_generally(fault)
    kinds = {type(kind) for kind in fault.declared}
    if place["item"]:
        expected = "an array of strings"
    elif inspect.ListType in kinds:
        expected = "type array"
    elif inspect.BoolType in kinds:
        expected = "type boolean"
    else:
        expected = "type integer" if inspect.IntType in kinds else "type float32"
    name = place["name"]
    return invalid(f"options.{name}", f'option "{name}" must be of {expected}', "invalid_type")


def _describe_part(_: Fault, place: re.Match[str]) -> InvalidRequest:
    return invalid(place["part"], "invalid message format")


def _describe_media(_: Fault, place: re.Match[str]) -> InvalidRequest:
    return invalid(place["part"], f"invalid {place['kind']} input")


def _describe_called_name(fault: Fault, place: re.Match[str]) -> InvalidRequest:
    if fault.value not in (None, ""):
        return describe_generally(fault)
    return missing_parameter(fault.param, reported=place["function"])


COMMON_TEXTS: ErrorTexts = (
    ("think", _describe_think),
    ("keep_alive", _describe_keep_alive),
    (r"options\.(?P<name>\w+)(?P<item>\[\d+\])?", _describe_option),
    (r"(?P<part>.*(content|output)\[\d+\])\.type", _describe_part),
    (r"(?P<part>.*(content|output)\[\d+\])\.(?P<kind>image|video)(_url)?(\.url)?", _describe_media),
    (r"(?P<function>.*tool_calls\[\d+\]\.function)\.name", _describe_called_name),
)
