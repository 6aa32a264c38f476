"""The Prometheus metrics of requests, of the engine and of the model kernel."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded, ModelUnloaded
from pico_jupyter.errors import EngineFailed, InvalidRequest, ModelNotFound, PicoError, QueueFull
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelStarted
from pico_jupyter.server.metrics import METRICS, RequestMeter, ServerMetrics, outcome_of
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    Progress,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
)
from tests.fakes.backend import FakeClock

ACCEPTED = Accepted("tiny", 5, True)
TIMINGS = Timings(4, 1, 1, 1)


class Measured:
    """Metrics of one test, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ServerMetrics(self.registry)
        self.clock = FakeClock()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pico_jupyter_{name}", labels)

    def meter(self) -> RequestMeter:
        return self.metrics.request("openai", "v1/chat", self.clock)

    def play(self, meter: RequestMeter, steps: Iterable[Delta | float]) -> None:
        """Pass deltas to the meter; numbers advance the clock by seconds."""
        for step in steps:
            if isinstance(step, float):
                self.clock.advance(step)
            else:
                meter.observe(step)


@pytest.fixture
def measured() -> Measured:
    return Measured()


def finished(tokens: int, *reasons: str, **usage: int) -> Finished:
    return Finished(reasons or ("stop",), TokenUsage(5, tokens, **usage), TIMINGS)  # type: ignore[arg-type]  # any word


def test_a_request_is_counted_by_how_its_answer_finished(measured: Measured) -> None:
    meter = measured.meter()
    measured.play(meter, [ACCEPTED, TextDelta("a"), finished(1, "length")])
    meter.end()
    assert measured.value("requests_total", dialect="openai", endpoint="v1/chat", outcome="length") == 1


def test_only_the_first_end_of_a_request_counts(measured: Measured) -> None:
    meter = measured.meter()
    meter.fail(QueueFull("busy"))
    meter.end("aborted")
    assert measured.value("requests_total", dialect="openai", endpoint="v1/chat", outcome="server_busy") == 1
    assert measured.value("requests_total", dialect="openai", endpoint="v1/chat", outcome="aborted") is None


def test_a_request_lasts_from_its_headers_to_its_end(measured: Measured) -> None:
    meter = measured.meter()
    measured.clock.advance(1.5)
    meter.end("load")
    assert measured.value("request_duration_seconds_sum", dialect="openai", endpoint="v1/chat") == 1.5


def test_the_tokens_of_an_answer_are_counted_for_its_model(measured: Measured) -> None:
    measured.play(measured.meter(), [ACCEPTED, finished(7, cached_tokens=4, reasoning_tokens=3)])
    counts = {
        name: measured.value(f"{name}_total", model="tiny")
        for name in ("prompt_tokens", "cached_prompt_tokens", "completion_tokens", "reasoning_tokens")
    }
    assert counts == {
        "prompt_tokens": 5,
        "cached_prompt_tokens": 4,
        "completion_tokens": 7,
        "reasoning_tokens": 3,
    }


@pytest.mark.parametrize(
    "first",
    [TextDelta("a"), ReasoningDelta("a"), ToolCallDelta(ToolCall("call_1", "f", "{}")), ToolCallPart("{")],
    ids=type,
)
def test_the_first_text_reasoning_or_tool_call_is_the_first_token(measured: Measured, first: Delta) -> None:
    progress = Progress("prefill", 1, 2)
    measured.play(measured.meter(), [0.25, ACCEPTED, 0.5, progress, 0.25, first, 4.0, TextDelta("b")])
    assert measured.value("time_to_first_token_seconds_count", model="tiny") == 1
    assert measured.value("time_to_first_token_seconds_sum", model="tiny") == 1.0


def test_inter_token_latency_is_the_time_between_deltas_over_the_tokens_after_the_first(
    measured: Measured,
) -> None:
    texts: list[Delta | float] = [TextDelta("a"), 1.0, TextDelta("b c"), 3.0, TextDelta("d")]
    measured.play(measured.meter(), [ACCEPTED, 9.0, *texts, 9.0, finished(5)])
    assert measured.value("inter_token_latency_seconds_sum", model="tiny") == 1.0
    assert measured.value("longest_gap_seconds_sum", model="tiny") == 3.0


def test_parallel_choices_share_their_inter_token_latency(measured: Measured) -> None:
    texts: list[Delta | float] = [TextDelta("a", 0), TextDelta("b", 1), 2.0, TextDelta("c", 0)]
    measured.play(measured.meter(), [ACCEPTED, *texts, finished(6, "stop", "length")])
    assert measured.value("inter_token_latency_seconds_sum", model="tiny") == 1.0


def test_an_answer_of_one_token_has_no_inter_token_latency(measured: Measured) -> None:
    measured.play(measured.meter(), [ACCEPTED, TextDelta("a"), TextDelta("b"), finished(2)])
    measured.play(measured.meter(), [ACCEPTED, TextDelta("a"), finished(1)])
    assert measured.value("inter_token_latency_seconds_count", model="tiny") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (QueueFull("busy"), "server_busy"),
        (ModelNotFound("none"), "model_not_found"),
        (InvalidRequest("bad", code="invalid_value"), "invalid_value"),
        (InvalidRequest("bad"), "invalid_request"),
        (EngineFailed("boom"), "engine_failed"),
        (PicoError("unexpected"), "internal_error"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_is_counted_by_its_code_or_its_class(error: PicoError, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_the_gauges_show_the_latest_statistics(measured: Measured) -> None:
    measured.metrics.record(EngineStatistics(9, 9, 9, 9))
    measured.metrics.record(EngineStatistics(running=1, waiting=2, resident_bytes=3, prefix_cache_bytes=4))
    assert measured.value("engine_running_sequences") == 1
    assert measured.value("engine_waiting_requests") == 2
    assert measured.value("resident_bytes") == 3
    assert measured.value("prefix_cache_bytes") == 4


def test_a_crash_resets_the_gauges(measured: Measured) -> None:
    measured.metrics.record(KernelStarted())
    measured.metrics.record(EngineStatistics(1, 2, 3, 4, 5))
    measured.metrics.record(KernelCrashed("killed by SIGKILL"))
    assert measured.value("model_kernel_starts_total") == 1
    assert measured.value("model_kernel_crashes_total") == 1
    assert measured.value("engine_running_sequences") == 0
    assert measured.value("resident_bytes") == 0


def test_preemptions_add_up_over_restarts_of_the_model_kernel(measured: Measured) -> None:
    for preemptions in (2, 2, 5):
        measured.metrics.record(EngineStatistics(preemptions=preemptions))
    measured.metrics.record(KernelCrashed("exit status 1"))
    measured.metrics.record(EngineStatistics(preemptions=6))
    assert measured.value("preemptions_total") == 11


def test_decoded_tokens_add_up_over_restarts_and_the_time_of_the_latest_stays(measured: Measured) -> None:
    measured.metrics.record(EngineStatistics(decoded_tokens=20, decoded_at=1000.5))
    measured.metrics.record(KernelCrashed("exit status 1"))
    assert measured.value("engine_decoded_timestamp_seconds") == 1000.5
    measured.metrics.record(EngineStatistics(decoded_tokens=3, decoded_at=1001.5))
    assert measured.value("engine_decoded_tokens_total") == 23
    assert measured.value("engine_decoded_timestamp_seconds") == 1001.5


def test_loads_and_unloads_of_models_are_counted(measured: Measured) -> None:
    measured.metrics.record(ModelLoaded("tiny", 1000, 0.5))
    measured.metrics.record(ModelUnloaded("tiny", "idle"))
    assert measured.value("model_load_seconds_sum", model="tiny") == 0.5
    assert measured.value("model_unloads_total", model="tiny") == 1


def test_the_metrics_are_in_the_default_registry_that_jupyter_exports() -> None:
    assert b"pico_jupyter_requests_running" in generate_latest()
    assert repr(METRICS) == "<ServerMetrics pico_jupyter_*>"


def test_a_meter_has_a_readable_repr(measured: Measured) -> None:
    meter = measured.meter()
    assert repr(meter) == "<RequestMeter v1/chat running>"
    meter.end("load")
    assert repr(meter) == "<RequestMeter v1/chat ended>"
