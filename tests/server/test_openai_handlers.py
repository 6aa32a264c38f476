"""The OpenAI endpoints over HTTP, down to an engine that plays a script."""

from __future__ import annotations

import json

import httpx
import pytest

from pico_jupyter.types import ReasoningDelta, TextDelta
from tests.fakes.engine_client import ACCEPTED, FINISHED, MODEL
from tests.server.conftest import RunningServer, StartServer

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "12 + 35?"}]}


def deltas(response: httpx.Response) -> list[dict[str, str]]:
    assert response.headers["Content-Type"] == "text/event-stream"
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: "))["choices"][0]["delta"] for event in events]


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/chat"])
async def test_a_chat_is_answered_whole(server: RunningServer, path: str) -> None:
    response = await server.post(path, {**CHAT, "stream": False})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    message = response.json()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("47", "hm")


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/chat"])
async def test_a_chat_is_streamed(server: RunningServer, path: str) -> None:
    response = await server.post(path, {**CHAT, "stream": True})
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "".join(delta.get("content", "") for delta in deltas(response)) == "47"
    assert "".join(delta.get("reasoning_content", "") for delta in deltas(response)) == "hm"


@pytest.mark.parametrize(
    ("path", "accept", "setting", "streams"),
    [
        ("v1/chat/completions", "*/*", "openai", False),
        ("v1/chat/completions", "application/json", "openai", False),
        ("v1/chat/completions", "text/event-stream", "openai", True),
        ("v1/chat/completions", "*/*", "pico", True),
        ("v1/chat/completions", "application/json", "pico", False),
        ("v1/chat", "*/*", "openai", True),
        ("v1/chat", "application/json", "openai", False),
        ("v1/chat", "application/json, text/event-stream", "openai", True),
    ],
)
async def test_an_omitted_stream_depends_on_path_accept_and_setting(
    start_server: StartServer, path: str, accept: str, setting: str, streams: bool
) -> None:
    server = await start_server(PicoJupyter={"openai_stream_default": setting})
    response = await server.post(path, CHAT, headers={"Accept": accept})
    assert (response.headers["Content-Type"] == "text/event-stream") is streams


async def test_every_answer_has_its_own_id_and_its_chunks_share_it(server: RunningServer) -> None:
    texts = [(await server.post("v1/chat/completions", {**CHAT, "stream": True})).text for _ in range(2)]
    ids = [{json.loads(event[6:])["id"] for event in text.split("\n\n")[:-2]} for text in texts]
    assert [len(of_one) for of_one in ids] == [1, 1]
    assert ids[0] != ids[1]


async def test_reasoning_may_be_inline(start_server: StartServer) -> None:
    server = await start_server(PicoJupyter={"reasoning_output": "inline"})
    server.engine.script = (ACCEPTED, ReasoningDelta("hm"), TextDelta("47"), FINISHED)
    response = await server.post("v1/chat/completions", {**CHAT, "stream": True})
    text = "".join(delta.get("content", "") for delta in deltas(response))
    assert text.startswith("<think>")
    assert text.endswith("47")
    assert "hm" in text


async def test_a_wrong_field_is_named(server: RunningServer) -> None:
    response = await server.post("v1/chat/completions", {**CHAT, "temperature": 3})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "temperature"
    assert server.engine.requests == []


async def test_the_models_are_listed(server: RunningServer) -> None:
    listed = (await server.get("v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["tiny"]
    server.engine.catalog = ()
    assert (await server.get("v1/models")).json()["data"] == []


async def test_a_model_is_described(server: RunningServer) -> None:
    model = (await server.get("v1/models/tiny")).json()
    assert (model["id"], model["object"], model["created"]) == ("tiny", "model", int(MODEL.modified))


async def test_the_memory_report_has_fits_and_loading(server: RunningServer) -> None:
    assert (await server.get("v1/memory")).json() == {
        "budget": 10_000,
        "used": 1_000,
        "available": 9_000,
        "is_starting": False,
        "loading": {"model": "tiny", "done": 300, "total": 900},
        "needs": [{"model": "tiny", "size": 900, "fit": "fits", "is_tight": False, "unload": []}],
        "free": 0,
    }


async def test_an_unknown_model_is_not_found(server: RunningServer) -> None:
    response = await server.get("v1/models/unknown")
    assert response.status_code == 404
    assert response.json()["error"] == {
        "message": "The model 'unknown' does not exist",
        "type": "not_found_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_the_status_endpoint_responds(server: RunningServer) -> None:
    assert (await server.get("v1")).json() == {"status": "ok"}
