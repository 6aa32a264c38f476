"""The endpoints for embeddings over HTTP: answers, errors, metrics, and clients that disconnect."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, QueueFull
from tests.server.conftest import TOKEN, RunningServer

TEXTS = {"model": "tiny", "input": ["a", "b"]}
TOO_LONG = ContextLengthExceeded("input[0] has more tokens than …", param="input[0]")


@pytest.fixture(autouse=True)
def no_script(server: RunningServer) -> None:
    server.engine.script = ()


async def test_every_endpoint_answers(server: RunningServer) -> None:
    embeddings = (await server.post("v1/embeddings", TEXTS)).json()
    assert [one["embedding"] for one in embeddings["data"]] == [[1, 0], [0, 1]]
    ranked = (await server.post("v1/rerank", {"model": "tiny", "query": "q", "documents": ["a", "b"]})).json()
    assert [one["index"] for one in ranked["results"]] == [0, 1]
    assert ranked["id"].startswith("rerank-")
    assert (await server.post("api/embed", TEXTS)).json()["embeddings"] == [[1, 0], [0, 1]]
    assert (await server.post("api/embeddings", {"model": "tiny", "prompt": "a"})).json() == {"embedding": [1, 0]}


async def test_many_vectors_are_answered(server: RunningServer) -> None:
    answer = (await server.post("v1/embeddings", {"model": "tiny", "input": ["a"] * 1000})).json()
    assert [one["index"] for one in answer["data"]] == list(range(1000))


async def test_a_request_of_ollama_without_a_text_loads_the_model(server: RunningServer) -> None:
    assert (await server.post("api/embed", {"model": "tiny", "keep_alive": 5})).json()["embeddings"] == []
    assert (await server.post("api/embeddings", {"model": "tiny"})).json() == {"embedding": []}
    assert server.engine.calls == [("load", "tiny", 5.0), ("load", "tiny", None)]


async def test_errors_have_the_format_of_the_dialect(server: RunningServer) -> None:
    server.engine.script = (TOO_LONG,)
    response = await server.post("v1/embeddings", TEXTS)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert response.json()["error"]["param"] == "input[0]"
    response = await server.post("api/embed", {**TEXTS, "truncate": False})
    assert (response.status_code, response.json()) == (400, {"error": "the input length exceeds the context length"})
    server.engine.script = (QueueFull("busy", retry_after=7),)
    response = await server.post("v1/rerank", {"model": "tiny", "query": "q", "documents": ["a"]})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "7")


async def test_a_chat_model_is_refused_with_the_message_of_the_engine(server: RunningServer) -> None:
    server.engine.script = (InvalidRequest("tiny does not support embeddings.", param="model", model="tiny"),)
    response = await server.post("api/embed", TEXTS)
    assert (response.status_code, response.json()) == (400, {"error": "tiny does not support embeddings."})


async def test_a_client_that_disconnects_aborts_its_request(server: RunningServer) -> None:
    server.engine.script = (asyncio.Event(),)
    body = json.dumps(TEXTS).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = ("POST /v1/embeddings HTTP/1.1", "Host: localhost", f"Authorization: Bearer {TOKEN}")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
    writer.write(head.encode() + body)
    await asyncio.wait_for(server.engine.reached.wait(), 20)
    writer.close()
    await asyncio.wait_for(server.engine.aborted.wait(), 20)


async def test_embedded_tokens_are_counted(server: RunningServer) -> None:
    async def total() -> Any:
        lines = (await server.get("metrics")).text.splitlines()
        found = [line for line in lines if line.startswith('pico_jupyter_prompt_tokens_total{model="tiny"}')]
        return float(found[0].split()[-1]) if found else 0.0

    before = await total()
    await server.post("v1/embeddings", TEXTS)
    assert await total() == before + 6
    metrics = (await server.get("metrics")).text
    assert 'requests_total{dialect="openai",endpoint="v1/embeddings",outcome="embed"}' in metrics
