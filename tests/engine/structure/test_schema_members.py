"""Members that a schema does not declare."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pico_jupyter.engine.structure.grammar import answer_grammar, check_grammar
from pico_jupyter.engine.structure.schema_members import grammar_schema
from pico_jupyter.engine.structure.schema_rewrite import rewrite_schema
from pico_jupyter.types import Structure
from tests.engine.structure.grammar_vocabulary import ByteVocabulary

VOCABULARY = ByteVocabulary([])
NAME: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["name"],
}
TREE: dict[str, Any] = {
    "$ref": "#/$defs/Tree",
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
            },
            "required": ["value"],
        }
    },
}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    grammar = answer_grammar(Structure("json_schema", json.dumps(schema)), "", VOCABULARY.literal)
    assert check_grammar(grammar, VOCABULARY.ll) == ""
    return VOCABULARY.accepts(grammar, json.dumps(value))


@pytest.mark.parametrize(
    ("schema", "accepted", "refused"),
    [
        (NAME, {"name": "a"}, {"name": "a", "x": 1}),
        ({"type": "array", "items": NAME}, [{"name": "a"}], [{"name": "a", "x": 1}]),
        ({"anyOf": [NAME, {"type": "null"}]}, {"name": "a"}, {"name": "a", "x": 1}),
        ({"allOf": [NAME]}, {"name": "a"}, {"name": "a", "x": 1}),
        (PERSON, {"name": "a", "age": 3}, {"name": "a", "age": 3, "x": 1}),
        (PERSON, {"name": "a", "x": 1, "y": 2, "z": [{}]}, {"name": "a", "x": 1, "y": 2, "z": 3, "w": 4}),
        (PERSON, {"name": "a", "age": 3, "note": "", "x": 1}, {"name": "a", "age": 3, "note": "", "x": 1, "y": 2}),
        (PERSON, {"name": "a", "x": {"b": {"c": 1}}}, {"name": "a", "x": {"b": {"c": {"d": 1}}}}),
        (TREE, {"value": 1, "next": {"value": 2}}, {"value": 1, "next": {"value": 2, "x": 1, "y": 1, "z": 1}}),
    ],
)
def test_an_object_has_few_members_that_its_schema_does_not_declare(schema: Any, accepted: Any, refused: Any) -> None:
    assert accepts(schema, accepted)
    assert not accepts(schema, refused)


@pytest.mark.parametrize(
    "schema",
    [
        {**NAME, "additionalProperties": True},
        {**NAME, "patternProperties": {"^y": {"type": "integer"}}},
        {**NAME, "minProperties": 1},
        {**NAME, "required": ["name", "x"]},
        {"type": "object"},
        {"allOf": [NAME, {"properties": {"x": {"type": "integer"}}}]},
        {"allOf": [{"$ref": "#/$defs/N"}, {"properties": {"x": {"type": "integer"}}}], "$defs": {"N": NAME}},
        {**NAME, "anyOf": [{"properties": {"x": {"type": "integer"}}}]},
    ],
)
def test_a_schema_that_says_something_of_other_members_is_not_limited(schema: dict[str, Any]) -> None:
    assert accepts(schema, {"name": "a", "x": 1, "z": 1})


def test_a_schema_that_the_limits_would_make_too_long_is_not_limited() -> None:
    schema = {"type": "object", "properties": {f"p{i}": PERSON for i in range(200)}}
    assert grammar_schema(schema) == rewrite_schema(schema)


def test_an_error_in_a_limited_object_has_the_place_in_the_schema_of_the_request() -> None:
    schema = {**PERSON, "properties": {**PERSON["properties"], "tags": {"type": "array", "uniqueItems": True}}}
    grammar = answer_grammar(Structure("json_schema", json.dumps(schema)), "", VOCABULARY.literal)
    assert "(at #/properties/tags/uniqueItems)" in check_grammar(grammar, VOCABULARY.ll)
