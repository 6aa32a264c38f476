"""Scheduler: decides which generation runs next. Its state changes only when its methods are called.

Invariants:
- Admission is first come, first served, among generations of the same priority (admission.py).
- A generation ends exactly once: finished, failed or aborted (lifecycle.py).
- One step admits waiting generations, loads one share of a model's weights, and runs one turn of a lane.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pico_jupyter.engine.backend import SampledToken
from pico_jupyter.engine.memory.model_manager import ModelManager
from pico_jupyter.engine.scheduling.admission import Admission
from pico_jupyter.engine.scheduling.backend_call import BackendCall, BackendCallFailed
from pico_jupyter.engine.scheduling.embedding_lane import EmbeddingLane
from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.lanes import Lanes
from pico_jupyter.engine.scheduling.lifecycle import Lifecycle
from pico_jupyter.engine.scheduling.recovery import Recovery
from pico_jupyter.engine.scheduling.request_queue import RequestQueue
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.engine_reports import EngineStatistics
from pico_jupyter.errors import InvalidRequest, PicoError
from pico_jupyter.types import Progress

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 1.0


class Scheduler:
    """Queues generations, advances them a step at a time, and sends their deltas to their sinks.

    `max_rows` limits the rows that run at once, `max_queue` the generations that wait, `queue_timeout` the seconds that
    they wait for their first start, `prefill_step_size` the tokens of a prefill chunk. `clock` is in monotonic seconds,
    `wall_clock` in seconds since the epoch. All methods are called by the engine thread only.
    """

    def __init__(
        self,
        models: ModelManager,
        *,
        max_rows: int,
        max_queue: int,
        queue_timeout: float,
        prefill_step_size: int,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._clock = clock
        self._wall_clock = wall_clock
        self._queue = RequestQueue(max_queue=max_queue, max_rows=max_rows, timeout=queue_timeout, clock=clock)
        self._lanes = Lanes(models, max_rows=max_rows, max_chunk=prefill_step_size, clock=clock)
        self._lifecycle = Lifecycle(models, self._queue, self._lanes, clock=clock)
        self._admission = Admission(models, self._queue, self._lanes, self._lifecycle, clock=clock)
        self._recovery = Recovery(models, self._lifecycle)
        self._decoded_tokens = 0
        self._decoded_at = 0.0
        self._last_progress = clock()

    def __repr__(self) -> str:
        return f"<Scheduler [{len(self._lanes.generations)} running | {len(self._queue)} waiting]>"

    @property
    def has_work(self) -> bool:
        """Whether a generation runs or waits."""
        return bool(self._queue or self._lanes)

    @property
    def statistics(self) -> EngineStatistics:
        """The current load and the counts since the start."""
        return EngineStatistics(
            running=self._lanes.row_count,
            waiting=len(self._queue),
            resident_bytes=self._models.used_bytes,
            prefix_cache_bytes=self._models.prefix_cache_nbytes,
            preemptions=self._lifecycle.preemptions,
            decoded_tokens=self._decoded_tokens,
            decoded_at=self._decoded_at,
        )

    def add(self, generation: Generation) -> None:
        """Queue a generation and send Accepted to its sink. Raises QueueFull."""
        self._lifecycle.accept(generation)

    def abort(self, generation: Generation) -> None:
        """End a generation without notifying its sink, unless it has already ended. Raises BackendCallFailed."""
        self._lifecycle.abort(generation)

    def step(self) -> None:
        """Admit generations, load a part of a model, and run a turn of the lane that has used the least time.

        If it raises BackendCallFailed, the caller calls recover(). After any other exception, the caller calls fail().
        """
        self._models.expire()
        for generation, error in self._queue.overdue():
            self._lifecycle.fail(generation, error)
        self._relieve_memory()
        self._admission.admit()
        self._admission.load_step()
        if lane := self._lanes.next_lane():
            self._run_turn(lane)
        self._report_progress()

    def recover(self, failed: BackendCallFailed) -> None:
        """Requeue or fail the generations of a failed call. The others continue."""
        _log_failure(failed.error)
        self._recovery.recover(failed)

    def fail(self, error: Exception) -> None:
        """End all generations after an error outside a backend call."""
        _log_failure(error)
        self._recovery.fail_all(error)

    def close(self, error: PicoError) -> None:
        """Fail all generations. Does not remove their rows, because the engine closes the backends next."""
        self._lifecycle.close(error)

    def _run_turn(self, lane: Lane) -> None:
        began = self._clock()
        if isinstance(lane, EmbeddingLane):
            for generation in self._lanes.embed(lane):
                self._lifecycle.finish(generation)
        else:
            self._decode(lane)
            self._lanes.insert_followers(lane)
            self._lanes.prefill(lane)
        self._lanes.charge(lane, self._clock() - began)

    def _decode(self, lane: Lane) -> None:
        # `sampled` still has tokens of the last step if the parser of one generation raised an exception.
        if lane.decoding and not lane.sampled:
            with BackendCall("decode", tuple(lane.decoding_generations), lane):
                lane.sampled.extend(lane.backend.step())
            self._decoded_tokens += len(lane.sampled)
            self._decoded_at = self._wall_clock()
        while lane.sampled:
            self._deliver(lane, lane.sampled.popleft())
        self._remove_finished_rows(lane)

    def _deliver(self, lane: Lane, sampled: SampledToken) -> None:
        """Pass a token to its generation, unless its sequence has finished."""
        generation, sequence = lane.decoding.get(sampled.row, (None, None))
        if generation is None or sequence is None or sequence.finish_reason is not None:
            return
        if generation.times.first_token is None:
            generation.times.first_token = self._clock()
        if generation.phase == "decode":
            generation.is_isolated = False  # It has decoded without a failure.
        with BackendCall("parse", (generation,), lane):
            generation.append(sequence, sampled)

    def _remove_finished_rows(self, lane: Lane) -> None:
        """Remove finished rows from the backend, and finish the generations that have no other rows."""
        finished = [row for row, (_, sequence) in lane.decoding.items() if sequence.finish_reason is not None]
        if not finished:
            return
        generations = lane.decoding_generations
        with BackendCall("remove", tuple(generations), lane):
            lane.backend.remove(finished, keep=True)
        for generation in generations:
            if not generation.open_sequences:
                self._lifecycle.finish(generation)
        for row in finished:
            lane.decoding.pop(row, None)

    def _relieve_memory(self) -> None:
        """Preempt until the memory is within the budget or only one runs: low priority first, then the newest."""
        while self._models.relieve_pressure() and len(running := self._lanes.generations) > 1:
            self._lifecycle.preempt(max(running, key=lambda one: (one.low_priority, one.arrival)))

    def _report_progress(self) -> None:
        """Send Progress about once a second to every generation that waits for its first token."""
        if self._clock() - self._last_progress < _PROGRESS_SECONDS:
            return
        self._last_progress = self._clock()
        for generation in [*self._queue, *self._lanes.generations]:
            if generation.times.first_token is None:
                generation.sink.put(self._progress(generation))

    def _progress(self, generation: Generation) -> Progress:
        if generation.phase in ("prefill", "decode"):
            return Progress("prefill", generation.prefilled, len(generation.prompt))
        if generation.phase == "load" and (loading := self._models.load_progress):
            return Progress("load", loading.done, loading.total)
        return Progress("queue", 0, len(generation.prompt))


def _log_failure(error: Exception) -> None:
    # InvalidRequest is an error of the client: a model refused an image or a video.
    if not isinstance(error, InvalidRequest):
        log.error("a step of the engine failed: %s", type(error).__name__, exc_info=error)
