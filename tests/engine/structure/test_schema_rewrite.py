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
        ({"type": "string", "format": "json-pointer"}, ['""', '"/a~0/b"'], ['"a"', '"/~2"']),
        # What llguidance enforces differently
        ({"type": "string", "pattern": '^[^"]$'}, ['"a"', '"\\\\"', '"\\n"'], ['"\\""']),
        ({"type": "string", "pattern": r"^\[[^\\\]]$"}, ['"[a"'], ['"[\\\\"', '"[]"', '"a"']),
        ({"patternProperties": {'^[^"]$': True}, "additionalProperties": False}, ['{"a":1}'], ['{"\\"":1}']),
        ({"exclusiveMinimum": 0, "maximum": 0.5}, ["0.1", "0.5"], ["0", "0.6"]),
        ({"maximum": 0.5, "not": {"maximum": 0}}, ["0.1", "0.5"], ["0", "0.6"]),
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
