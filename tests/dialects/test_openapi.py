"""The OpenAPI document says what the parsers do."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from pico_jupyter.dialects import (
    durations,
    media,
    messages,
    ollama_request,
    openai_request,
    options,
    reasoning,
    tools,
)
from pico_jupyter.dialects.openapi import OPERATIONS, openapi_document
from pico_jupyter.dialects.settings import DialectSettings
from pico_jupyter.errors import InvalidRequest

Json: TypeAlias = dict[str, Any]
Parse: TypeAlias = Callable[[Json], object]

DOCUMENT = openapi_document(base_url="/", version="1.2.3", authenticated=True)
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
SETTINGS = DialectSettings()
USER = {"role": "user", "content": "hi"}
ANYTHING = [{}, [], [[]], "?", "", -5, 0.5, True, {"?": 1}, [{}]]
READING = re.compile(r'\b\w+\.(?:string|boolean|integer|number|array|fields|each|get)\("(\w+)"')


def parse_openai(body: Json) -> object:
    body = {"model": "m", "messages": [USER], **body}
    return openai_request.parse_chat(
        json.dumps(body).encode(), request_id="r", path="v1/chat", accept="", settings=SETTINGS
    )


def parse_ollama_chat(body: Json) -> object:
    body = {"model": "m", "messages": [USER], **body}
    return ollama_request.parse_chat(json.dumps(body).encode(), request_id="r", settings=SETTINGS)


def parse_generate(body: Json) -> object:
    body = {"model": "m", "prompt": "hi", **body}
    return ollama_request.parse_generate(json.dumps(body).encode(), request_id="r", settings=SETTINGS)


PARSERS: dict[str, Parse] = {
    "OpenAIChatRequest": parse_openai,
    "OllamaChatRequest": parse_ollama_chat,
    "OllamaGenerateRequest": parse_generate,
}


def fields(ignored: bool, name: str = "") -> list[tuple[str, str]]:
    """The fields of the requests that generate, or of the schema `name`."""
    return [
        (schema, field)
        for schema in ([name] if name else PARSERS)
        for field, described in SCHEMAS[schema]["properties"].items()
        if described.get("x-ignored", False) is ignored
    ]


def is_refused(parse: Parse, body: Json, param: str) -> bool:
    try:
        parse(body)
    except InvalidRequest as error:
        return (error.param or "").startswith(param)
    return False


@pytest.mark.parametrize(("schema", "field"), fields(ignored=False))
def test_a_field_of_the_document_is_read(schema: str, field: str) -> None:
    assert any(is_refused(PARSERS[schema], {field: value}, field) for value in ANYTHING)


@pytest.mark.parametrize(("schema", "field"), fields(ignored=True))
def test_a_field_that_the_document_calls_ignored_changes_nothing(schema: str, field: str) -> None:
    parse = PARSERS[schema]
    assert all(parse({field: value}) == parse({}) for value in ANYTHING)


@pytest.mark.parametrize("field", [field for _, field in fields(ignored=True, name="OllamaOllamaOptions")])
def test_an_option_that_the_document_calls_ignored_changes_nothing(field: str) -> None:
    kind = options.OPTION_KINDS.get(field)
    for value in ANYTHING if kind is None else [True] if kind == "boolean" else [3]:
        assert parse_ollama_chat({"options": {field: value}}) == parse_ollama_chat({})


def test_the_options_of_the_document_are_those_that_are_known() -> None:
    assert set(SCHEMAS["OllamaOllamaOptions"]["properties"]) == {
        *options.OPTION_KINDS,
        *options.RETIRED_OPTIONS,
        "stop",
    }


def test_every_field_that_a_parser_asks_for_is_in_the_document() -> None:
    modules = (openai_request, ollama_request, messages, media, options, reasoning, tools, durations)
    asked = {name for module in modules for name in READING.findall(inspect.getsource(module))}
    told = {field for schema in SCHEMAS.values() for field in schema.get("properties", {})}
    assert "temperature" in asked
    # The type of a part or message is told by which schema it has.
    assert asked - told == set()


def test_every_schema_that_is_referred_to_is_there() -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references == set(SCHEMAS)


def test_every_schema_is_described() -> None:
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description")] == []


def test_a_name_of_an_operation_means_one_verb() -> None:
    keys = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(set(keys)) == len(keys)


def test_answers_hold_all_that_is_not_left_out() -> None:
    assert SCHEMAS["OpenAIChatCompletion"]["required"] == [
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "choices",
        "usage",
    ]
    assert "usage" not in SCHEMAS["OpenAIChatCompletionChunk"]["required"]
    assert "default" not in json.dumps(SCHEMAS["OpenAIChatCompletion"])


@pytest.mark.parametrize(
    ("base_url", "servers"),
    [("/", ["/", "/pico"]), ("/user/a%40b/", ["/user/a%40b", "/user/a%40b/pico"])],
)
def test_the_servers_follow_the_base_url(base_url: str, servers: list[str]) -> None:
    document = openapi_document(base_url=base_url, version="1", authenticated=True)
    assert [server["url"] for server in document["servers"]] == servers
    assert document["paths"]["/openapi.json"]["servers"] == [{"url": servers[1]}]


def test_a_server_that_asks_for_no_token_says_so() -> None:
    document = openapi_document(base_url="/", version="1", authenticated=False)
    assert "security" not in document
    assert "401" not in json.dumps(document["paths"])
    assert "securitySchemes" not in document["components"]


def test_streams_have_types_of_their_own() -> None:
    openai = DOCUMENT["paths"]["/v1/chat"]["post"]["responses"]["200"]["content"]
    ollama = DOCUMENT["paths"]["/api/chat"]["post"]["responses"]["200"]["content"]
    assert list(openai) == ["application/json", "text/event-stream"]
    assert list(ollama) == ["application/json", "application/x-ndjson"]
