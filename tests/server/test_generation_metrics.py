"""Each request is counted once, with its outcome."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pico_jupyter.errors import ContextLengthExceeded, EngineFailed, EngineUnavailable, ModelNotFound, QueueFull
from pico_jupyter.server.metrics import ServerMetrics
from pico_jupyter.types import TextDelta
from tests.fakes.engine_client import ACCEPTED, ANSWER, ScriptedEngine, Step
from tests.server.conftest import RunningServer, until
from tests.server.raw import raw_post

SECRET = "the patient's name is Rumpelstiltskin"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": SECRET}]}
STREAMED = {**CHAT, "stream": True}
WHOLE = {**CHAT, "stream": False}


def plays(server: RunningServer, *script: Step) -> ScriptedEngine:
    server.engine.script = script
    return server.engine


@dataclass
class Counts:
    """A server's own metrics, in place of those that all servers of the process share."""

    registry: CollectorRegistry

    def outcomes(self) -> dict[tuple[str, str, str], float]:
        """How many requests have ended, by dialect, endpoint and outcome."""
        [family] = [one for one in self.registry.collect() if one.name == "pico_jupyter_requests"]
        return {
            (sample.labels["dialect"], sample.labels["endpoint"], sample.labels["outcome"]): sample.value
            for sample in family.samples
            if sample.name == "pico_jupyter_requests_total"
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pico_jupyter_{name}", labels)


@pytest.fixture
def counts(server: RunningServer) -> Counts:
    registry = CollectorRegistry()
    server.extension.context.metrics = ServerMetrics(registry)
    return Counts(registry)


@pytest.mark.parametrize("path", ["v1/chat/completions", "v1/chat", "api/chat", "api/generate", "pico/api/chat"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_answer_is_counted_streamed_or_whole(
    server: RunningServer, counts: Counts, path: str, stream: bool
) -> None:
    body = {"model": "TINY:latest", "messages": CHAT["messages"], "prompt": SECRET, "stream": stream}
    await server.post(path, {key: body[key] for key in body if key != ("messages" if "gen" in path else "prompt")})
    dialect = "openai" if "v1" in path else "ollama"
    assert counts.outcomes() == {(dialect, path.removeprefix("pico/"), "stop"): 1}
    assert counts.value("completion_tokens_total", model="tiny") == 4
    assert counts.value("time_to_first_token_seconds_count", model="tiny") == 1
    assert counts.value("requests_running") == 0


@pytest.mark.parametrize("body", [STREAMED, WHOLE], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ((ModelNotFound("The model 'x' does not exist"),), "model_not_found"),
        ((QueueFull("busy", retry_after=7),), "server_busy"),
        ((EngineUnavailable("gone"),), "engine_unavailable"),
        ((ACCEPTED, ContextLengthExceeded("too long")), "context_length_exceeded"),
        ((ACCEPTED, TextDelta("4"), EngineFailed("boom")), "engine_failed"),
        ((ACCEPTED, RuntimeError(SECRET)), "internal_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_failure_is_counted_by_its_code(
    server: RunningServer, counts: Counts, body: object, script: tuple[Step, ...], outcome: str
) -> None:
    plays(server, *script)
    await server.post("v1/chat/completions", body)
    assert counts.outcomes() == {("openai", "v1/chat/completions", outcome): 1}
    assert counts.value("requests_running") == 0


@pytest.mark.parametrize("body", [STREAMED, WHOLE], ids=["streamed", "whole"])
async def test_a_disconnect_is_counted_as_aborted(server: RunningServer, counts: Counts, body: object) -> None:
    engine = plays(server, ACCEPTED, TextDelta("4"), asyncio.Event())
    async with raw_post(server, "v1/chat/completions", body):
        await asyncio.wait_for(engine.reached.wait(), 20)
        assert counts.value("requests_running") == 1
    await until(counts.outcomes)
    assert counts.outcomes() == {("openai", "v1/chat/completions", "aborted"): 1}
    assert counts.value("requests_running") == 0


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"body": {"model": "tiny"}}, "missing_required_parameter"),
        ({"token": ""}, "invalid_api_key"),
        ({"method": "GET"}, "method_not_allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_request_that_is_refused_before_it_reaches_the_engine_is_counted(
    server: RunningServer, counts: Counts, change: dict[str, Any], outcome: str
) -> None:
    arguments = {"method": "POST", "body": CHAT, **change}
    body = arguments.pop("body")
    await server.request(arguments.pop("method"), "v1/chat/completions", content=json.dumps(body), **arguments)
    assert counts.outcomes() == {("openai", "v1/chat/completions", outcome): 1}
    assert server.engine.requests == []


async def test_a_body_that_is_too_large_is_counted(server: RunningServer, counts: Counts) -> None:
    server.extension.context.max_request_bytes = 10
    await server.post("v1/chat/completions", CHAT)
    assert counts.outcomes() == {("openai", "v1/chat/completions", "request_too_large"): 1}


@pytest.mark.parametrize(("keep_alive", "outcome"), [("5m", "load"), (0, "unload")])
async def test_loads_and_unloads_are_counted_as_such(
    server: RunningServer, counts: Counts, keep_alive: object, outcome: str
) -> None:
    await server.post("api/generate", {"model": "tiny", "keep_alive": keep_alive})
    assert counts.outcomes() == {("ollama", "api/generate", outcome): 1}


async def test_the_metrics_contain_no_text_of_a_client(server: RunningServer, counts: Counts) -> None:
    typed = {"model": "NoSuchModelByThatName", "messages": CHAT["messages"]}
    plays(server, ModelNotFound("The model 'NoSuchModelByThatName' does not exist"))
    await server.post("v1/chat/completions", typed)
    plays(server, *ANSWER)
    await server.post("v1/chat/completions", {**STREAMED, "model": "TINY:latest"})
    shown = generate_latest(counts.registry).decode()
    assert 'model="tiny"' in shown
    assert not any(word in shown for word in ("NoSuchModel", "TINY", "Rumpelstiltskin"))
