"""The OpenAI endpoints over HTTP, down to an engine that plays a script."""

from __future__ import annotations

import json

from tests.server.conftest import RunningServer

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "12 + 35?"}]}


async def test_a_chat_is_answered_whole(server: RunningServer) -> None:
    response = await server.post("v1/chat/completions", CHAT)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    message = response.json()["choices"][0]["message"]
    assert message["content"] == "47"
    assert message["reasoning_content"] == "hm"


async def test_a_chat_is_streamed(server: RunningServer) -> None:
    response = await server.post("v1/chat/completions", {**CHAT, "stream": True})
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    deltas = [json.loads(event.removeprefix("data: "))["choices"][0]["delta"] for event in events]
    assert "".join(delta.get("content", "") for delta in deltas) == "47"
