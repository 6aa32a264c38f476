"""The Ollama endpoints over HTTP, down to an engine that plays a script."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from pico_jupyter.engine_reports import ResidentModel
from pico_jupyter.errors import EngineFailed, InvalidRequest, QueueFull
from pico_jupyter.types import TextDelta
from tests.fakes.engine_client import ACCEPTED, FINISHED, MODEL
from tests.server.conftest import RunningServer, StartServer
from tests.server.raw import raw_post

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "12 + 35?"}]}
GENERATE = {"model": "tiny", "prompt": "12 + 35?"}


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_chat_streams_by_default(server: RunningServer) -> None:
    response = await server.post("api/chat", CHAT, headers={"Accept": "application/json"})
    assert response.headers["Content-Type"] == "application/x-ndjson"
    *parts, last = lines(response)
    assert "".join(part["message"]["content"] for part in parts) == "47"
    assert "".join(part["message"].get("thinking", "") for part in parts) == "hm"
    assert (last["done"], last["done_reason"]) == (True, "stop")


async def test_a_chat_is_whole_if_requested(server: RunningServer) -> None:
    response = await server.post("api/chat", {**CHAT, "stream": False}, headers={"Accept": "application/x-ndjson"})
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    [answer] = lines(response)
    assert answer["message"] == {"role": "assistant", "content": "47", "thinking": "hm"}


async def test_a_prompt_is_completed_with_its_context(server: RunningServer) -> None:
    *parts, last = lines(await server.post("api/generate", GENERATE))
    assert "".join(part["response"] for part in parts) == "47"
    assert last["context"] == [1, 2, 3]
    [answer] = lines(await server.post("api/generate", {**GENERATE, "stream": False}))
    assert (answer["response"], answer["thinking"]) == ("47", "hm")


@pytest.mark.parametrize(("path", "key"), [("api/chat", "message"), ("api/generate", "response")])
async def test_without_a_prompt_the_model_is_loaded_or_unloaded(server: RunningServer, path: str, key: str) -> None:
    [loaded] = lines(await server.post(path, {"model": "tiny", "keep_alive": "10m"}))
    assert (loaded["done_reason"], key in loaded) == ("load", True)
    [unloaded] = lines(await server.post(path, {"model": "tiny", "keep_alive": 0}))
    assert unloaded["done_reason"] == "unload"
    assert server.engine.calls == [("load", "tiny", 600.0), ("unload", "tiny", None)]
    assert server.engine.requests == []


@pytest.mark.parametrize("path", ["api/chat", "api/generate"])
async def test_an_unknown_model_is_neither_loaded_nor_unloaded(server: RunningServer, path: str) -> None:
    for keep_alive in (None, 0):
        response = await server.post(path, {"model": "unknown", "keep_alive": keep_alive})
        assert (response.status_code, response.json()) == (404, {"error": "model 'unknown' not found"})


async def test_a_failure_before_the_first_line_is_a_status(server: RunningServer) -> None:
    server.engine.script = (QueueFull("busy"),)
    response = await server.post("api/chat", CHAT)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}


async def test_a_failure_after_the_first_line_is_a_line(server: RunningServer) -> None:
    server.engine.script = (ACCEPTED, TextDelta("4"), EngineFailed("boom"))
    response = await server.post("api/chat", CHAT)
    assert response.status_code == 200
    part, failure = lines(response)
    assert part["message"]["content"] == "4"
    assert failure == {"error": "boom"}


async def test_a_silent_stream_gets_spaces(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"keepalive_after": 0.05})
    more = asyncio.Event()
    server.engine.script = (ACCEPTED, more, TextDelta("47"), FINISHED)
    async with raw_post(server, "api/chat", CHAT) as request:
        await request.until(b"\r\n\r\n")
        await request.until(b" \r\n")
        await request.until(b" \r\n")
        more.set()
        assert b'"content":"47"' in await request.until(b'"done":true')


@pytest.mark.parametrize(("path", "body"), [("api/chat", CHAT), ("api/generate", GENERATE)])
async def test_a_disconnect_aborts_the_request(server: RunningServer, path: str, body: object) -> None:
    server.engine.script = (ACCEPTED, TextDelta("4"), asyncio.Event())
    async with raw_post(server, path, body) as request:
        await request.until(b'"done":false')
    await asyncio.wait_for(server.engine.aborted.wait(), 20)


async def test_the_default_model_answers_requests_without_a_model(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"default_model": "tiny"})
    for path, body in (("api/chat", CHAT), ("api/generate", GENERATE), ("v1/chat/completions", CHAT)):
        assert (await server.post(path, {**body, "model": ""})).status_code == 200
    assert [request.model for request in server.engine.requests] == ["tiny"] * 3


async def test_a_request_without_a_model_is_refused(server: RunningServer) -> None:
    assert (await server.post("api/chat", {"messages": []})).json() == {"error": "model is required"}
    response = await server.post("api/generate", {"prompt": "x"})
    assert (response.status_code, response.json()) == (404, {"error": "model '' not found"})


async def test_the_models_are_listed(server: RunningServer) -> None:
    [listed] = (await server.get("api/tags")).json()["models"]
    assert (listed["name"], listed["model"]) == ("tiny:latest", "tiny:latest")
    server.engine.catalog = ()
    assert (await server.get("api/tags")).json() == {"models": []}


async def test_the_loaded_models_are_listed(server: RunningServer) -> None:
    assert (await server.get("api/ps")).json() == {"models": []}
    server.engine.loaded = (ResidentModel(MODEL, size=2000, expires_at=None, active=0),)
    [loaded] = (await server.get("api/ps")).json()["models"]
    assert (loaded["name"], loaded["size"]) == ("tiny:latest", 2000)


async def test_the_version_is_the_configured_one_next_to_our_own(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"ollama_version": "0.99.1"})
    version = (await server.get("api/version")).json()
    assert version["version"] == "0.99.1"
    assert version["pico_jupyter"]


@pytest.mark.parametrize("body", [{"model": "tiny"}, {"name": "org/tiny"}, {"model": "", "name": "tiny:latest"}])
async def test_a_model_is_shown(server: RunningServer, body: dict[str, str]) -> None:
    shown = (await server.post("api/show", body)).json()
    assert shown["details"]["family"] == "qwen3"
    assert shown["model_info"]["general.basename"] in body.values()


async def test_an_unknown_model_is_not_shown(server: RunningServer) -> None:
    response = await server.post("api/show", {"model": "unknown"})
    assert (response.status_code, response.json()) == (404, {"error": "model 'unknown' not found"})
    assert (await server.post("api/show", {})).status_code == 400


async def test_pulling_an_installed_model_succeeds(server: RunningServer) -> None:
    assert lines(await server.post("api/pull", {"model": "tiny"}))[-1] == {"status": "success"}
    assert lines(await server.post("api/pull", {"name": "tiny", "stream": False})) == [{"status": "success"}]


async def test_pulling_another_model_is_refused_without_allow_pull(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"allow_pull": False})
    response = await server.post("api/pull", {"model": "unknown"})
    assert (response.status_code, response.json()) == (403, {"error": "pulling models is disabled on this server"})


async def test_a_malformed_name_is_refused_as_such(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(question: object) -> None:
        raise InvalidRequest("invalid model name", param="model")

    monkeypatch.setattr(server.engine, "ask", refuse)
    for path in ("api/show", "api/pull"):
        response = await server.post(path, {"model": "../etc"})
        assert (response.status_code, response.json()) == (400, {"error": "invalid model name"})


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "api/copy", 501, "not supported"),
        ("POST", "api/create", 501, "not supported"),
        ("POST", "api/push", 501, "not supported"),
        ("POST", "api/blobs/sha256:0a", 501, "not supported"),
    ],
)
async def test_an_endpoint_that_is_not_implemented_is_refused(
    server: RunningServer, method: str, path: str, status: int, error: str
) -> None:
    response = await server.request(method, path, json={"model": "tiny"})
    assert (response.status_code, response.json()) == (status, {"error": error})
    assert response.headers.get("x-should-retry") == ("false" if status == 501 else None)
