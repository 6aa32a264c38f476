"""A real server answers every request as its OpenAPI document says."""

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

# An endpoint that generates has about 1700 cases at the edges of its fields. This share of them is sent.
ONE_IN = 25
MAX_EXAMPLES = 10
MAX_TOKENS = 3
# Seconds. Answers are faster on a busy machine too.
TIMEOUT = 90
MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "pico-tiny", "prompt": "hi", "messages": MESSAGES, "stream": True}
QUESTIONS = {"/v1/responses": {"model": "pico-tiny", "input": "hi", "stream": True}}
EMBEDDING = ("/embeddings", "/embed", "/rerank")
GENERATING = ("/chat", "/chat/completions", "/completions", "/generate", "/messages", "/responses")
NEEDING_A_MODEL = (*GENERATING, "/render", "/count_tokens", "/tokenize", "/detokenize")
REPEATABLE = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MODEL_NAME = re.compile(r"[\w./:-]+", re.ASCII)
# Refusals that a schema does not express: combinations of fields, abilities of a model, encoded bytes.
BEYOND_A_SCHEMA = re.compile(
    r"Stream options can only be defined when stream=True"
    r"|'top_logprobs' needs 'logprobs' to be true"
    r"|'continue_final_message' needs an assistant message at the end"
    r"|'tool_choice' is only allowed when 'tools' are specified"
    r"|there is no tool '.*' in 'tools'"
    r"|'tool_choice' requires a call, but it allows no tool"
    r"|'.*' and '.*' cannot be combined: an answer has one structure"
    r"|it is not the JSON text of an object"
    r"|Invalid value for '(response_format|format|guided_\w+|structured_outputs\.\w+|tools)'"
    r"|Invalid value for 'output_(config\.)?format'"
    r"|'structured_outputs\.structural_tag' is not supported here"
    r"|invalid message format"
    r"|invalid model name"
    r"|invalid revision"
    r"|invalid (image|video) input"
    r"|the (image|video) at .* cannot be fetched"
    r"|The request includes images, video or audio"
    r"|raw mode does not support"
    r"|'(background|conversation|prompt)' is not supported here"
    r"|Missing required parameter: 'input'"
    r"|(Response|Item) with id '.*' not found"
    r"|token \d+ is not one of the model's"
    r"|context contains ids that are not tokens of this model"
    r"|context cannot be continued with images or videos"
    r"|the prompt has \d+ tokens, and the context holds"
    r"|the input length exceeds the context length"
    r"|Invalid type for 'input': expected a string, or an array of strings, of integers or of arrays of integers"
    r"|dimensions must be between 1 and \d+ for tiny-embed"
    r"|input(\[\d+\])? has more tokens than the model's maximum context length"
    r"|prompt is too long"
    r"|the prompt is empty"
    r"|'best_of' must equal 'n'"
    r"|'echo' and 'logprobs' cannot be combined"
    r"|it is neither a text nor a list of its tokens"
    r"|'suffix' needs a prompt of text"
    r"|suffix does not support images or context"
    r"|does not support insert"
    r"|contains ids that are not among the model's"
    r"|images and videos have no token ids"
)


def load(*, edges: bool, examples: int) -> OpenApiSchema:
    """The document with `examples` random cases for each operation, and with `edges` cases at the edges of fields."""
    schema = schemathesis.openapi.from_dict(openapi_document(base_url="/", version="0", authenticated=True))
    schema.config.generation.update(modes=list(GenerationMode), max_examples=examples)
    schema.config.phases.coverage.enabled = edges
    schema.config.request_timeout = TIMEOUT
    # Endpoints of Ollama that are not implemented answer 501.
    schema.config.checks.not_a_server_error = NotAServerErrorConfig(expected_statuses=["2xx", "4xx", "501"])
    return schema


@pytest.fixture
def server(embedding_server: RunningServer) -> RunningServer:
    """The server of these tests has a chat model and an embedding model."""
    return embedding_server


# These endpoints start a process for each request.
GETTING = r"^/(hub/(search|models)|downloads)"
schema = load(edges=False, examples=MAX_EXAMPLES).exclude(path_regex=GETTING)
getting = load(edges=False, examples=2).include(path_regex=GETTING)
# Endpoints of which another one has the same fields.
SIMILAR = ["/v1/chat", "/api/chat", "/v1/chat/completions/render", "/v1/tokenize", "/v1/messages/count_tokens"]
edges = load(edges=True, examples=1).exclude(path=SIMILAR).exclude(path_regex=GETTING)
few = load(edges=False, examples=2)


@schemathesis.deserializer("application/x-ndjson")
def lines(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> list[object]:
    """The objects of a stream of lines."""
    return [json.loads(line) for line in response.text.splitlines()]


def is_sent(case: Case) -> bool:
    """Whether the case is sent. The choice is the same in each run."""
    if not isinstance(case.body, dict) or len(case.body) < 20:
        return True
    return zlib.crc32(f"{case.operation.label} {case.body!r}".encode()) % ONE_IN == 0


def brief(case: Case) -> Any:
    """The case's body for an installed model and a short answer. Wrong fields stay wrong."""
    if not isinstance(case.body, dict):
        return case.body
    body = {**case.body}
    if case.operation.path == "/downloads":
        if isinstance(body.get("model"), str) and MODEL_NAME.fullmatch(body["model"]):
            body["model"] = "small-4bit"
        return body
    for key in ("model", "name"):
        if isinstance(body.get(key), str) and MODEL_NAME.fullmatch(body[key]):
            body[key] = "tiny-embed" if case.operation.path.endswith(EMBEDDING) else "pico-tiny"
    if isinstance(body.get("draft_model"), str) and MODEL_NAME.fullmatch(body["draft_model"]):
        del body["draft_model"]
    if case.operation.path.endswith(NEEDING_A_MODEL):
        body["model"] = "pico-tiny" if body.get("model") in (None, "") else body["model"]
    if case.operation.path.endswith(GENERATING):
        body.setdefault("max_completion_tokens", MAX_TOKENS)
    for key in ("max_completion_tokens", "max_output_tokens"):
        if isinstance(body.get(key), int) and body[key] > MAX_TOKENS:
            body[key] = MAX_TOKENS
    return body


def check(case: Case, server: RunningServer) -> None:
    """Send the case and compare the answer with the document."""
    case.body = brief(case)
    response = case.call(base_url=server.url + "pico", headers=server.headers)
    is_beyond = response.status_code == 400 and BEYOND_A_SCHEMA.search(response.text)
    # Authentication has its own test below: it needs more requests than all other checks.
    case.validate_response(response, excluded_checks=[ignored_auth, *([positive_data_acceptance] if is_beyond else [])])


@schema.parametrize()
@REPEATABLE
def test_an_operation_answers_as_documented(case: Case, server: RunningServer) -> None:
    check(case, server)


@getting.parametrize()
@REPEATABLE
def test_an_operation_that_gets_models_answers_as_documented(case: Case, server: RunningServer) -> None:
    check(case, server)


@edges.parametrize()
@REPEATABLE
def test_an_operation_answers_as_documented_at_the_edges_of_its_fields(case: Case, server: RunningServer) -> None:
    if is_sent(case):
        check(case, server)


@few.parametrize()
@REPEATABLE
def test_an_operation_requires_authentication(case: Case, server: RunningServer) -> None:
    case.body = brief(case)
    case.call_and_validate(base_url=server.url + "pico", headers=server.headers, checks=[ignored_auth])


def claim_that_the_heartbeat_is_closed(document: Json) -> None:
    del document["paths"]["/"]["get"]["security"]


def claim_that_times_are_words(document: Json) -> None:
    document["components"]["schemas"]["OpenAIModel"]["properties"]["created"] = {"type": "string"}


def claim_that_events_hold_numbers(document: Json) -> None:
    document["components"]["schemas"]["OpenAIDelta"]["properties"]["content"] = {"type": "number"}


def claim_that_pieces_hold_numbers(document: Json) -> None:
    document["components"]["schemas"]["ResponsesTextDelta"]["properties"]["delta"] = {"type": "number"}


def claim_that_messages_are_numbers(document: Json) -> None:
    document["components"]["schemas"]["TextBlockPiece"]["properties"]["text"] = {"type": "number"}


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
        (claim_that_pieces_hold_numbers, "/v1/responses", "POST"),
        (claim_that_messages_are_numbers, "/v1/messages", "POST"),
        (claim_that_lines_hold_numbers, "/api/chat", "POST"),
        (claim_that_nothing_is_streamed, "/api/generate", "POST"),
    ],
)
def test_a_wrong_document_is_detected(
    claim: Callable[[Json], None], path: str, method: str, server: RunningServer
) -> None:
    document = openapi_document(base_url="/", version="0", authenticated=True)
    given: Json = {"body": QUESTIONS.get(path, CHAT), "media_type": "application/json"} if method == "POST" else {}

    def ask() -> None:
        case = schemathesis.openapi.from_dict(document)[path][method].Case(**given)
        case.call_and_validate(base_url=server.url + "pico", headers=server.headers)

    ask()
    claim(document)
    with pytest.raises(FailureGroup):
        ask()
