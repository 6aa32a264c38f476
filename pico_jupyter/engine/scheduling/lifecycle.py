"""Lifecycle: moves each generation between the queue, its lane and its end.

Invariants:
- A generation ends exactly once: finished, failed or aborted.
- A requeued generation later continues after its generated tokens. Its sink is not notified.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection

from pico_jupyter.engine.memory.model_manager import ManagedModel, ModelManager
from pico_jupyter.engine.scheduling.lanes import Lanes
from pico_jupyter.engine.scheduling.request_queue import RequestQueue
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import PicoError
from pico_jupyter.types import Accepted, Finished

log = logging.getLogger(__name__)


class Lifecycle:
    """Queues, starts, requeues and ends generations. Methods that add or remove rows raise BackendCallFailed.

    `preemptions` counts the generations that were preempted since the start.
    """

    def __init__(self, models: ModelManager, queue: RequestQueue, lanes: Lanes, *, clock: Callable[[], float]) -> None:
        self._models = models
        self._queue = queue
        self._lanes = lanes
        self._clock = clock
        self._arrivals = itertools.count(1)
        self._is_preempting = False
        self.preemptions = 0

    def __repr__(self) -> str:
        return f"<Lifecycle [{len(self._lanes.generations)} running | {len(self._queue)} waiting]>"

    @property
    def generations(self) -> list[Generation]:
        """All generations, the running ones first."""
        return [*self._lanes.generations, *self._queue]

    @property
    def is_admission_paused(self) -> bool:
        """Whether admission waits for a running generation to end, because one was preempted."""
        return self._is_preempting and bool(self._lanes)

    def accept(self, generation: Generation) -> None:
        """Queue a generation and send Accepted to its sink. Raises QueueFull."""
        self._queue.add(generation, free_rows=self._lanes.free_rows)
        generation.arrival = next(self._arrivals)
        for info in generation.models:
            self._models.acquire(info)
        generation.sink.put(Accepted(generation.info.name, len(generation.prompt), generation.reasoning))

    def start(self, generation: Generation, resident: ManagedModel) -> None:
        """Move a waiting generation to the lane of its loaded model."""
        self._queue.remove(generation)
        generation.phase = "prefill"
        generation.times.prefill_started = generation.times.prefill_started or self._clock()
        self._lanes.add(generation, resident)

    def requeue(self, generations: Collection[Generation]) -> None:
        """Move running generations to the front of the queue."""
        self._queue.requeue(generations)
        for generation in generations:
            generation.phase = "queue"
            self._lanes.remove(generation, keep=False)

    def preempt(self, generation: Generation) -> None:
        """Requeue a running generation to free its memory, and pause admission."""
        log.warning("memory is short: a request for %s is requeued", generation.info.name)
        self.preemptions += 1
        self._is_preempting = True
        self.requeue([generation])

    def finish(self, generation: Generation, *, keep: bool = True) -> None:
        """End a generation whose sequences have all finished. With `keep`, the prefix cache keeps its KV caches."""
        now = self._clock()
        if generation.times.prefill_started is not None:
            self._queue.record_duration(now - generation.times.prefill_started)
        reasons = tuple(sequence.finish_reason or "stop" for sequence in generation.sequences)
        timings = generation.times.timings(now)
        self._remove(generation, keep=keep)
        stops = tuple(sequence.parser.stop_string for sequence in generation.sequences)
        generation.sink.put(Finished(reasons, generation.usage, timings, generation.context, stops))

    def fail(self, generation: Generation, error: PicoError) -> None:
        """End a generation with an error."""
        self._remove(generation, keep=False)
        generation.sink.fail(error)

    def abort(self, generation: Generation) -> None:
        """End a generation in any phase without notifying its sink. Does nothing if it has already ended."""
        if generation.phase != "done":
            self._remove(generation, keep=True)

    def drop_draft_model(self, generation: Generation, reason: str) -> None:
        """Remove the draft model of a waiting generation."""
        draft, generation.draft = generation.draft, None
        if draft:
            log.warning("%s runs without its draft model %s: %s", generation.info.name, draft.name, reason)
            self._models.release(draft, generation.keep_alive)

    def close(self, error: PicoError) -> None:
        """Fail all generations. Does not remove their rows, because the caller closes the backends next."""
        ended = self.generations
        self._lanes.clear()
        self._queue.clear()
        for generation in ended:
            generation.phase = "done"
            generation.sink.fail(error)

    def _remove(self, generation: Generation, *, keep: bool) -> None:
        """Remove a generation from the queue or from its lane, and release its models."""
        is_running = generation.phase in ("prefill", "decode")
        generation.phase = "done"
        self._is_preempting = self._is_preempting and not is_running
        try:
            if is_running:
                self._lanes.remove(generation, keep=keep)
            else:
                self._queue.remove(generation)
        finally:
            for info in generation.models:
                self._models.release(info, generation.keep_alive)
