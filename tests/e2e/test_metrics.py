"""The metrics and the events of a real server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import websocket
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running import RunningServer, wait_for

SECRET = "xyzzy-plugh-4711"
SUM = [{"role": "user", "content": "What is 12 + 35?"}]
LONG_SUM = [{"role": "user", "content": "What is 4821 + 3977?"}]
EVENT_SECONDS = 60.0


def metrics(server: RunningServer) -> dict[str, float]:
    """Our samples, as "name{label=value,…}"."""
    with server.http() as http:
        families = text_string_to_metric_families(http.get("metrics").raise_for_status().text)
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("pico_jupyter_")]
    return {_written(sample.name.removeprefix("pico_jupyter_"), sample.labels): sample.value for sample in samples}


def _written(name: str, labels: dict[str, str]) -> str:
    listed = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{listed}}}" if listed else name


def outcome(endpoint: str, word: str) -> str:
    dialect = "openai" if endpoint.startswith("v1") else "ollama"
    return f"requests_total{{dialect={dialect},endpoint={endpoint},outcome={word}}}"


@contextlib.contextmanager
def subscribed(server: RunningServer) -> Iterator[Iterator[dict[str, Any]]]:
    """Our events of the server, from now on."""
    url = server.url.replace("http", "ws", 1) + "api/events/subscribe"
    socket = websocket.create_connection(url, timeout=EVENT_SECONDS, header=server.headers)
    try:
        yield (event for event in iter(lambda: json.loads(socket.recv()), None) if "pico" in event["schema_id"])
    finally:
        socket.close()


def fields(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if not name.startswith("__")}


def test_one_chat_is_in_the_metrics(own_server: RunningServer) -> None:
    with own_server.http() as http:
        http.post("v1/chat/completions", json={"model": "PICO-tiny:latest", "messages": SUM}).raise_for_status()
    # The engine publishes its statistics within about a second.
    wait_for(
        lambda: (statistics := metrics(own_server))["resident_bytes"] > 0 and not statistics["engine_running_sequences"]
    )
    shown = metrics(own_server)
    assert shown[outcome("v1/chat/completions", "stop")] == 1
    assert shown["request_duration_seconds_count{dialect=openai,endpoint=v1/chat/completions}"] == 1
    assert shown["prompt_tokens_total{model=pico-tiny}"] > shown["cached_prompt_tokens_total{model=pico-tiny}"]
    assert shown["completion_tokens_total{model=pico-tiny}"] > 1
    assert shown["time_to_first_token_seconds_count{model=pico-tiny}"] == 1
    assert shown["inter_token_latency_seconds_count{model=pico-tiny}"] == 1
    assert shown["model_load_seconds_count{model=pico-tiny}"] == 1
    assert shown["model_kernel_starts_total"] == 1
    assert shown["requests_running"] == 0


def test_the_metrics_require_the_token(own_server: RunningServer) -> None:
    assert httpx.get(own_server.url + "metrics").status_code == 403


def test_requests_that_fail_or_are_aborted_are_in_the_metrics(own_server: RunningServer) -> None:
    long = {"model": "pico-tiny", "messages": LONG_SUM}
    with own_server.http() as http:
        http.post("api/chat", json={"model": SECRET, "messages": SUM})
        # Without the tokens that end an answer, it lasts until the context is full.
        endless = {**long, "stream": True, "temperature": 2.0, "logit_bias": {"2": -100, "0": -100}}
        with http.stream("POST", "v1/chat/completions", json=endless) as response:
            next(response.iter_lines())
        wait_for(lambda: metrics(own_server).get(outcome("v1/chat/completions", "aborted")) == 1)
        with http.stream("POST", "v1/chat/completions", json=endless) as response:
            lines = response.iter_lines()
            next(lines)
            with own_server.killing_kernels():
                assert "server_error" in "".join(lines)
    shown = metrics(own_server)
    assert shown[outcome("api/chat", "model_not_found")] == 1
    failed = [shown.get(outcome("v1/chat/completions", end), 0) for end in ("engine_failed", "engine_unavailable")]
    assert sum(failed) == 1
    assert shown["model_kernel_crashes_total"] >= 1
    assert not any(SECRET in name for name in shown)


def test_subscribers_receive_a_load_an_unload_and_a_crash(own_server: RunningServer) -> None:
    with subscribed(own_server) as events, own_server.http() as http:
        http.post("api/chat", json={"model": "PICO-tiny:latest", "messages": SUM, "stream": False}).raise_for_status()
        loaded = fields(next(events))
        http.post("api/generate", json={"model": "pico-tiny", "keep_alive": 0}).raise_for_status()
        unloaded = fields(next(events))
        [kernel] = own_server.model_kernels()
        kernel.kill()
        crashed = fields(next(events))
    assert loaded.pop("size") > 1_000_000
    assert loaded.pop("seconds") > 0
    assert loaded == {"schema_id": "urn:pico-jupyter:events:model_loaded", "model": "pico-tiny"}
    assert unloaded.pop("reason")
    assert unloaded == {"schema_id": "urn:pico-jupyter:events:model_unloaded", "model": "pico-tiny"}
    assert crashed == {"schema_id": "urn:pico-jupyter:events:model_kernel_crashed", "exit": "killed by SIGKILL"}
