"""A real server, against its own OpenAPI document: whatever is sent, it answers as the document says."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, GenerationMode
from schemathesis.config import NotAServerErrorConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from pico_jupyter.dialects.openapi import openapi_document
from tests.e2e.running import RunningServer

Json: TypeAlias = dict[str, Any]

# An endpoint that generates has some 1700 cases at the edges of its fields, most of which differ in one of them: one in
# so many is sent.
ONE_IN = 25
MAX_EXAMPLES = 10
MAX_TOKENS = 3
# Seconds that no answer takes, however busy the machine is.
TIMEOUT = 90
QUESTION = {"model": "pico-tiny", "prompt": "hi", "messages": [{"role": "user", "content": "hi"}], "stream": True}
GENERATING = ("/chat", "/chat/completions", "/generate")
REPEATABLE = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MODEL_NAME = re.compile(r"[\w./:-]+", re.ASCII)
# Refused for what a schema cannot say: how fields go together, what a model can do, what bytes are.
BEYOND_A_SCHEMA = re.compile(
    r"Stream options can only be defined when stream=True"
    r"|'top_logprobs' needs 'logprobs' to be true"
    r"|'continue_final_message' needs a last message of the assistant"
    r"|'tool_choice' is only allowed when 'tools' are specified"
    r"|there is no tool '.*' in 'tools'"
    r"|'tool_choice' that forces a call is not supported yet"
    r"|invalid message format"
    r"|invalid (image|video) input"
    r"|the (image|video) at .* cannot be fetched"
    r"|The request includes images, video or audio"
    r"|raw mode does not support"
    r"|token \d+ is not one of the model's"
    r"|context contains ids that are not tokens of this model"
    r"|context cannot be continued with images or videos"
    r"|the prompt has \d+ tokens, and the context holds"
    r"|the input length exceeds the context length"
)


def load(*, edges: bool, examples: int) -> OpenApiSchema:
    """The document, to make so many random cases an operation of, and with `edges` those at the edges of all fields."""
    schema = schemathesis.openapi.from_dict(openapi_document(base_url="/", version="0", authenticated=True))
    schema.config.generation.update(modes=list(GenerationMode), max_examples=examples)
    schema.config.phases.coverage.enabled = edges
    schema.config.request_timeout = TIMEOUT
    # Endpoints of Ollama's that are known and not served say so with the status that is made for it.
    schema.config.checks.not_a_server_error = NotAServerErrorConfig(expected_statuses=["2xx", "4xx", "501"])
    return schema


schema = load(edges=False, examples=MAX_EXAMPLES)
# v1/chat takes what v1/chat/completions takes, and api/chat, but for tools, what api/generate takes.
edges = load(edges=True, examples=1).exclude(path=["/v1/chat", "/api/chat"])
few = load(edges=False, examples=2)


@schemathesis.deserializer("application/x-ndjson")
def lines(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> list[object]:
    """The objects of a stream of lines."""
    return [json.loads(line) for line in response.text.splitlines()]


def is_sent(case: Case) -> bool:
    """Whether the case is one of those that are sent: the same ones each time."""
    if not isinstance(case.body, dict) or len(case.body) < 20:
        return True
    return zlib.crc32(f"{case.operation.label} {case.body!r}".encode()) % ONE_IN == 0


def brief(case: Case) -> Any:
    """The case's body, about a model that is there and for a short answer. What is wrong in it stays wrong."""
    if not isinstance(case.body, dict):
        return case.body
    body = {**case.body}
    for key in ("model", "name"):
        if isinstance(body.get(key), str) and MODEL_NAME.fullmatch(body[key]):
            body[key] = "pico-tiny"
    if isinstance(body.get("draft_model"), str) and MODEL_NAME.fullmatch(body["draft_model"]):
        del body["draft_model"]
    if case.operation.path.endswith(GENERATING):
        body["model"] = "pico-tiny" if body.get("model") in (None, "") else body["model"]
        body.setdefault("max_completion_tokens", MAX_TOKENS)
    limit = body.get("max_completion_tokens")
    if isinstance(limit, int) and limit > MAX_TOKENS:
        body["max_completion_tokens"] = MAX_TOKENS
    return body


def check(case: Case, server: RunningServer) -> None:
    """Send the case, and see that the answer is one that the document knows."""
    case.body = brief(case)
    response = case.call(base_url=server.url + "pico", headers=server.headers)
    is_beyond = response.status_code == 400 and BEYOND_A_SCHEMA.search(response.text)
    # Who calls is looked at below: it takes more requests than all the rest.
    case.validate_response(response, excluded_checks=[ignored_auth, *([positive_data_acceptance] if is_beyond else [])])


@schema.parametrize()
@REPEATABLE
def test_an_operation_keeps_its_word(case: Case, server: RunningServer) -> None:
    check(case, server)


@edges.parametrize()
@REPEATABLE
def test_an_operation_keeps_its_word_at_the_edges_of_its_fields(case: Case, server: RunningServer) -> None:
    if is_sent(case):
        check(case, server)


@few.parametrize()
@REPEATABLE
def test_an_operation_asks_who_calls(case: Case, server: RunningServer) -> None:
    case.body = brief(case)
    case.call_and_validate(base_url=server.url + "pico", headers=server.headers, checks=[ignored_auth])


def claim_that_the_heartbeat_is_closed(document: Json) -> None:
    del document["paths"]["/"]["get"]["security"]


def claim_that_times_are_words(document: Json) -> None:
    document["components"]["schemas"]["OpenAIModel"]["properties"]["created"] = {"type": "string"}


def claim_that_events_hold_numbers(document: Json) -> None:
    document["components"]["schemas"]["OpenAIDelta"]["properties"]["content"] = {"type": "number"}


def claim_that_lines_hold_numbers(document: Json) -> None:
    document["components"]["schemas"]["OllamaAnswerMessage"]["properties"]["content"] = {"type": "number"}


def claim_that_nothing_is_streamed(document: Json) -> None:
    del document["paths"]["/api/generate"]["post"]["responses"]["200"]["content"]["application/x-ndjson"]


@pytest.mark.parametrize(
    ("claim", "path", "method"),
    [
        (claim_that_the_heartbeat_is_closed, "/", "GET"),
        (claim_that_times_are_words, "/v1/models", "GET"),
        (claim_that_events_hold_numbers, "/v1/chat", "POST"),
        (claim_that_lines_hold_numbers, "/api/chat", "POST"),
        (claim_that_nothing_is_streamed, "/api/generate", "POST"),
    ],
)
def test_a_document_that_says_something_else_is_found_out(
    claim: Callable[[Json], None], path: str, method: str, server: RunningServer
) -> None:
    document = openapi_document(base_url="/", version="0", authenticated=True)
    given: Json = {"body": QUESTION, "media_type": "application/json"} if method == "POST" else {}

    def ask() -> None:
        case = schemathesis.openapi.from_dict(document)[path][method].Case(**given)
        case.call_and_validate(base_url=server.url + "pico", headers=server.headers)

    ask()
    claim(document)
    with pytest.raises(FailureGroup):
        ask()
