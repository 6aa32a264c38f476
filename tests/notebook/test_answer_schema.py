"""Answers with a schema: what is requested, and the value of the answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook import Answer, Pico
from pico_jupyter.notebook.answer_schema import read_schema
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, TextPiece, Turn
from tests.fakes.source import FakeSource

ADA = '{"name": "Ada", "age": 36}'


class PydanticPerson(pydantic.BaseModel):
    name: str
    age: int


@dataclass
class Person:
    name: str
    age: int


class PersonDict(TypedDict):
    name: str
    age: int


class PersonStruct(msgspec.Struct):
    name: str
    age: int


JSON_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
VALUES: list[tuple[Any, object]] = [
    (PydanticPerson, PydanticPerson(name="Ada", age=36)),
    (pydantic.TypeAdapter(PydanticPerson), PydanticPerson(name="Ada", age=36)),
    (Person, Person("Ada", 36)),
    (PersonDict, {"name": "Ada", "age": 36}),
    (PersonStruct, PersonStruct("Ada", 36)),
    (JSON_SCHEMA, {"name": "Ada", "age": 36}),
]


def pico_of(text: str, reason: str = "stop") -> tuple[Pico, FakeSource]:
    source = FakeSource(TextPiece(text), FinishPiece(reason))
    return Pico(source, shared_loop()), source


def object_schema(text: str) -> dict[str, Any]:
    """The schema of the object, which msgspec refers to."""
    schema: dict[str, Any] = json.loads(text)
    return next(iter(schema["$defs"].values())) if "$ref" in schema else schema


@pytest.mark.parametrize(("schema", "value"), VALUES)
def test_the_value_of_an_answer_has_the_type_of_the_schema(schema: Any, value: object) -> None:
    pico, source = pico_of(ADA)
    answer = pico.chat("Who?", schema=schema)
    assert answer.parsed == value
    assert type(answer.parsed) is type(value)
    assert answer.parsed is answer.parsed
    requested = object_schema(source.calls[0].schema)
    assert set(requested["properties"]) == {"name", "age"}
    assert sorted(requested["required"]) == ["age", "name"]


@pytest.mark.parametrize("schema", [schema for schema, _ in VALUES if schema is not JSON_SCHEMA])
def test_an_object_of_a_type_has_no_other_members(schema: Any) -> None:
    found = read_schema(schema)
    assert found is not None
    assert object_schema(found.text)["additionalProperties"] is False


def test_a_json_schema_stays_as_it_is() -> None:
    found = read_schema(JSON_SCHEMA)
    assert found is not None
    assert json.loads(found.text) == JSON_SCHEMA


def test_a_model_that_allows_other_members_keeps_them() -> None:
    class Open(pydantic.BaseModel, extra="allow"):
        name: str

    found = read_schema(Open)
    assert found is not None
    assert json.loads(found.text)["additionalProperties"] is True


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (list[int], "[1, 2]", [1, 2]),
        (Literal["yes", "no"], '"yes"', "yes"),
        (pydantic.TypeAdapter(list[PydanticPerson]), f"[{ADA}]", [PydanticPerson(name="Ada", age=36)]),
    ],
)
def test_other_types_are_schemas_too(schema: Any, text: str, value: object) -> None:
    assert pico_of(text)[0].chat("?", schema=schema).parsed == value


async def test_coroutines_and_streams_have_a_value() -> None:
    pico, _ = pico_of(ADA)
    assert (await pico.achat("Who?", schema=Person)).parsed == Person("Ada", 36)
    pieces = pico.chat("Who?", schema=Person, stream=True)
    for _ in pieces:
        pass
    assert pieces.answer.parsed == Person("Ada", 36)


def test_an_answer_without_a_schema_has_no_value() -> None:
    pico, source = pico_of(ADA)
    assert pico.chat("Who?").parsed is None
    assert source.calls[0].schema == ""


def test_a_continued_conversation_has_no_schema_of_its_own() -> None:
    pico, source = pico_of(ADA)
    pico.chat("And now?", history=pico.chat("Who?", schema=Person))
    assert source.calls[1].schema == ""


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("length", r"reached its token limit before its JSON was complete \(max_tokens\), and ends in: '{\"name'"),
        ("stopped", "was stopped before its JSON was complete"),
        ("failed", "is incomplete because of an error"),
        ("", "is still generating the answer"),
    ],
)
def test_an_incomplete_answer_has_no_value_and_says_why(reason: Any, message: str) -> None:
    answer = Answer(AnswerRequest("tiny", (Turn("user", "?"),)), '{"name', schema=read_schema(Person))
    answer.finish_reason = reason
    with pytest.raises(ValueError, match=message):
        _ = answer.parsed


@pytest.mark.parametrize("schema", [schema for schema, _ in VALUES if schema is not JSON_SCHEMA])
def test_an_answer_that_does_not_match_is_an_error_that_names_the_member(schema: Any) -> None:
    answer = pico_of('{"name": "Ada", "age": "old"}')[0].chat("Who?", schema=schema)
    with pytest.raises(ValueError, match=r"the answer does not match the schema: (.|\n)*age"):
        _ = answer.parsed


def test_an_answer_that_is_not_json_is_an_error() -> None:
    answer = pico_of("Ada")[0].chat("Who?", schema=JSON_SCHEMA)
    with pytest.raises(ValueError, match="does not match the schema"):
        _ = answer.parsed


@pytest.mark.parametrize("schema", ["Person", 5, Person("Ada", 36), object, {"type": {1, 2}}, [int]])
def test_other_schemas_are_refused_before_the_request(schema: Any) -> None:
    pico, source = pico_of(ADA)
    with pytest.raises(InvalidRequest, match=r"^schema: ") as caught:
        pico.chat("Who?", schema=schema)
    assert caught.value.param == "schema"
    assert source.calls == []
