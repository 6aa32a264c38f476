from typing import Annotated, Literal

import pytest
from msgspec import Meta

from pico_jupyter.dialects.request_bodies import decode_fields
from pico_jupyter.dialects.request_errors import ErrorTexts, invalid, wrong_value
from pico_jupyter.dialects.request_fields import Name, RequestStruct
from pico_jupyter.errors import InvalidRequest


class Named(RequestStruct, frozen=True):
    name: Name


class Text(RequestStruct, frozen=True, tag_field="type", tag="text"):
    text: str


class Call(RequestStruct, frozen=True, tag_field="type", tag="call"):
    function: Named


class Sample(RequestStruct, frozen=True):
    word: Literal["a", "b"] | bool | None = None
    parts: str | list[Text | Call] | None = None
    inner: Named | None = None
    penalty: Annotated[float, Meta(gt=0)] | None = None


def refused(texts: ErrorTexts = (), **members: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_fields(members, Sample, texts)
    return caught.value


@pytest.mark.parametrize("word", ["c", ""])
def test_a_text_that_is_not_allowed_is_refused_with_those_that_are(word: str) -> None:
    assert refused(word=word).message == f"Invalid value: '{word}'. Supported values are: 'a', 'b'."


def test_an_unknown_type_of_an_object_is_refused_with_those_that_are_known() -> None:
    error = refused(parts=[{"type": "text", "text": "x"}, {"type": "image"}])
    assert error.message == "Invalid value: 'image'. Supported values are: 'text', 'call'."
    assert error.param == "parts[1].type"


@pytest.mark.parametrize(
    "part", [{"type": "call"}, {"type": "call", "function": None}, {"type": "call", "function": {}}]
)
def test_the_innermost_required_field_is_the_missing_one(part: dict[str, object]) -> None:
    assert refused(parts=[part]).message == "Missing required parameter: 'parts[0].function.name'."


def test_an_empty_name_is_missing() -> None:
    assert refused(inner={"name": ""}).message == "Missing required parameter: 'inner.name'."


def test_all_types_that_are_allowed_are_named() -> None:
    assert "'parts': expected a string or an array, but got an integer instead" in refused(parts=5).message


def test_a_range_without_an_end_is_named() -> None:
    assert refused(penalty=0).message == "Invalid value for 'penalty': it must be greater than 0."


def test_a_value_that_looks_like_a_path_does_not_change_the_param() -> None:
    assert refused(parts=[{"type": "x` - at `$.inner.name`"}]).param == "parts[0].type"


def test_an_api_may_prescribe_a_text() -> None:
    texts: ErrorTexts = ((r"parts\[\d+\]\.type", lambda fault, _: invalid("parts", f"no {fault.value} here")),)
    error = refused(texts, parts=[{"type": "image"}])
    assert (error.message, error.param) == ("no image here", "parts")


def test_echoed_values_are_short() -> None:
    assert len(wrong_value("a", "x" * 100_000, ("y",)).message) < 200
