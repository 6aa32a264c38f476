from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llguidance.hf import from_tokenizer

from pico_jupyter.engine.structure.grammar import answer_grammar, check_grammar, token_literal
from pico_jupyter.engine.structure.grammar_check import MAX_GRAMMAR_BYTES
from pico_jupyter.engine.text.tokenizer import load_tokenizer
from pico_jupyter.types import Structure
from tests.engine.structure.grammar_vocabulary import ByteVocabulary

VOCABULARY = ByteVocabulary(["<|message|>", "<think>"])
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


def grammar_of(kind: Any, value: Any = "", prefix: str = "") -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return answer_grammar(Structure(kind, text), prefix, VOCABULARY.literal)


@pytest.mark.parametrize(
    ("kind", "value", "accepted", "refused"),
    [
        ("json_object", "", '{"a": [1, null]}', "[1]"),
        ("json_schema", PERSON, '{"name": "é\\n", "age": 3}', '{"age": 3}'),
        ("json_schema", PERSON, '{\n\n"name" : "a"\n}', '{\n\n\n"name": "a"}'),
        ("json_schema", True, "[1]", "[1"),
        ("json_schema", {"type": "string"}, '"\\u0001"', '"\\u00e9"'),
        ("json_schema", {"type": "array", "uniqueItems": False}, "[1]", "1"),
        ("regex", r"\d{2}/[a-c]+", "12/ab", "x12/ab"),
        ("regex", r"^a$", "a", "b"),
        ("regex", "", "", "a"),
        ("choice", ["yes", "no", 'a "quote" 😀'], 'a "quote" 😀', "maybe"),
        ("grammar", 'start: "a" b\nb: "c"', "ac", "a"),
    ],
)
def test_an_answer_has_the_structure_and_nothing_else(kind: Any, value: Any, accepted: str, refused: str) -> None:
    for prefix in ("", "final<|message|>"):
        grammar = grammar_of(kind, value, prefix)
        assert check_grammar(grammar, VOCABULARY.ll) == ""
        assert VOCABULARY.accepts(grammar, prefix + accepted)
        assert not VOCABULARY.accepts(grammar, prefix + refused)


def test_a_json_object_is_nested_twelve_levels_at_most() -> None:
    grammar = grammar_of("json_object")
    for levels, is_accepted in ((12, True), (13, False)):
        nested = json.dumps({"a": json.loads("[" * (levels - 1) + "]" * (levels - 1))})
        assert VOCABULARY.accepts(grammar, nested) == is_accepted


def test_options_of_llguidance_in_a_schema_have_no_effect() -> None:
    grammar = grammar_of("json_schema", {**PERSON, "x-guidance": {"whitespace_pattern": ".*", "lenient": True}})
    assert not VOCABULARY.accepts(grammar, '{"name":      "a"}')


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"uniqueItems": True}, "the keyword 'uniqueItems' is not supported (at #/properties/p/uniqueItems)"),
        ({"contains": {}}, "the keyword 'contains' is not supported (at #/properties/p/contains)"),
        ({"if": {"pattern": "a"}, "then": {}}, "the keyword 'if' is not supported (at #/properties/p/if)"),
        ({"not": {"pattern": "a"}}, "the keyword 'not' is not supported (at #/properties/p/not)"),
        (
            {"propertyNames": {"format": "email"}},
            "the keyword 'propertyNames' is not supported (at #/properties/p/propertyNames)",
        ),
        (
            {"patternProperties": {"a": True, "b": True}},
            "the keyword 'patternProperties' needs patterns that never match the same name, unlike /a/ and /b/"
            " (at #/properties/p)",
        ),
        (
            {"properties": {"a": True}, "minProperties": 1},
            "the keywords 'minProperties' and 'maxProperties' are supported only if all declared members are required"
            " (at #/properties/p)",
        ),
        ({"pattern": "\\ba"}, "the keyword 'pattern' has a lookaround, which is not supported (at #/properties/p)"),
        ({"items": {"contains": {}}}, "the keyword 'contains' is not supported (at #/properties/p/items/contains)"),
        ({"type": "string", "format": "idn-email"}, "the format 'idn-email' is not supported (at #/properties/p)"),
        ({"$ref": "#/nope"}, "the reference '#/nope' does not exist (at #/properties/p)"),
        ({"$ref": "http://a.b/c"}, "the reference 'http://a.b/c' leads out of the schema (at #/properties/p)"),
        (
            {"type": "string", "pattern": "(?=a)b"},
            "the keyword 'pattern' has a look-around, which is not supported (at #/properties/p)",
        ),
        (
            {"type": "string", "pattern": "["},
            "regex parse error: [ ^ error: unclosed character class (at #/properties/p)",
        ),
        ({"oneOf": [{"pattern": "a"}, {"pattern": "b"}]}, "the keyword 'oneOf' is supported only if its options"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no value matches the schema"),
        ({"type": "strin"}, "Invalid type: strin (at #/properties/p)"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused_with_keyword_and_path(schema: Any, message: str) -> None:
    grammar = grammar_of("json_schema", {"type": "object", "properties": {"p": schema}, "required": ["p"]})
    assert check_grammar(grammar, VOCABULARY.ll).startswith(message)


def test_a_keyword_that_is_not_found_in_a_wide_schema_has_no_place() -> None:
    properties: dict[str, Any] = {f"k{i}": {"type": "string", "description": "x" * 300} for i in range(400)}
    schema = {"type": "object", "properties": {**properties, "last": {"uniqueItems": True}}}
    message = check_grammar(grammar_of("json_schema", schema), VOCABULARY.ll)
    assert message == "the keyword 'uniqueItems' is not supported"


def test_an_error_of_a_regular_expression_names_no_keyword() -> None:
    message = check_grammar(grammar_of("regex", "(a)\\1"), VOCABULARY.ll)
    assert message == "the regular expression has a backreference, which is not supported"


def test_a_grammar_with_an_error_of_syntax_is_refused() -> None:
    assert "unknown name" in check_grammar("start: missing", VOCABULARY.ll)


def test_a_schema_that_is_too_large_is_refused_with_the_limit() -> None:
    schema = {"enum": ["x" * 100] * (MAX_GRAMMAR_BYTES // 100)}
    assert check_grammar(grammar_of("json_schema", schema), VOCABULARY.ll).endswith("the limit is 256 kB")


def test_a_literal_names_the_special_tokens_of_a_real_vocabulary() -> None:
    tokenizer = load_tokenizer(Path("pico_jupyter/builtin/pico-tiny"))
    literal = token_literal(tokenizer, from_tokenizer(tokenizer._hf))
    token_id = tokenizer.encode("<tool_call>", False)[0]
    assert literal("a<tool_call>é") == f'"a" <[{token_id}]> "\\u00e9"'
    assert literal("") == '""'
