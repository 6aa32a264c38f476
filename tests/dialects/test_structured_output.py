"""What the text of an answer must be: response_format, format, and vLLM's fields."""

from __future__ import annotations

from typing import Any

import pytest

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import Structure
from tests.dialects.samples import chat_call, ollama_chat, ollama_generate

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
SCHEMA_TEXT = '{"type":"object","properties":{"name":{"type":"string"}}}'
PARSERS = [chat_call, ollama_chat, ollama_generate]
IGNORE = DialectSettings(structured_outputs="ignore")
ENFORCE = DialectSettings(structured_outputs="enforce")


def json_schema(**members: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, **members}}


def refused(parse: Any, **members: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(**members)
    return caught.value


@pytest.mark.parametrize("value", [None, {"type": "text"}])
def test_text_is_no_structure(value: object) -> None:
    assert chat_call(response_format=value).request.structure is None


@pytest.mark.parametrize("strict", [True, False, None])
def test_a_schema_is_enforced_with_and_without_strict(strict: bool | None) -> None:
    structure = chat_call(response_format=json_schema(strict=strict, description="d")).request.structure
    assert structure == Structure("json_schema", SCHEMA_TEXT, "response_format")


def test_a_json_object_may_have_a_schema() -> None:
    assert chat_call(response_format={"type": "json_object"}).request.structure == Structure("json_object")
    with_schema = {"type": "json_object", "schema": SCHEMA}
    assert chat_call(response_format=with_schema).request.structure == Structure("json_schema", SCHEMA_TEXT)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    ("name", "value", "kind", "text"),
    [
        ("json", SCHEMA, "json_schema", SCHEMA_TEXT),
        ("json", ' {"type": "object"}', "json_schema", '{"type":"object"}'),
        ("regex", "[a-z]+", "regex", "[a-z]+"),
        ("choice", ["yes", "nö"], "choice", '["yes","nö"]'),
        ("grammar", 'start: "a"', "grammar", 'start: "a"'),
    ],
)
def test_the_fields_of_vllm_are_read_on_every_endpoint(parse: Any, name: str, value: Any, kind: Any, text: str) -> None:
    old, new = parse(**{f"guided_{name}": value}), parse(structured_outputs={name: value})
    assert old.request.structure == Structure(kind, text, f"guided_{name}")
    assert new.request.structure == Structure(kind, text, f"structured_outputs.{name}")


@pytest.mark.parametrize("parse", PARSERS)
def test_any_json_object_may_be_requested_as_in_vllm(parse: Any) -> None:
    structure = parse(structured_outputs={"json_object": True}).request.structure
    assert structure == Structure("json_object", param="structured_outputs.json_object")
    assert parse(structured_outputs={"json_object": False}).request.structure is None


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "[1]"}, "guided_json"),
        ({"guided_json": "[" * 100_000}, "guided_json"),
        ({"guided_json": 5}, "guided_json"),
        ({"guided_regex": 5}, "guided_regex"),
        ({"guided_regex": ""}, "guided_regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", ""]}, "guided_choice[1]"),
        ({"guided_choice": "a"}, "guided_choice"),
        ({"guided_grammar": {}}, "guided_grammar"),
        ({"structured_outputs": "json"}, "structured_outputs"),
        ({"structured_outputs": {"json": "x"}}, "structured_outputs.json"),
        ({"structured_outputs": {"choice": [5]}}, "structured_outputs.choice[0]"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
    ],
)
def test_malformed_fields_of_vllm_are_refused_by_name(parse: Any, members: dict[str, object], param: str) -> None:
    error = refused(parse, **members)
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize(
    ("parse", "members", "names"),
    [
        (chat_call, {"response_format": json_schema(), "guided_regex": "a"}, ("response_format", "guided_regex")),
        (ollama_chat, {"format": SCHEMA, "guided_json": SCHEMA}, ("format", "guided_json")),
        (ollama_generate, {"guided_json": SCHEMA, "guided_choice": ["a"]}, ("guided_json", "guided_choice")),
        (
            chat_call,
            {"structured_outputs": {"regex": "a", "json_object": True}},
            ("structured_outputs.regex", "structured_outputs.json_object"),
        ),
    ],
)
def test_two_structures_are_refused_and_both_are_named(
    parse: Any, members: dict[str, object], names: tuple[str, str]
) -> None:
    error = refused(parse, **members)
    assert error.param == names[1]
    assert error.message == f"'{names[0]}' and '{names[1]}' cannot be combined: an answer has one structure."


def test_text_as_the_response_format_may_be_combined() -> None:
    assert chat_call(response_format={"type": "text"}, guided_regex="a").request.structure == Structure(
        "regex", "a", "guided_regex"
    )


@pytest.mark.parametrize("parse", [ollama_chat, ollama_generate])
def test_a_schema_in_ollamas_format_is_enforced(parse: Any) -> None:
    assert parse(format=SCHEMA).request.structure == Structure("json_schema", SCHEMA_TEXT, "format")
    assert parse(format={}).request.structure == Structure("json_schema", "{}", "format")


@pytest.mark.parametrize("value", ["json", "", "yaml", None])
def test_a_text_in_ollamas_format_has_no_effect(value: str | None) -> None:
    assert ollama_chat(format=value) == ollama_chat()


@pytest.mark.parametrize("value", [5, 0.5, True, ["x"], []])
@pytest.mark.parametrize("settings", [DialectSettings(), IGNORE, ENFORCE])
def test_a_format_of_another_type_is_refused(value: object, settings: DialectSettings) -> None:
    error = refused(ollama_chat, format=value, settings=settings)
    assert error.param == "format"
    assert "'format'" in error.message


@pytest.mark.parametrize("value", [5, "json", SCHEMA, []])
def test_openai_ignores_format(value: object) -> None:
    assert chat_call(format=value) == chat_call()


def test_enforce_gives_json_in_ollamas_format_its_meaning() -> None:
    assert ollama_chat(format="json", settings=ENFORCE).request.structure == Structure("json_object", param="format")
    assert ollama_chat(format="", settings=ENFORCE).request.structure is None
    error = refused(ollama_chat, format="yaml", settings=ENFORCE)
    assert error.message == 'invalid format: "yaml"; expected "json" or a valid JSON Schema object'


def test_ignore_enforces_nothing_and_still_checks() -> None:
    assert chat_call(response_format=json_schema(), settings=IGNORE) == chat_call()
    assert ollama_chat(format=SCHEMA, settings=IGNORE) == ollama_chat()
    assert ollama_generate(guided_regex="a", settings=IGNORE) == ollama_generate()
    assert refused(ollama_chat, guided_regex=5, settings=IGNORE).param == "guided_regex"


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, object] = {}
    for _ in range(200):
        schema = {"not": schema}
    assert refused(ollama_chat, format=schema).message == "'format' is nested too deeply."
