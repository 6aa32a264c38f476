"""v1/completions and the endpoints about tokens over HTTP, down to an engine that plays a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import TextDelta
from tests.fakes.engine_client import ACCEPTED, FINISHED
from tests.server.conftest import RunningServer

ANSWER = (ACCEPTED, TextDelta("4"), TextDelta("7"), FINISHED)


async def complete(server: RunningServer, **members: Any) -> dict[str, Any]:
    server.engine.script = ANSWER
    found: dict[str, Any] = (await server.post("v1/completions", {"model": "tiny", **members})).json()
    return found


async def test_a_text_is_continued(server: RunningServer) -> None:
    answer = await complete(server, prompt="12 + 35 = ")
    assert [choice["text"] for choice in answer["choices"]] == ["47"]
    assert answer["usage"]["total_tokens"] == 7


async def test_several_prompts_are_continued_together(server: RunningServer) -> None:
    answer = await complete(server, prompt=["a", "b", "c"])
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [(0, "47"), (1, "47"), (2, "47")]
    assert answer["usage"]["prompt_tokens"] == 9
    assert len({request.id for request in server.engine.requests}) == 3


async def test_an_echo_of_tokens_is_their_text(server: RunningServer) -> None:
    answer = await complete(server, prompt=["a", [1, 2]], echo=True)
    assert [choice["text"] for choice in answer["choices"]] == ["a47", "<1><2>47"]


async def test_several_prompts_are_streamed_together(server: RunningServer) -> None:
    server.engine.script = ANSWER
    body = {"model": "tiny", "prompt": ["a", "b"], "stream": True}
    response = await server.post("v1/completions", body)
    *events, done, _ = response.text.split("\n\n")
    assert done == "data: [DONE]"
    texts = ["", ""]
    for event in events:
        [choice] = json.loads(event.removeprefix("data: "))["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == ["47", "47"]


async def test_a_failing_prompt_fails_the_answer(server: RunningServer) -> None:
    server.engine.script = (ACCEPTED, EngineFailed("broken"))
    response = await server.post("v1/completions", {"model": "tiny", "prompt": ["a", "b"]})
    assert response.status_code == 500


async def test_unknown_options_are_logged(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    await complete(server, prompt="a", options={"num_gpus": 1})
    assert "unknown options ignored: 'num_gpus'" in caplog.text


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("v1/tokenize", {"prompt": "hi"}, {"count": 3, "max_model_len": 2048, "tokens": [1, 2, 3], "token_strs": None}),
        ("v1/detokenize", {"tokens": [1, 2]}, {"prompt": "<1><2>"}),
        (
            "v1/chat/completions/render",
            {"messages": [{"role": "user", "content": "hi"}]},
            {"prompt": "hello", "token_ids": [1, 2, 3], "count": 3, "max_model_len": 2048},
        ),
    ],
)
async def test_questions_about_tokens_are_answered(
    server: RunningServer, path: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert (await server.post(path, {"model": "tiny", **body})).json() == expected
    assert (await server.post(path, {"model": "unknown", **body})).status_code == 404
    assert (await server.post(path, {})).status_code == 400
