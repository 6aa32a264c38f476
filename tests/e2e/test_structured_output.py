"""Clients that request structured answers and forced tool calls, unmodified, against a real Jupyter server.

The schemas leave the built-in model few tokens to choose from, so that every answer ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import ollama
import openai
import pytest
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ConfigDict

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook import Pico, connect
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.discovery import shared_engine
from tests.e2e.running import RunningServer

QUESTION = "What is 12 + 35?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
OFF = {"think": False}


class Review(BaseModel):
    """The structure of an answer. It is also a tool."""

    model_config = ConfigDict(extra="forbid")
    sentiment: Literal["positive", "negative"]
    stars: Literal[1, 2, 3, 4, 5]


@dataclass
class Rating:
    stars: Literal[1, 2, 3, 4, 5]


def tool(name: str, **members: object) -> Any:
    parameters = {
        "type": "object",
        "properties": {"city": {"enum": ["Berlin", "Paris"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters, **members}}


TOOLS = [tool("get_weather"), tool("get_time")]


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "v1", api_key=server.token, max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(server: RunningServer) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.url, headers=server.headers)
    yield client
    client._client.close()


@pytest.fixture
def chat_openai(server: RunningServer) -> Iterator[ChatOpenAI]:
    with httpx.Client(timeout=60) as http:
        yield ChatOpenAI(
            model="pico-tiny",
            base_url=server.url + "v1",
            api_key=server.token,
            http_client=http,
            max_retries=0,
            temperature=0,
            max_completion_tokens=300,
            extra_body=OFF,
        )


@pytest.mark.parametrize("extra", [OFF, {"think": True}, {}], ids=["off", "on", "default"])
def test_openai_parses_an_answer_with_and_without_reasoning(client: openai.OpenAI, extra: Any) -> None:
    completion = client.chat.completions.parse(
        model="pico-tiny", messages=MESSAGES, response_format=Review, extra_body=extra
    )
    message = completion.choices[0].message
    assert isinstance(message.parsed, Review)
    assert bool(getattr(message, "reasoning_content", None)) is (extra != OFF)


def test_openai_parses_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="pico-tiny", messages=MESSAGES, response_format=Review, extra_body=OFF
    ) as stream:
        completion = stream.get_final_completion()
    assert isinstance(completion.choices[0].message.parsed, Review)


def test_every_choice_of_several_matches(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(
        model="pico-tiny", messages=MESSAGES, response_format=Review, n=3, temperature=2, seed=1, extra_body=OFF
    )
    assert all(isinstance(choice.message.parsed, Review) for choice in completion.choices)


def test_an_answer_that_reaches_its_limit_is_incomplete(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model="pico-tiny", messages=MESSAGES, response_format=Review, max_completion_tokens=3, extra_body=OFF
        )


def test_any_json_object_begins_with_a_brace(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="pico-tiny", messages=MESSAGES, response_format={"type": "json_object"}, max_tokens=40, extra_body=OFF
    )
    assert (completion.choices[0].message.content or "").lstrip().startswith("{")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("guided_choice", ["yes", "no"], {"yes", "no"}),
        ("guided_regex", "[ab]{2}", {"aa", "ab", "ba", "bb"}),
        ("guided_json", {"enum": [1, 2]}, {"1", "2"}),
        ("guided_json", '{"enum": [1, 2]}', {"1", "2"}),
        ("guided_grammar", 'start: "a" | "b"', {"a", "b"}),
        ("structured_outputs", {"choice": ["yes", "no"]}, {"yes", "no"}),
        ("structured_outputs", {"regex": "[ab]"}, {"a", "b"}),
    ],
)
def test_the_fields_of_vllm_limit_the_text(
    client: openai.OpenAI, server: RunningServer, field: str, value: object, allowed: set[str]
) -> None:
    body = {**OFF, field: value}
    completion = client.chat.completions.create(model="pico-tiny", messages=MESSAGES, extra_body=body)
    assert (completion.choices[0].message.content or "").strip() in allowed
    with server.http() as http:
        answer = http.post("api/generate", json={"model": "pico-tiny", "prompt": QUESTION, "stream": False, **body})
    assert answer.json()["response"].strip() in allowed


@pytest.mark.parametrize("schema", [{"type": "no such type"}, {"type": "object", "properties": 5}])
def test_a_schema_that_cannot_be_enforced_is_refused_before_the_answer(client: openai.OpenAI, schema: Any) -> None:
    response_format: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="pico-tiny", messages=MESSAGES, response_format=response_format, stream=True
        )
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("think", [False, True, None])
def test_ollama_follows_a_schema(ollama_client: ollama.Client, stream: bool, think: bool | None) -> None:
    answer = ollama_client.chat("pico-tiny", MESSAGES, format=Review.model_json_schema(), think=think, stream=stream)
    parts = list(answer) if stream else [answer]
    assert Review.model_validate_json("".join(part.message.content or "" for part in parts))
    assert any(part.message.thinking for part in parts) is (think is not False)


def test_ollama_generates_by_a_schema(ollama_client: ollama.Client) -> None:
    answer = ollama_client.generate("pico-tiny", QUESTION, format=Review.model_json_schema(), think=False)
    assert Review.model_validate_json(answer.response)


def test_a_text_in_ollamas_format_has_no_effect(ollama_client: ollama.Client) -> None:
    plain = ollama_client.chat("pico-tiny", MESSAGES, think=False)
    assert ollama_client.chat("pico-tiny", MESSAGES, format="json", think=False).message == plain.message


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_returns_instances(chat_openai: ChatOpenAI, method: Any) -> None:
    assert isinstance(chat_openai.with_structured_output(Review, method=method).invoke(QUESTION), Review)


def test_langchain_returns_any_object_in_json_mode(chat_openai: ChatOpenAI) -> None:
    # Without a schema, the built-in model writes members until its limit. The answer ends at the first one.
    model = chat_openai.model_copy(update={"stop": ['"']})
    assert model.with_structured_output(None, method="json_mode").invoke(QUESTION) == {}


def test_langchain_with_ollama_returns_instances(server: RunningServer) -> None:
    model = ChatOllama(
        model="pico-tiny", base_url=server.url, client_kwargs={"headers": server.headers}, reasoning=False
    )
    try:
        assert isinstance(model.with_structured_output(Review, method="json_schema").invoke(QUESTION), Review)
    finally:
        model._client._client.close()


def calls_of(client: openai.OpenAI, stream: bool, **members: Any) -> list[Any]:
    arguments: Any = {
        "model": "pico-tiny",
        "messages": MESSAGES,
        "tools": TOOLS,
        "max_completion_tokens": 200,
        "extra_body": OFF,
        **members,
    }
    if stream:
        with client.chat.completions.stream(**arguments) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**arguments).choices[0]
    return list(choice.message.tool_calls or [])


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_tool_is_called_with_valid_arguments(client: openai.OpenAI, stream: bool) -> None:
    choice = {"type": "function", "function": {"name": "get_time"}}
    [call] = calls_of(client, stream, tool_choice=choice)
    assert call.function.name == "get_time"
    assert json.loads(call.function.arguments)["city"] in ("Berlin", "Paris")


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_call_is_of_one_of_the_tools(client: openai.OpenAI, stream: bool) -> None:
    [call] = calls_of(client, stream, tool_choice="required", parallel_tool_calls=False)
    assert call.function.name in ("get_weather", "get_time")
    assert json.loads(call.function.arguments)["city"] in ("Berlin", "Paris")


def test_a_required_call_follows_the_reasoning(client: openai.OpenAI) -> None:
    calls = calls_of(client, False, tool_choice="required", extra_body={"think": True}, max_completion_tokens=1000)
    assert calls
    assert all(json.loads(call.function.arguments)["city"] in ("Berlin", "Paris") for call in calls)


def test_allowed_tools_limit_a_required_call(client: openai.OpenAI) -> None:
    reference = {"type": "function", "function": {"name": "get_time"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [reference]}}
    calls = calls_of(client, False, tool_choice=choice, parallel_tool_calls=False)
    assert [call.function.name for call in calls] == ["get_time"]


def test_without_tools_in_the_prompt_there_is_no_call(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    assert calls_of(client, False, tool_choice="none", messages=messages) == []


def test_the_reasoning_is_closed_after_its_limit(client: openai.OpenAI) -> None:
    body = {"think": True, "max_thinking_tokens": 3}
    completion = client.chat.completions.create(model="pico-tiny", messages=MESSAGES, extra_body=body)
    free = client.chat.completions.create(model="pico-tiny", messages=MESSAGES, extra_body={"think": True})
    assert completion.usage is not None
    assert completion.usage.completion_tokens_details is not None
    assert free.usage is not None
    assert free.usage.completion_tokens_details is not None
    limited = completion.usage.completion_tokens_details.reasoning_tokens or 0
    assert 0 < limited < (free.usage.completion_tokens_details.reasoning_tokens or 0)
    assert completion.choices[0].message.content


@pytest.fixture(params=["engine", "server"])
def pico(request: pytest.FixtureRequest) -> Pico:
    if request.param == "engine":
        return Pico(shared_engine(), shared_loop())
    server: RunningServer = request.getfixturevalue("server")
    return connect(url=server.url, token=server.token)


@pytest.mark.parametrize("schema", [Review, Rating, Review.model_json_schema()], ids=["pydantic", "dataclass", "dict"])
def test_a_notebook_gets_a_value(pico: Pico, schema: Any) -> None:
    value = pico.chat(QUESTION, schema=schema, model="pico-tiny", reasoning=False).parsed
    assert type(value) is (dict if isinstance(schema, dict) else schema)
    assert (value["stars"] if isinstance(value, dict) else value.stars) in range(1, 6)


def test_a_notebook_learns_which_schema_cannot_be_enforced(pico: Pico) -> None:
    with pytest.raises(InvalidRequest):
        pico.chat(QUESTION, schema={"type": "no such type"}, model="pico-tiny")
