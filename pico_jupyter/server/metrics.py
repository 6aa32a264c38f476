"""Prometheus metrics of requests, of the engine and of the model kernel. They contain no text of a prompt or answer.

Label values never come from a client: dialects, endpoints and outcomes are constants of this package, and a model's
label is its name in the catalog. All methods must be called on the server's event loop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import assert_never

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pico_jupyter.engine_reports import Embeddings, EngineStatistics, ModelLoaded, ModelUnloaded
from pico_jupyter.errors import PicoError
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelEvent, KernelStarted
from pico_jupyter.server.usage import UserUsage
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
    ToolCallPart,
)

ABORTED = "aborted"

# Upper bounds of the histogram buckets, in seconds.
FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60, 120)
INTER_TOKEN = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.4, 1)
LONGEST_GAP = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30)
DURATION = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
LOADING = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

BY_MODEL = ("model",)


class ServerMetrics:
    """The metrics `pico_jupyter_…` in one Prometheus registry.

    Tokens are counted when an answer finishes, so tokens of aborted answers appear only in engine_decoded_tokens.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"pico_jupyter_{name}", help_, labels, registry=registry)

        def gauge(name: str, help_: str) -> Gauge:
            return Gauge(f"pico_jupyter_{name}", help_, registry=registry)

        def seconds(name: str, help_: str, buckets: tuple[float, ...], labels: tuple[str, ...]) -> Histogram:
            return Histogram(f"pico_jupyter_{name}_seconds", help_, labels, buckets=buckets, registry=registry)

        self._requests = counter(
            "requests",
            "Requests to generate, embed, load or unload that have ended, by outcome: the first choice's finish "
            "reason, embed, load, unload, aborted, or an error's code",
            ("dialect", "endpoint", "outcome"),
        )
        self._duration = seconds(
            "request_duration",
            "Time from the arrival of a request's headers to its end, for successful and failed requests",
            DURATION,
            ("dialect", "endpoint"),
        )
        self.running = gauge("requests_running", "Running requests, including queued ones")
        self._prompt_tokens = counter(
            "prompt_tokens", "Tokens of prompts, cached or not, and of embedded texts", BY_MODEL
        )
        self._cached_tokens = counter("cached_prompt_tokens", "Prompt tokens found in the prefix cache", BY_MODEL)
        self._completion_tokens = counter("completion_tokens", "Generated tokens, including reasoning", BY_MODEL)
        self._reasoning_tokens = counter("reasoning_tokens", "Generated reasoning tokens", BY_MODEL)
        self._first_token = seconds(
            "time_to_first_token",
            "Time from the arrival of a request's headers until the first text, reasoning or tool call of its answer",
            FIRST_TOKEN,
            BY_MODEL,
        )
        self._inter_token = seconds(
            "inter_token_latency",
            "Mean time between tokens of a finished answer: the time from its first delta to its last in the server, "
            "divided by the number of tokens after the first. Deltas arrive in batches, so short answers are imprecise",
            INTER_TOKEN,
            BY_MODEL,
        )
        self._longest_gap = seconds(
            "longest_gap",
            "Longest time between two consecutive deltas of a finished answer, as they arrive in the server",
            LONGEST_GAP,
            BY_MODEL,
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
        self._loads = seconds("model_load", "Time to load a model", LOADING, BY_MODEL)
        self._unloads = counter("model_unloads", "Models that were unloaded", BY_MODEL)
        self._starts = counter("model_kernel_starts", "Starts of the model kernel")
        self._crashes = counter("model_kernel_crashes", "Crashes of the model kernel")
        self._latest_statistics = EngineStatistics()

    def __repr__(self) -> str:
        return "<ServerMetrics pico_jupyter_*>"

    def request(self, dialect: str, endpoint: str, clock: Callable[[], float] = time.perf_counter) -> RequestMeter:
        """Start measuring a request whose headers have just arrived."""
        return RequestMeter(self, dialect, endpoint, clock)

    def record(self, event: KernelEvent) -> None:
        """Record an event of the model kernel. After a crash, nothing is running and no model is loaded."""
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
        """Count a request that ended `seconds` after its start."""
        self._requests.labels(dialect, endpoint, outcome).inc()
        self._duration.labels(dialect, endpoint).observe(seconds)

    def count_first_token(self, model: str, seconds: float) -> None:
        """Record the time from a request to its first token."""
        self._first_token.labels(model).observe(seconds)

    def count_answer(self, model: str, finished: Finished, seconds: float, longest_gap: float) -> None:
        """Record a finished answer. `seconds` is the time from its first delta to its last."""
        usage = finished.usage
        self._prompt_tokens.labels(model).inc(usage.prompt_tokens)
        self._cached_tokens.labels(model).inc(usage.cached_tokens)
        self._completion_tokens.labels(model).inc(usage.completion_tokens)
        self._reasoning_tokens.labels(model).inc(usage.reasoning_tokens)
        choices = len(finished.finish_reasons)
        if usage.completion_tokens > choices:
            # All choices are generated in parallel, so a step generates one token of each.
            self._inter_token.labels(model).observe(seconds * choices / (usage.completion_tokens - choices))
            self._longest_gap.labels(model).observe(longest_gap)

    def count_prompt_tokens(self, model: str, tokens: int) -> None:
        """Count the tokens of embedded texts."""
        self._prompt_tokens.labels(model).inc(tokens)

    def _record_statistics(self, statistics: EngineStatistics) -> None:
        self._engine_running.set(statistics.running)
        self._engine_waiting.set(statistics.waiting)
        self._resident_bytes.set(statistics.resident_bytes)
        self._prefix_bytes.set(statistics.prefix_cache_bytes)
        self._decoded_at.set(statistics.decoded_at)
        # A restarted model kernel counts from 0 again.
        self._preemptions.inc(max(0, statistics.preemptions - self._latest_statistics.preemptions))
        self._decoded_tokens.inc(max(0, statistics.decoded_tokens - self._latest_statistics.decoded_tokens))
        self._latest_statistics = statistics


class RequestMeter:
    """Measures one request. Call observe() with each delta, then end() or fail().

    `usage` also counts the answered request and its tokens. Set it when the user is known.
    """

    def __init__(self, metrics: ServerMetrics, dialect: str, endpoint: str, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._dialect = dialect
        self._endpoint = endpoint
        self._clock = clock
        self._began = clock()
        self.usage = UserUsage()
        self._model = ""
        self._outcome = ""
        self._first_at: float | None = None
        self._latest_at = 0.0
        self._longest_gap = 0.0
        self._ended = False

    def __repr__(self) -> str:
        return f"<RequestMeter {self._endpoint} {'ended' if self._ended else 'running'}>"

    def observe(self, delta: Delta) -> None:
        """Record the arrival of a delta."""
        match delta:
            case TextDelta() | ReasoningDelta() | ToolCallDelta() | ToolCallPart():
                now = self._clock()
                if self._first_at is None:
                    self._first_at = now
                    self._metrics.count_first_token(self._model, now - self._began)
                elif now - self._latest_at > self._longest_gap:
                    self._longest_gap = now - self._latest_at
                self._latest_at = now
            case Accepted():
                self._model = delta.model
            case Finished():
                self._outcome = delta.finish_reasons[0]
                seconds = 0.0 if self._first_at is None else self._latest_at - self._first_at
                self._metrics.count_answer(self._model, delta, seconds, self._longest_gap)
                self.usage.add(self._model, delta.usage)
            case Progress():
                pass
            case _:
                assert_never(delta)

    def count_embeddings(self, embeddings: Embeddings) -> None:
        """Record a successful request for embeddings."""
        self._outcome = "embed"
        self._metrics.count_prompt_tokens(embeddings.model, embeddings.prompt_tokens)
        self.usage.add(embeddings.model, TokenUsage(embeddings.prompt_tokens, 0))

    def end(self, outcome: str = "") -> None:
        """End the measurement. Later calls do nothing. The default outcome is the answer's finish reason."""
        if not self._ended:
            self._ended = True
            seconds = self._clock() - self._began
            self._metrics.count_end(self._dialect, self._endpoint, outcome or self._outcome, seconds)

    def fail(self, error: PicoError) -> None:
        """End the measurement with an error."""
        self.end(outcome_of(error))


def outcome_of(error: PicoError) -> str:
    """The `outcome` label of an error: its code, or else the name of its class, such as "engine_failed"."""
    if type(error) is PicoError:
        return "internal_error"
    return error.code or re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


# Shared by all servers of this process, because a registry accepts each metric name only once.
METRICS = ServerMetrics(REGISTRY)
