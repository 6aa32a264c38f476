import re
from typing import Annotated, Any

import pytest
from msgspec import Meta

from pico_jupyter.dialects.json_faults import MAX_NESTING
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object, json_text
from pico_jupyter.dialects.request_fields import RequestStruct, Seed
from pico_jupyter.errors import InvalidRequest

DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


class Item(RequestStruct, frozen=True):
    role: str


class Limits(RequestStruct, frozen=True):
    tokens: int | None = None


class Sample(RequestStruct, frozen=True):
    limits: Limits | str | None = None
    whole: int | None = None
    count: Annotated[int, Meta(ge=-1)] | None = None
    seed: Seed | None = None
    text: str | None = None
    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    items: list[Item] | None = None
    names: Annotated[list[str], Meta(min_length=1, max_length=2)] | None = None
    weights: dict[str, Annotated[float, Meta(ge=0, le=1)]] | None = None


def read(**members: object) -> Sample:
    return decode_fields(members, Sample)


def refused(**members: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(**members)
    return caught.value


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_is_missing(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^missing request body$"):
        decode_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b"nul",
        b"{",
        b"{} x",
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e400}',
        b'{"a":1' + b"0" * 5000 + b"}",
        b'{"a":"\xff"}',
        b"\xff",
        b'{"a":"line\nbreak"}',
        b"\x00",
    ],
)
def test_a_body_that_is_not_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        decode_object(body)


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "an array"), (b'"x"', "a string"), (b"1", "an integer")])
def test_a_body_that_is_not_an_object_is_refused_by_its_type(body: bytes, kind: str) -> None:
    with pytest.raises(InvalidRequest, match=f"must be a JSON object, but it is {kind}"):
        decode_object(body)


def test_deep_nesting_is_refused_without_a_traceback() -> None:
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        decode_object(DEEP)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ('{"temperature": NaN}', "temperature", "NaN at character 16 in 'temperature'"),
        ('{"a": {"b": -Infinity}}', "a.b", "-Infinity at character 12 in 'a.b'"),
        ('{"a": [0, {}, {"b": 1e400}]}', "a[2].b", "1e400 at character 20 in 'a[2].b'"),
        ('{"é": "€", "a": NaN}', "a", "NaN at character 16 in 'a'"),
        ('{"a": "\\ud800", "b": NaN}', "b", "NaN at character 21 in 'b'"),
        ('{"a": "line\nbreak"}', "a", "a string at character 6 in 'a'"),
        ('{"a": "secret', "a", "a string at character 6 in 'a'"),
        ("nul", None, "nul at character 0"),
        ('{"a":' + "[" * 10000 + "]" * 10000 + "}", "a[0][0][0]", "nested too deeply, in 'a[0][0][0]'"),
        ('{"a":{"b":[' + '{"c":' * 10000 + "1" + "}" * 10000 + "]}}", "a.b[0].c", "nested too deeply, in 'a.b[0].c'"),
        ("{" + '"x": 1,' * 100_000 + '"a": NaN}', None, "JSON is malformed: invalid character"),
        ('{"a": 1,}', None, "trailing comma"),
        ("}{", None, "not valid JSON"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_the_value_that_makes_a_body_invalid_is_named_with_its_field(body: str, param: str | None, words: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(words)) as caught:
        decode_object(body.encode())
    assert caught.value.param == param


def test_of_two_equal_keys_the_last_one_counts() -> None:
    assert decode_object(b'{"a":1,"a":2}') == {"a": 2}


def test_null_is_omitted() -> None:
    assert read(**dict.fromkeys(Sample.__struct_fields__)) == Sample()


def test_unknown_fields_are_ignored() -> None:
    assert read(other=1) == Sample()


@pytest.mark.parametrize("value", [True, "1", 1.5, [], {}])
def test_a_boolean_a_string_and_a_fraction_are_not_integers(value: object) -> None:
    error = refused(whole=value)
    assert error.message.startswith("Invalid type for 'whole': expected an integer, but got")
    assert (error.param, error.code) == ("whole", "invalid_type")


def test_a_float_without_fraction_is_an_integer() -> None:
    assert read(whole=16.0).whole == 16
    assert read(limits={"tokens": 16.0}).limits == Limits(16)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, 1e300])
def test_integers_with_a_maximum_are_refused_above_it(value: float) -> None:
    assert refused(seed=value).message.startswith("Invalid value for 'seed'")


@pytest.mark.parametrize("value", [2**63, 10**400, 1e300])
def test_a_count_without_a_maximum_is_never_too_large(value: float) -> None:
    assert read(count=value).count == 2**63 - 1


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"cut \ud83d", "cut \ufffd"),
        (r"\ude00 cut", "\ufffd cut"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\ud83dx\\ud83d", "\ufffdx\\ud83d"),
        (r"\uD83D\uDE00", "\U0001f600"),
    ],
)
def test_half_an_emoji_becomes_a_replacement_character(escaped: str, text: str) -> None:
    assert decode_object(f'{{"a": "{escaped}"}}'.encode()) == {"a": text}


@pytest.mark.parametrize("value", [True, "0.5", []])
def test_a_boolean_and_a_string_are_not_numbers(value: object) -> None:
    assert "expected a number" in refused(share=value).message


@pytest.mark.parametrize("value", [-0.1, 1.1, 10**400])
def test_a_number_out_of_range_is_refused_with_the_range(value: float) -> None:
    error = refused(share=value)
    assert error.message == "Invalid value for 'share': it must be between 0 and 1."
    assert (error.param, error.code) == ("share", "invalid_value")


def test_errors_name_the_whole_path() -> None:
    error = refused(items=[{"role": "x"}, {"role": 1}])
    assert error.param == "items[1].role"
    assert "'items[1].role': expected a string, but got an integer" in error.message


def test_the_first_wrong_field_is_named() -> None:
    assert refused(text=1, whole="x").param == "text"
    assert refused(whole="x", text=1).param == "whole"


@pytest.mark.parametrize("item", [{}, {"role": None}])
def test_a_missing_field_is_named(item: dict[str, Any]) -> None:
    error = refused(items=[item])
    assert error.message == "Missing required parameter: 'items[0].role'."
    assert (error.param, error.code) == ("items[0].role", "missing_required_parameter")


def test_items_that_are_not_objects_are_named() -> None:
    assert "'items[0]': expected an object, but got null" in refused(items=[None]).message


@pytest.mark.parametrize(
    ("names", "reason"),
    [([], "it must have at least 1 items, but it has 0"), (["a"] * 3, "it must have at most 2 items, but it has 3")],
)
def test_an_array_with_too_few_or_too_many_items_is_refused(names: list[str], reason: str) -> None:
    assert refused(names=names).message == f"Invalid value for 'names': {reason}."


def test_a_wrong_value_of_a_map_is_refused_by_the_name_of_the_map() -> None:
    error = refused(weights={"a": 2})
    assert error.param == "weights"
    assert "a value is not a number between 0 and 1" in error.message


def test_a_deeply_nested_array_in_place_of_an_integer_is_refused() -> None:
    nested: object = 1
    for _ in range(900):
        nested = [nested]
    assert refused(whole=nested).param == "whole"


def test_json_text_keeps_values() -> None:
    text = json_text({"é": [1, 2.5, None, 10**20]}, "a")
    assert text == '{"é":[1,2.5,null,100000000000000000000]}'


def test_json_text_that_is_nested_deeply_is_refused() -> None:
    def nested(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    assert json_text(nested(MAX_NESTING - 1), "tools").startswith("[")
    with pytest.raises(InvalidRequest, match="'tools' is nested too deeply"):
        json_text(nested(MAX_NESTING), "tools")
