from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pico_jupyter.engine.structure.grammar import answer_grammar, check_grammar
from pico_jupyter.engine.structure.schema_rewrite import rewrite_schema
from pico_jupyter.types import Structure
from tests.engine.structure.grammar_vocabulary import ByteVocabulary

VOCABULARY = ByteVocabulary([])
A_OR_B = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}
US = {"properties": {"country": {"const": "US"}}, "required": ["country"]}


@pytest.mark.parametrize(
    ("schema", "accepted", "refused"),
    [
        # not
        ({"not": {"type": "string"}}, ["1", "null", "{}"], ['"a"']),
        ({"not": {"type": ["number", "integer", "object"]}}, ['"a"'], ["1", "1.5", "{}"]),
        ({"type": "string", "not": {"enum": ["a", "ab", '"']}}, ['""', '"b"', '"abc"', '"\\"x"'], ['"a"', '"\\""']),
        ({"type": "string", "not": {"const": ""}}, ['"a"'], ['""']),
        ({"type": "integer", "not": {"enum": [5, 6]}}, ["4", "7"], ["5", "6"]),
        ({"not": {"enum": [True, None, 0]}}, ["false", "1", '""', "[]"], ["true", "null", "0"]),
        ({"type": "object", "not": {"required": ["a", "b"]}}, ["{}", '{"a":1}', '{"b":1}'], ['{"a":1,"b":1}']),
        ({"type": "object", "not": {"propertyNames": False}}, ['{"a":1}'], ["{}"]),
        ({"type": "object", "not": {"propertyNames": {"not": {"enum": ["a"]}}}}, ['{"a":1}'], ["{}", '{"b":1}']),
        ({"type": "object", "not": {"properties": {"a": {"type": "null"}}}}, ['{"a":1}'], ["{}", '{"a":null}']),
        ({"type": "number", "not": {"minimum": 3}}, ["2"], ["3"]),
        ({"type": "string", "not": {"minLength": 2}}, ['"a"'], ['"ab"']),
        ({"type": "array", "not": {"maxItems": 1}}, ["[1,1]"], ["[1]"]),
        ({"not": {"not": {"type": "null"}}}, ["null"], ["1"]),
        ({"not": {"anyOf": [{"type": "null"}, {"type": "string"}]}}, ["1"], ["null", '"a"']),
        ({"not": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "null"}}}, ["1"], ["null"]),
        # enum with other keywords
        ({"enum": [1, 2, 3], "not": {"minimum": 3}}, ["1", "2"], ["3"]),
        ({"enum": [{"a": 0}, {"a": 1}], "not": {"enum": [{"a": True}, {"a": 0.0}]}}, ['{"a":1}'], ['{"a":0}']),
        ({"allOf": [{"enum": [{}, "a"]}, {"not": {"type": "string"}}]}, ["{}"], ['"a"']),
        ({"const": {"a": "x"}, "not": {"patternProperties": {"^a": {"type": "null"}}}}, ['{"a":"x"}'], []),
        # dependencies
        ({"dependencies": {"a": ["b"]}}, ["{}", '{"b":1}', '{"a":1,"b":1}', "1"], ['{"a":1}']),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, ['{"b":1}', '{"a":1,"b":1}'], ['{"a":1}', "1"]),
        ({"type": "object", "dependentSchemas": {"a": {"maxProperties": 1}}}, ['{"b":1,"c":1}'], ['{"a":1,"b":1}']),
        # if
        (
            {
                "type": "object",
                "properties": {"country": {"enum": ["US", "CA"]}, "code": {"type": "string"}},
                "required": ["country", "code"],
                "if": US,
                "then": {"properties": {"code": {"pattern": "^[0-9]+$"}}},
                "else": {"properties": {"code": {"pattern": "^[A-Z]+$"}}},
            },
            ['{"country":"US","code":"1"}', '{"country":"CA","code":"A"}'],
            ['{"country":"US","code":"A"}', '{"country":"CA","code":"1"}'],
        ),
        # oneOf
        ({"type": "object", **A_OR_B}, ['{"a":1}', '{"b":1}'], ["{}", '{"a":1,"b":1}']),
        ({"oneOf": [{"type": "string"}, {"minLength": 2}]}, ["1", '"a"'], ['"ab"']),
        ({"oneOf": [{"$ref": "#/$defs/s"}, {"const": 1}], "$defs": {"s": {"type": "string"}}}, ['"a"', "1"], ["2"]),
        ({"anyOf": [{"oneOf": [True, True]}, {"type": "null"}]}, ["null"], ["1"]),
        # format
        ({"type": "string", "format": "html-selector"}, ['"any text"'], ["1"]),
        ({"type": "string", "format": "uri-reference"}, ['"/a/b?c#d"', '"http://a.b"', '"a.sock"'], ['"a b"', '"1:b"']),
        ({"type": "string", "format": "date"}, ['"2000-02-29"'], ['"1900-02-29"', '"2023-02-30"', '"0000-01-01"']),
        ({"type": "string", "format": "time"}, ['"23:59:59.5+01:00"'], ['"23:59:60Z"', '"24:00:00Z"', '"10:00:00"']),
        ({"type": "string", "format": "date-time", "maxLength": 20}, ['"2023-01-31T10:00:00Z"'], ['"2023-01-31"']),
        ({"type": "string", "format": "time"}, ['"10:00:00.123456789Z"'], ['"10:00:00.1234567890Z"']),
        ({"format": "duration"}, ['"P1Y2M3DT4H5M6S"', '"P2W"', '"PT5S"'], ['"P"', '"PT"', '"P1S"', '"P1234567D"']),
        ({"type": "string", "format": "json-pointer"}, ['""', '"/a~0/b"'], ['"a"', '"/~2"']),
        # propertyNames
        (
            {"type": "object", "propertyNames": {"$ref": "#/$defs/n"}, "additionalProperties": {"type": "null"},
             "$defs": {"n": {"type": "string", "enum": ["a", "b/"]}}},
            ["{}", '{"a":null}', '{"a":null,"b/":null}'],
            ['{"c":null}', '{"a":1}'],
        ),
        (
            {"propertyNames": {"enum": ["a", "b", 1]}, "properties": {"a": {"const": 1}, "c": True}},
            ["{}", '{"a":1,"b":2}', "1"],
            ['{"a":2}', '{"c":1}'],
        ),
        ({"propertyNames": {"const": "a"}, "required": ["a"]}, ['{"a":1}'], ["{}", '{"b":1}']),
        ({"type": "object", "propertyNames": {"pattern": '^[^"]$'}}, ['{"a":1}', "{}"], ['{"ab":1}', '{"\\"":1}']),
        ({"propertyNames": {"minLength": 2, "maxLength": 3}}, ['{"ab":1}'], ['{"a":1}', '{"abcd":1}']),
        ({"propertyNames": {"format": "date"}}, ['{"2024-02-29":1,"1999-12-31":1}'], ['{"1999-02-29":1}', '{"a":1}']),
        # Annotations beside references that are recursive
        (
            {"type": "object", "properties": {"n": {"discriminator": {}, "anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
            ['{"n":{"n":null}}'],
            ['{"n":1}'],
        ),
        ({"$defs": {"n": {"items": {"deprecated": True, "$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, ["[[1]]"], []),
        ({"$ref": "#/x-types/a", "x-types": {"a": {"type": "null"}}}, ["null"], ["1"]),
        # What llguidance enforces differently
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**64}, ["0", str(2**62)], [str(2**65), "1.5"]),
        ({"type": "number", "minimum": -1e300, "exclusiveMaximum": 1e308}, ["0.5", "-5"], [str(10**309)]),
        ({"type": "number", "maximum": 5, "exclusiveMaximum": 1e308}, ["5"], ["6"]),
        ({"type": "string", "pattern": '^[^"]$'}, ['"a"', '"\\\\"', '"\\n"'], ['"\\""']),
        ({"type": "string", "pattern": r"^\[[^\\\]]$"}, ['"[a"'], ['"[\\\\"', '"[]"', '"a"']),
        ({"patternProperties": {'^[^"]$': True}, "additionalProperties": False}, ['{"a":1}'], ['{"\\"":1}']),
        ({"exclusiveMinimum": 0, "maximum": 0.5}, ["0.1", "0.5"], ["0", "0.6"]),
        ({"maximum": 0.5, "not": {"maximum": 0}}, ["0.1", "0.5"], ["0", "0.6"]),
        ({"enum": [1e300, "x"]}, ['"x"'], ["1", "2"]),
        ({"enum": [1.0, {"a": 2.0}, "x"]}, ["1", "1.0", '{"a":2.0}', '"x"'], ["1.5", "2", '{"a":3}']),
    ],
)  # fmt: skip
def test_a_rewritten_schema_accepts_the_same_values(schema: Any, accepted: list[str], refused: list[str]) -> None:
    grammar = answer_grammar(Structure("json_schema", json.dumps(schema)), "", VOCABULARY.literal)
    assert check_grammar(grammar, VOCABULARY.ll) == ""
    assert [text for text in accepted if not VOCABULARY.accepts(grammar, text)] == []
    assert [text for text in refused if VOCABULARY.accepts(grammar, text)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"type": "integer"}},
        {"not": {"type": "strin"}},
        {"not": {"const": [1]}},
        {"not": {"const": "x" * 100}},
        {"not": {"type": "string", "format": "date"}},
        {"not": {"allOf": [{"$ref": "#/not"}]}},
        {"not": {"$ref": "http://a.b/c"}},
        {"not": {"properties": {}, "additionalProperties": False}},
        {"oneOf": [{"minimum": index} for index in range(9)]},
        {"enum": [[1, 1]], "not": {"uniqueItems": True}},
        # A reference into a part that would be replaced.
        {"not": {"type": "string"}, "properties": {"a": {"$ref": "#/not"}}},
        # Malformed
        {"not": 5},
        {"not": {"required": 5}},
        {"dependencies": [1]},
        {"oneOf": {}},
        # The names of members and the values of annotations are no keywords.
        {"properties": {"not": {"type": "string"}, "format": {"type": "string"}}},
        {"default": {"not": {"type": "string"}}, "examples": [{"format": "path"}]},
    ],
)
def test_a_schema_without_an_exact_replacement_stays_as_it_is(schema: Any) -> None:
    assert rewrite_schema(schema) == schema


@pytest.mark.parametrize(
    ("bounds", "keyword"), [({"minimum": 10**40, "maximum": 10**41}, "minimum"), ({"maximum": -(2**64)}, "maximum")]
)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_number_that_must_be_too_large_is_refused_by_name(kind: str, bounds: Any, keyword: str) -> None:
    schema = {"properties": {"a": {"type": kind, **bounds}}}
    message = check_grammar(answer_grammar(Structure("json_schema", json.dumps(schema)), "", str), VOCABULARY.ll)
    assert message == f"the keyword '{keyword}' has a number that is too large (at #/properties/a)"


@pytest.mark.parametrize(
    "schema",
    [
        {"propertyNames": {"format": "email"}},
        {"propertyNames": {"enum": ["a", "bc"], "minLength": 2}},
        {"propertyNames": {"$ref": "#/$defs/a", "maxLength": 2}, "$defs": {"a": {"minLength": 1}}},
        {"propertyNames": {"maxLength": 2.5}},
        {"propertyNames": False},
        {"propertyNames": {"enum": [str(index) for index in range(200)]}},
        {"propertyNames": {"pattern": "^a"}, "properties": {"b": True}},
        {"propertyNames": {"enum": ["a"]}, "patternProperties": {"^a": True}},
    ],
)
def test_names_that_cannot_be_declared_are_refused_by_name(schema: Any) -> None:
    grammar = answer_grammar(Structure("json_schema", json.dumps(schema)), "", str)
    assert check_grammar(grammar, VOCABULARY.ll) == "the keyword 'propertyNames' is not supported (at #/propertyNames)"


def test_a_rewriting_ends_early_where_schemas_grow_exponentially() -> None:
    level = {f"d{index}": {"anyOf": [{"$ref": f"#/$defs/d{index + 1}"}] * 2} for index in range(40)}
    schema = {"not": {"$ref": "#/$defs/d0"}, "$defs": {**level, "d40": {"type": "null"}}}
    started = time.monotonic()
    assert rewrite_schema(schema) == schema
    assert rewrite_schema({"enum": ["a" * 40], "not": {"pattern": "^(a+)+b$"}}) is not None
    assert time.monotonic() - started < 5


def test_a_schema_with_many_levels_stays_as_it_is() -> None:
    schema: Any = {"type": "null"}
    for _ in range(900):
        schema = {"not": schema}
    assert rewrite_schema(schema) is schema


def test_a_long_enumeration_with_a_negation_is_rewritten_quickly() -> None:
    schema = {"enum": list(range(900)), "not": {"enum": list(range(1, 9000))}}
    started = time.process_time()
    assert rewrite_schema(schema) == {"enum": [0]}
    assert time.process_time() - started < 1
