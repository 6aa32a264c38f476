"""The OpenAPI document: fields that it calls ignored have no effect, and it is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from pico_jupyter.dialects.openapi import OPERATIONS, openapi_document
from pico_jupyter.errors import InvalidRequest
from tests.dialects.responses_samples import responses_call
from tests.dialects.samples import (
    anthropic_call,
    chat_call,
    completion_call,
    parsed_ollama_chat,
    parsed_ollama_generate,
)

Json: TypeAlias = dict[str, Any]
Parse: TypeAlias = Callable[..., object]

DOCUMENT = openapi_document(base_url="/", version="1.2.3", authenticated=True)
SCHEMAS: Json = DOCUMENT["components"]["schemas"]
ANYTHING = [{}, [], [[]], "?", "", -5, 0.5, True, {"?": 1}, [{}]]
# For each field that is not ignored, one of these values is valid and is not the default.
TELLING: list[Any] = [
    *(True, False, 2, 0.5, "5m", "high", "raw", ["x"], [7], {"1": 1}),
    *({"enable_thinking": True}, {"effort": "high"}, {"num_ctx": 7}, {"include_usage": True}, ["aGk="]),
    [{"role": "user", "content": "other"}],
    [{"type": "function", "function": {"name": "g"}}],
    {"type": "allowed_tools", "tools": []},
    {"type": "json_object"},
    {"json_object": True},
    [{"type": "function", "name": "g"}],
    {"format": {"type": "json_object"}},
    *("auto", "none", {"a": "b"}, ["message.output_text.logprobs"]),
    {"type": "any"},
    {"type": "enabled"},
    {"effort": "high"},
    {"type": "json_schema", "schema": {"type": "object"}},
    [{"name": "g", "input_schema": {}}],
]
# Checked, and without an effect on a request that is accepted.
CHECKED_ONLY = {"modalities", "continue_final_message", "template", "best_of"} | {
    "previous_response_id",
    "background",
    "conversation",
    "prompt",
}
BASE: Json = {"stream": True, "logprobs": True, "tools": [{"function": {"name": "f"}}]}
PARSERS: dict[str, Parse] = {
    "OpenAIChatRequest": chat_call,
    "ResponsesRequest": responses_call,
    "OllamaChatRequest": parsed_ollama_chat,
    "OllamaGenerateRequest": parsed_ollama_generate,
    "AnthropicRequest": anthropic_call,
    "OpenAICompletionRequest": completion_call,
}
NEEDED: dict[str, Json] = {
    "OpenAIChatRequest": {},
    "ResponsesRequest": {"tools": [{"type": "function", "name": "f"}]},
    "OllamaChatRequest": {"messages": [{"role": "user", "content": "hi"}]},
    "OllamaGenerateRequest": {"prompt": "hi"},
    "AnthropicRequest": {"tools": [{"name": "f", "input_schema": {}}]},
    "OpenAICompletionRequest": {"logprobs": None},
}


def fields(ignored: bool, name: str = "") -> list[tuple[str, str]]:
    """The fields of the requests that generate, or of the schema `name`."""
    return [
        (schema, field)
        for schema in ([name] if name else PARSERS)
        for field, described in SCHEMAS[schema]["properties"].items()
        if described.get("x-ignored", False) is ignored
    ]


def accepted(parse: Parse, body: Json) -> list[object]:
    """The parsed body in a list, or an empty list if it is refused."""
    try:
        return [parse(**body)]
    except InvalidRequest:
        return []


@pytest.mark.parametrize(
    ("schema", "field"), [(schema, field) for schema, field in fields(ignored=False) if field not in CHECKED_ONLY]
)
def test_a_field_that_is_not_ignored_has_an_effect(schema: str, field: str) -> None:
    parse, base = PARSERS[schema], {**BASE, **NEEDED[schema]}
    if field == "messages" and schema == "OllamaGenerateRequest":
        del base["prompt"]
    results = [call for value in TELLING for call in accepted(parse, {**base, field: value})]
    assert any(result != parse(**base) for result in results)


@pytest.mark.parametrize(("schema", "field"), fields(ignored=True))
def test_a_field_that_the_document_calls_ignored_has_no_effect(schema: str, field: str) -> None:
    parse = PARSERS[schema]
    assert all(parse(**{field: value}) == parse() for value in ANYTHING)


@pytest.mark.parametrize("field", [field for _, field in fields(ignored=True, name="OllamaOptions")])
def test_an_option_that_the_document_calls_ignored_has_no_effect(field: str) -> None:
    results = [call for value in ANYTHING for call in accepted(chat_call, {"options": {field: value}})]
    assert results
    assert all(result == chat_call() for result in results)


def test_every_referenced_schema_exists() -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references == set(SCHEMAS)


def test_every_schema_is_described() -> None:
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description")] == []


def test_a_method_of_a_path_is_listed_once() -> None:
    keys = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(set(keys)) == len(keys)


def test_fields_of_answers_are_required_unless_they_may_be_unset() -> None:
    assert SCHEMAS["ChatCompletion"]["required"] == [
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "choices",
        "usage",
    ]
    assert "usage" not in SCHEMAS["ChatCompletionChunk"]["required"]
    assert "default" not in json.dumps(SCHEMAS["ChatCompletion"])


@pytest.mark.parametrize(
    ("base_url", "servers"),
    [("/", ["/", "/pico"]), ("/user/a%40b/", ["/user/a%40b", "/user/a%40b/pico"])],
)
def test_the_servers_follow_the_base_url(base_url: str, servers: list[str]) -> None:
    document = openapi_document(base_url=base_url, version="1", authenticated=True)
    assert [server["url"] for server in document["servers"]] == servers
    assert document["paths"]["/openapi.json"]["servers"] == [{"url": servers[1]}]


def test_the_document_of_a_server_without_authentication_has_no_security() -> None:
    document = openapi_document(base_url="/", version="1", authenticated=False)
    assert "security" not in document
    assert "401" not in json.dumps(document["paths"])
    assert "securitySchemes" not in document["components"]


def test_streams_have_types_of_their_own() -> None:
    openai = DOCUMENT["paths"]["/v1/chat"]["post"]["responses"]["200"]["content"]
    ollama = DOCUMENT["paths"]["/api/chat"]["post"]["responses"]["200"]["content"]
    assert list(openai) == ["application/json", "text/event-stream"]
    assert list(ollama) == ["application/json", "application/x-ndjson"]
    anthropic = DOCUMENT["paths"]["/v1/messages"]["post"]["responses"]["200"]["content"]
    assert list(anthropic) == ["application/json", "text/event-stream"]


def test_models_have_an_answer_for_each_kind_of_client() -> None:
    operation = DOCUMENT["paths"]["/v1/models"]["get"]
    kinds = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [kind["$ref"].rpartition("/")[2] for kind in kinds] == ["OpenAIModelList", "AnthropicModelList"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["anthropic-version"]


@pytest.mark.parametrize("schema", ["ThinkingField", "ReasoningField"])
def test_an_object_that_refuses_other_members_says_so(schema: str) -> None:
    assert SCHEMAS[schema]["additionalProperties"] is False
