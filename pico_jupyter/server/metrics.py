"""Prometheus metrics of requests, of the engine and of the model kernel. They hold no text of a user or a model.

Labels have few values: dialects, endpoints and outcomes are constants of this package, and models have their name in
the catalog, never a client's text. All methods are called on the server's event loop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import assert_never

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pico_jupyter.errors import PicoError
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelEvent, KernelStarted
from pico_jupyter.types import (
    Accepted,
    Delta,
    EngineStatistics,
    Finished,
    ModelLoaded,
    ModelUnloaded,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

ABORTED = "aborted"

# Upper bounds of the histograms, in seconds.
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60, 120)
INTER_TOKEN = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.4, 1)
LONGEST_GAP = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30)
DURATION = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
LOADING = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class ServerMetrics:
    """The metrics of one registry, all named `pico_jupyter_…`. The help text of each describes what it measures.

    Tokens and latencies are counted for finished answers; engine_decoded_tokens also counts those of aborted ones.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(f"pico_jupyter_{name}", help_, labels, registry=registry)

        def gauge(name: str, help_: str) -> Gauge:
            return Gauge(f"pico_jupyter_{name}", help_, registry=registry)

        def seconds(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"pico_jupyter_{name}_seconds", help_, labels, buckets=buckets, registry=registry)

        self._requests = counter(
            "requests",
            "Requests to generate, load or unload that have ended, by outcome: the first choice's finish reason, load, "
            "unload, aborted, or an error's code",
            *("dialect", "endpoint", "outcome"),
        )
        self._duration = seconds(
            "request_duration",
            "Time from a request's headers to its end, for successful and failed requests",
            DURATION,
            "dialect",
            "endpoint",
        )
        self.running = gauge("requests_running", "Running requests, including queued ones")
        self._prompt_tokens = counter("prompt_tokens", "Prompt tokens, including cached ones", "model")
        self._cached_tokens = counter("cached_prompt_tokens", "Prompt tokens found in the prefix cache", "model")
        self._completion_tokens = counter("completion_tokens", "Generated tokens, including reasoning", "model")
        self._reasoning_tokens = counter("reasoning_tokens", "Generated reasoning tokens", "model")
        self._first_token = seconds(
            "time_to_first_token",
            "Time from a request's headers to the arrival of its first text, reasoning or tool call in the server",
            *(FIRST_TOKEN, "model"),
        )
        self._inter_token = seconds(
            "inter_token_latency",
            "One value for each finished answer: seconds from its first delta to its last in the server, divided by "
            "the tokens after the first. Deltas arrive in batches, so the values of short answers are imprecise",
            *(INTER_TOKEN, "model"),
        )
        self._longest_gap = seconds(
            "longest_gap",
            "One value for each finished answer: the longest time between two of its deltas in the server",
            *(LONGEST_GAP, "model"),
        )
        self._engine_running = gauge("engine_running_sequences", "Sequences in the running batch")
        self._engine_waiting = gauge("engine_waiting_requests", "Requests in the engine's queue")
        self._resident_bytes = gauge("resident_bytes", "Bytes of the loaded models and all caches")
        self._prefix_bytes = gauge("prefix_cache_bytes", "Bytes of the prefix cache, included in resident_bytes")
        self._preemptions = counter("preemptions", "Sequences that were preempted and prefilled again")
        self._decoded_tokens = counter(
            "engine_decoded_tokens", "Tokens that the engine has decoded, including those of aborted answers"
        )
        self._decoded_at = gauge("engine_decoded_timestamp_seconds", "Unix time of the latest decoded token")
        self._loads = seconds("model_load", "Time to load a model", LOADING, "model")
        self._unloads = counter("model_unloads", "Models that were unloaded", "model")
        self._starts = counter("model_kernel_starts", "Starts of the model kernel")
        self._crashes = counter("model_kernel_crashes", "Crashes of the model kernel")
        self._latest_statistics = EngineStatistics()

    def __repr__(self) -> str:
        return "<ServerMetrics pico_jupyter_*>"

    def request(self, dialect: str, endpoint: str, clock: Callable[[], float] = time.perf_counter) -> RequestMeter:
        """Start measuring a request whose headers have just arrived."""
        return RequestMeter(self, dialect, endpoint, clock)

    def record(self, event: KernelEvent) -> None:
        """Record an event of the model kernel."""
        match event:
            case EngineStatistics():
                self._record_statistics(event)
            case ModelLoaded():
                self._loads.labels(event.model).observe(event.seconds)
            case ModelUnloaded():
                self._unloads.labels(event.model).inc()
            case KernelStarted():
                self._starts.inc()
            case KernelCrashed():
                self._crashes.inc()
                self._record_statistics(EngineStatistics(decoded_at=self._latest_statistics.decoded_at))
            case _:
                assert_never(event)

    def count_end(self, dialect: str, endpoint: str, outcome: str, seconds: float) -> None:
        """Count a request that has ended after `seconds`."""
        self._requests.labels(dialect, endpoint, outcome).inc()
        self._duration.labels(dialect, endpoint).observe(seconds)

    def count_first_token(self, model: str, seconds: float) -> None:
        """Record the time from a request to its first token."""
        self._first_token.labels(model).observe(seconds)

    def count_answer(self, model: str, finished: Finished, seconds: float, longest_gap: float) -> None:
        """Count a finished answer; `seconds` passed from its first delta to its last."""
        usage = finished.usage
        self._prompt_tokens.labels(model).inc(usage.prompt_tokens)
        self._cached_tokens.labels(model).inc(usage.cached_tokens)
        self._completion_tokens.labels(model).inc(usage.completion_tokens)
        self._reasoning_tokens.labels(model).inc(usage.reasoning_tokens)
        choices = len(finished.finish_reasons)
        if usage.completion_tokens > choices:
            # Choices are generated in parallel: one token of each per step.
            self._inter_token.labels(model).observe(seconds * choices / (usage.completion_tokens - choices))
            self._longest_gap.labels(model).observe(longest_gap)

    def _record_statistics(self, statistics: EngineStatistics) -> None:
        self._engine_running.set(statistics.running)
        self._engine_waiting.set(statistics.waiting)
        self._resident_bytes.set(statistics.resident_bytes)
        self._prefix_bytes.set(statistics.prefix_cache_bytes)
        self._decoded_at.set(statistics.decoded_at)
        # The counters of a new model kernel start at 0.
        self._preemptions.inc(max(0, statistics.preemptions - self._latest_statistics.preemptions))
        self._decoded_tokens.inc(max(0, statistics.decoded_tokens - self._latest_statistics.decoded_tokens))
        self._latest_statistics = statistics


class RequestMeter:
    """Measures one request: observe() each of its deltas, then end() or fail() once."""

    def __init__(self, metrics: ServerMetrics, dialect: str, endpoint: str, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._dialect = dialect
        self._endpoint = endpoint
        self._clock = clock
        self._began = clock()
        self._model = ""
        self._outcome = ""
        self._first: float | None = None
        self._latest = 0.0
        self._longest_gap = 0.0
        self._ended = False

    def __repr__(self) -> str:
        return f"<RequestMeter {self._endpoint} {'ended' if self._ended else 'running'}>"

    def observe(self, delta: Delta) -> None:
        """Measure a delta that has arrived."""
        match delta:
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                now = self._clock()
                if self._first is None:
                    self._first = now
                    self._metrics.count_first_token(self._model, now - self._began)
                elif now - self._latest > self._longest_gap:
                    self._longest_gap = now - self._latest
                self._latest = now
            case Accepted():
                self._model = delta.model
            case Finished():
                self._outcome = delta.finish_reasons[0]
                spread = 0.0 if self._first is None else self._latest - self._first
                self._metrics.count_answer(self._model, delta, spread, self._longest_gap)
            case Progress():
                pass
            case _:
                assert_never(delta)

    def end(self, outcome: str = "") -> None:
        """End the measurement; later calls are ignored. The default `outcome` is the finish reason."""
        if not self._ended:
            self._ended = True
            seconds = self._clock() - self._began
            self._metrics.count_end(self._dialect, self._endpoint, outcome or self._outcome, seconds)

    def fail(self, error: PicoError) -> None:
        """End the measurement with an error."""
        self.end(outcome_of(error))


def outcome_of(error: PicoError) -> str:
    """An error's code, or the name of its class: "server_busy", "engine_failed"."""
    if type(error) is PicoError:
        return "internal_error"
    return error.code or re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


# Shared by all servers of this process, because a registry accepts each name once.
METRICS = ServerMetrics(REGISTRY)
