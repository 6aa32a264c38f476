"""A model kernel that is killed in the middle of answers: clients get the answers of an undisturbed run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import RunningServer, running_server, wait_for

COUNT = "Count from 1 to 9."
# Without the tokens that end an answer, it is long enough to be killed in its middle.
NEVER_ENDS = {"2": -100, "0": -100}
LONG = "Repeat after me: " + "a b c d e f g h " * 20
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "string", "minLength": 1500, "maxLength": 1800}},
    "required": ["n"],
}
REQUESTS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0, "max_tokens": 2000, "logit_bias": NEVER_ENDS},
    "seeded": {"temperature": 1.0, "seed": 11, "max_tokens": 2000, "logit_bias": NEVER_ENDS},
    "reasoning": {"temperature": 0, "reasoning": "on", "max_tokens": 2000, "logit_bias": NEVER_ENDS},
    "two choices": {"temperature": 1.0, "seed": 3, "n": 2, "max_tokens": 1000, "logit_bias": NEVER_ENDS},
    "logprobs": {"temperature": 0, "logprobs": True, "top_logprobs": 2, "max_tokens": 1000, "logit_bias": NEVER_ENDS},
    "grammar": {
        "temperature": 0,
        "max_tokens": 1500,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    },
    "stop string": {"temperature": 0, "stop": ["zzz"], "max_tokens": 1500, "logit_bias": NEVER_ENDS},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("crash")) as server:
        yield server


def body(options: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": LONG}]
    return {"model": "pico-tiny", "reasoning": "off", "messages": messages, "stream": stream, **options}


def kill_kernel(server: RunningServer) -> None:
    """Kill the model kernel, and wait until it is gone."""
    wait_for(lambda: len(server.model_kernels()) == 1)
    (kernel,) = server.model_kernels()
    kernel.kill()
    wait_for(lambda: not kernel.is_running())


def joined(chunks: list[dict[str, Any]]) -> list[Any]:
    """The contents, the reasoning, the log-probabilities and the reasons of all choices."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            kept = choices.setdefault(choice["index"], {"content": "", "reasoning": "", "logprobs": [], "finish": None})
            kept["content"] += choice["delta"].get("content") or ""
            kept["reasoning"] += choice["delta"].get("reasoning_content") or ""
            kept["logprobs"] += [entry["token"] for entry in ((choice.get("logprobs") or {}).get("content") or [])]
            kept["finish"] = choice["finish_reason"] or kept["finish"]
    return [choices[index] for index in sorted(choices)]


def streamed(server: RunningServer, options: dict[str, Any], kills: tuple[int, ...] = ()) -> list[Any]:
    """Stream an answer. Kills the kernel after each of these numbers of chunks."""
    chunks: list[dict[str, Any]] = []
    with (
        server.http() as client,
        client.stream("POST", "v1/chat/completions", json=body(options, stream=True)) as answer,
    ):
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            assert "error" not in chunk
            chunks.append(chunk)
            if len(chunks) in kills:
                kill_kernel(server)
    assert len(chunks) > max(kills, default=0) + 1, "the answer was complete before the kill"
    return joined(chunks)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_killed_kernel_leaves_no_trace_in_a_stream(server: RunningServer, kind: str) -> None:
    undisturbed = streamed(server, REQUESTS[kind])
    assert streamed(server, REQUESTS[kind], kills=(2,)) == undisturbed


def test_a_stream_survives_two_kills(server: RunningServer) -> None:
    undisturbed = streamed(server, REQUESTS["greedy"])
    assert streamed(server, REQUESTS["greedy"], kills=(2, 4)) == undisturbed


def test_a_whole_answer_survives_a_kill(server: RunningServer) -> None:
    options = {"temperature": 0, "max_tokens": 2000, "logit_bias": NEVER_ENDS}
    with server.http() as client:
        undisturbed = client.post("v1/chat/completions", json=body(options, stream=False)).json()
        answers: list[dict[str, Any]] = []

        def ask() -> None:
            with server.http() as own:
                answers.append(own.post("v1/chat/completions", json=body(options, stream=False)).json())

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: any(model["name"] for model in client.get("api/ps").json()["models"]))
        kill_kernel(server)
        asking.join(60)
    assert answers[0]["choices"] == undisturbed["choices"]
    assert answers[0]["usage"]["completion_tokens"] == undisturbed["usage"]["completion_tokens"]


def test_all_streams_beside_each_other_survive(server: RunningServer, tmp_path: Path) -> None:
    undisturbed = {kind: streamed(server, options) for kind, options in REQUESTS.items()}
    results: dict[str, list[Any]] = {}

    def run(kind: str) -> None:
        results[kind] = streamed(server, REQUESTS[kind], kills=(2,) if kind == "greedy" else ())

    threads = [threading.Thread(target=run, args=(kind,)) for kind in REQUESTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == undisturbed
