"""The Anthropic endpoints over HTTP, down to an engine that plays a script."""

from __future__ import annotations

import json

import pytest

from pico_jupyter.errors import EngineFailed, ModelLoadFailed, QueueFull
from pico_jupyter.types import TextDelta
from tests.fakes.engine_client import ACCEPTED, PROMPT_TOKENS
from tests.server.conftest import TOKEN, RunningServer

CHAT = {"model": "tiny", "max_tokens": 9, "messages": [{"role": "user", "content": "12 + 35?"}]}
VERSION = {"anthropic-version": "2023-06-01"}


async def test_a_conversation_is_answered_whole(server: RunningServer) -> None:
    response = await server.post("v1/messages?beta=true", CHAT)
    assert response.headers["Content-Type"] == "application/json"
    blocks = response.json()["content"]
    assert [block.get("thinking", block.get("text")) for block in blocks] == ["hm", "47"]
    assert response.json()["id"].removeprefix("msg_") == response.headers["request-id"].removeprefix("req_")


async def test_a_conversation_is_streamed(server: RunningServer) -> None:
    response = await server.post("v1/messages", {**CHAT, "stream": True})
    assert response.headers["Content-Type"] == "text/event-stream"
    events = [line.removeprefix("event: ") for line in response.text.splitlines() if line.startswith("event: ")]
    assert (events[0], events[-1]) == ("message_start", "message_stop")


async def test_the_token_is_read_from_the_header_of_anthropics_clients(server: RunningServer) -> None:
    response = await server.post("v1/messages", CHAT, token="", headers={"x-api-key": TOKEN, **VERSION})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(QueueFull("full"), 503, "overloaded_error"), (ModelLoadFailed("broken"), 500, "api_error")],
)
async def test_an_error_before_the_answer_has_a_status(
    server: RunningServer, error: Exception, status: int, kind: str
) -> None:
    server.engine.script = (ACCEPTED, error)
    response = await server.post("v1/messages", {**CHAT, "stream": True})
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert response.json()["request_id"] == response.headers["request-id"]


async def test_an_error_in_the_answer_is_the_last_event(server: RunningServer) -> None:
    server.engine.script = (ACCEPTED, TextDelta("4"), EngineFailed("broken"))
    response = await server.post("v1/messages", {**CHAT, "stream": True})
    name, data = response.text.split("\n\n")[-2].split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["request_id"] == response.headers["request-id"]


async def test_an_unknown_model_is_not_found(server: RunningServer) -> None:
    response = await server.post("v1/messages/count_tokens", {**CHAT, "model": "claude"})
    assert response.status_code == 404
    assert response.json()["error"] == {"type": "not_found_error", "message": "model: claude"}


async def test_the_tokens_of_a_conversation_are_counted_without_generating(server: RunningServer) -> None:
    response = await server.post("v1/messages/count_tokens", CHAT)
    assert response.json() == {"input_tokens": len(PROMPT_TOKENS.tokens)}
    assert [request.model for request in server.engine.requests] == ["tiny"]


async def test_models_have_the_format_of_the_client(server: RunningServer) -> None:
    listed = (await server.get("v1/models", headers=VERSION)).json()
    assert [model["type"] for model in listed["data"]] == ["model"]
    described = (await server.get("v1/models/tiny", headers=VERSION)).json()
    assert (described["id"], described["max_input_tokens"]) == ("tiny", 2048)
    assert "object" in (await server.get("v1/models")).json()
    unknown = (await server.get("v1/models/unknown", headers=VERSION)).json()
    assert unknown["error"]["type"] == "not_found_error"


async def test_unknown_options_are_logged(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    await server.post("v1/messages", {**CHAT, "options": {"num_gpus": 1}})
    assert "unknown options ignored: 'num_gpus'" in caplog.text
