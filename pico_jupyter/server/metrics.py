"""What Prometheus is told: counts, times and sizes. Knows no HTTP, and no word that a user or a model wrote.

Labels are bounded: dialects, endpoints and outcomes are words of this package, and a model's name is the catalog's,
never what a client typed. Everything happens on the event loop of the server.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import assert_never

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from pico_jupyter.errors import PicoError
from pico_jupyter.model_kernel.news import KernelCrashed, KernelNews, KernelStarted
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
    """The metrics of one registry, all named `pico_jupyter_…`; what each one means is its help text.

    Tokens and the times between them are those of finished answers; the engine's own count has those of all.
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
            "Requests to generate, load or unload that have ended, by how: a finish reason (the first choice's), load, "
            "unload, aborted, or an error's code",
            *("dialect", "endpoint", "outcome"),
        )
        self._duration = seconds(
            "request_duration", "From a request's headers to its end, however it ended", DURATION, "dialect", "endpoint"
        )
        self.running = gauge("requests_running", "Requests that the server is working on, waiting ones included")
        self._prompt_tokens = counter("prompt_tokens", "Tokens of prompts, cached ones included", "model")
        self._cached_tokens = counter("cached_prompt_tokens", "Tokens of prompts that the prefix cache had", "model")
        self._completion_tokens = counter("completion_tokens", "Tokens of answers, reasoning included", "model")
        self._reasoning_tokens = counter("reasoning_tokens", "Tokens of reasoning", "model")
        self._first_token = seconds(
            "time_to_first_token",
            "From a request's headers to its first text, reasoning or tool call in the server",
            *(FIRST_TOKEN, "model"),
        )
        self._inter_token = seconds(
            "inter_token_latency",
            "One value for each finished answer, its mean: seconds between its first and last delta in the server "
            "over the tokens after the first. Deltas travel in batches, so that short answers are imprecise",
            *(INTER_TOKEN, "model"),
        )
        self._longest_gap = seconds(
            "longest_gap",
            "One value for each finished answer: the longest silence between two of its deltas in the server",
            *(LONGEST_GAP, "model"),
        )
        self._engine_running = gauge("engine_running_sequences", "Sequences that the engine is computing")
        self._engine_waiting = gauge("engine_waiting_requests", "Requests that wait in the engine's queue")
        self._resident_bytes = gauge("resident_bytes", "Bytes of the loaded models and of all their caches")
        self._prefix_bytes = gauge("prefix_cache_bytes", "Bytes of the kept prefixes; a part of resident_bytes")
        self._preemptions = counter("preemptions", "Sequences that had to give up their memory and begin again")
        self._decoded_tokens = counter("engine_decoded_tokens", "Tokens that the engine has decoded, of any answer")
        self._decoded_at = gauge("engine_decoded_timestamp_seconds", "When the engine decoded the latest token")
        self._loads = seconds("model_load", "How long models took to load", LOADING, "model")
        self._unloads = counter("model_unloads", "Models that were unloaded", "model")
        self._starts = counter("model_kernel_starts", "Starts of the model kernel")
        self._crashes = counter("model_kernel_crashes", "Ends of the model kernel that nobody had asked for")
        self._told = EngineStatistics()

    def __repr__(self) -> str:
        return "<ServerMetrics pico_jupyter_*>"

    def request(self, dialect: str, endpoint: str, clock: Callable[[], float] = time.perf_counter) -> RequestMeter:
        """Begin to measure a request whose headers have just come."""
        return RequestMeter(self, dialect, endpoint, clock)

    def take(self, news: KernelNews) -> None:
        """Note what the model kernel, or whoever watches it, has told."""
        match news:
            case EngineStatistics():
                self._take_statistics(news)
            case ModelLoaded():
                self._loads.labels(news.model).observe(news.seconds)
            case ModelUnloaded():
                self._unloads.labels(news.model).inc()
            case KernelStarted():
                self._starts.inc()
            case KernelCrashed():
                self._crashes.inc()
                self._take_statistics(EngineStatistics(decoded_at=self._told.decoded_at))
            case _:
                assert_never(news)

    def count_end(self, dialect: str, endpoint: str, outcome: str, seconds: float) -> None:
        """A request has ended."""
        self._requests.labels(dialect, endpoint, outcome).inc()
        self._duration.labels(dialect, endpoint).observe(seconds)

    def count_first_token(self, model: str, seconds: float) -> None:
        """An answer has begun, so many seconds after its request."""
        self._first_token.labels(model).observe(seconds)

    def count_answer(self, model: str, finished: Finished, seconds: float, longest_gap: float) -> None:
        """An answer is whole; `seconds` lie between its first delta and its last."""
        usage = finished.usage
        self._prompt_tokens.labels(model).inc(usage.prompt_tokens)
        self._cached_tokens.labels(model).inc(usage.cached_tokens)
        self._completion_tokens.labels(model).inc(usage.completion_tokens)
        self._reasoning_tokens.labels(model).inc(usage.reasoning_tokens)
        choices = len(finished.finish_reasons)
        if usage.completion_tokens > choices:
            # Choices are written side by side: a token of each in the time of one.
            self._inter_token.labels(model).observe(seconds * choices / (usage.completion_tokens - choices))
            self._longest_gap.labels(model).observe(longest_gap)

    def _take_statistics(self, statistics: EngineStatistics) -> None:
        self._engine_running.set(statistics.running)
        self._engine_waiting.set(statistics.waiting)
        self._resident_bytes.set(statistics.resident_bytes)
        self._prefix_bytes.set(statistics.prefix_cache_bytes)
        self._decoded_at.set(statistics.decoded_at)
        # The counts of a new model kernel begin at 0.
        self._preemptions.inc(max(0, statistics.preemptions - self._told.preemptions))
        self._decoded_tokens.inc(max(0, statistics.decoded_tokens - self._told.decoded_tokens))
        self._told = statistics


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
        """The request is over; only the first call counts. Without an `outcome` it is how the answer finished."""
        if not self._ended:
            self._ended = True
            seconds = self._clock() - self._began
            self._metrics.count_end(self._dialect, self._endpoint, outcome or self._outcome, seconds)

    def fail(self, error: PicoError) -> None:
        """The request is over with this error."""
        self.end(outcome_of(error))


def outcome_of(error: PicoError) -> str:
    """An error's code, or the name of its class: "server_busy", "engine_failed"."""
    if type(error) is PicoError:
        return "internal_error"
    return error.code or re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


# Those of this process: however many servers run in it, its registry takes each name once.
METRICS = ServerMetrics(REGISTRY)
