"""GET v1/usage: the requests and tokens of each user and model since the server's start."""

from __future__ import annotations

from typing import Any

import pytest

from pico_jupyter.server.usage import UsageTotals
from pico_jupyter.types import TokenUsage
from tests.fakes.engine_client import FINISHED
from tests.server.conftest import RunningServer, StartServer
from tests.server.test_responses_handlers import NamedUsers

MESSAGES = [{"role": "user", "content": "12 + 35?"}]


def test_requests_add_up_for_each_user_and_model() -> None:
    totals = UsageTotals(now=lambda: 7.5)
    totals.of("ann").add("tiny", TokenUsage(10, 4, cached_tokens=3))
    totals.of("ann").add("tiny", TokenUsage(1, 1))
    totals.of("bob").add("tiny", TokenUsage(100, 100))
    (tiny,) = totals.report("ann").data
    assert (tiny.requests, tiny.prompt_tokens, tiny.completion_tokens, tiny.total_tokens) == (2, 11, 5, 16)
    assert (tiny.cached_tokens, totals.report("ann").since) == (3, 7)


def test_a_user_without_requests_has_no_usage() -> None:
    assert UsageTotals().report("ann").data == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("v1/chat/completions", {"messages": MESSAGES, "stream": True}),
        ("v1/chat/completions", {"messages": MESSAGES}),
        ("v1/responses", {"input": "12 + 35?", "stream": True}),
        ("v1/messages", {"messages": MESSAGES, "max_tokens": 9}),
        ("v1/completions", {"prompt": "12 + 35?"}),
        ("api/chat", {"messages": MESSAGES}),
        ("api/generate", {"prompt": "12 + 35?", "stream": False}),
    ],
)
async def test_an_answer_of_each_dialect_is_counted_once(
    server: RunningServer, path: str, body: dict[str, Any]
) -> None:
    assert (await server.post(path, {"model": "tiny", **body})).status_code == 200
    (used,) = (await server.get("v1/usage")).json()["data"]
    usage = FINISHED.usage
    assert used == {
        "model": "tiny",
        "requests": 1,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    }


async def test_a_refused_request_is_not_counted(server: RunningServer) -> None:
    assert (await server.post("v1/chat/completions", {"model": "tiny", "messages": 1})).status_code == 400
    assert (await server.get("v1/usage")).json()["data"] == []


async def test_a_request_for_embeddings_is_counted(server: RunningServer) -> None:
    answer = (await server.post("v1/embeddings", {"model": "tiny", "input": ["a"]})).json()
    (used,) = (await server.get("v1/usage")).json()["data"]
    assert (used["requests"], used["prompt_tokens"]) == (1, answer["usage"]["prompt_tokens"])


async def test_a_user_does_not_see_the_usage_of_another(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"identity_provider_class": NamedUsers})
    await server.post("v1/responses", {"model": "tiny", "input": "hi"}, token="ada")
    assert len((await server.get("v1/usage", token="ada")).json()["data"]) == 1
    assert (await server.get("v1/usage", token="bob")).json()["data"] == []
