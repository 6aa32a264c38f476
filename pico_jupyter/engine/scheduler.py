"""Scheduler: who may run, and whose turn it is. step() is the only verb that moves time; knows no mlx and no thread.

Invariants: admission is first come, first served; a request is passed over only while its model loads. Models take
turns, and within a model one prefill chunk of one request follows each decode step. A request in any phase ends exactly
once: finished, failed or aborted.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pico_jupyter.engine.backends.base import Draw
from pico_jupyter.engine.models import ModelManager, Resident
from pico_jupyter.engine.sequence import Generation, Sequence
from pico_jupyter.errors import EngineFailed, ModelLoadFailed, OutOfMemory, PicoError, QueueFull
from pico_jupyter.types import Accepted, Finished, Progress

log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Lane:
    """The work of one model: prompts being prefilled, in turn, rows that decode, and draws not yet taken."""

    resident: Resident
    prefilling: deque[Generation] = field(default_factory=deque)
    decoding: dict[int, tuple[Generation, Sequence]] = field(default_factory=dict)
    draws: deque[Draw] = field(default_factory=deque)

    @property
    def decoding_generations(self) -> list[Generation]:
        return list({id(generation): generation for generation, _ in self.decoding.values()}.values())

    @property
    def generations(self) -> list[Generation]:
        return [*self.prefilling, *self.decoding_generations]

    @property
    def row_count(self) -> int:
        return len(self.decoding) + sum(len(generation.sequences) for generation in self.prefilling)


class Scheduler:
    """Takes generations in, moves them a step at a time, and puts their deltas into their sinks."""

    def __init__(
        self,
        models: ModelManager,
        *,
        max_rows: int,
        max_queue: int,
        prefill_step_size: int,
        clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._max_rows = max_rows
        self._max_queue = max_queue
        self._prefill_step_size = prefill_step_size
        self._clock = clock
        self._waiting: deque[Generation] = deque()
        self._lanes: deque[_Lane] = deque()
        self._at_work: Collection[Generation] = ()
        self._last_beat = clock()

    def __repr__(self) -> str:
        return f"<Scheduler [{len(self._running)} running | {len(self._waiting)} waiting]>"

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._lanes)

    @property
    def is_at_work(self) -> bool:
        """Whether a call of a backend has begun and not ended: true behind an exception that a backend raised."""
        return bool(self._at_work)

    @property
    def _running(self) -> list[Generation]:
        return [generation for lane in self._lanes for generation in lane.generations]

    @property
    def _free_rows(self) -> int:
        return self._max_rows - sum(lane.row_count for lane in self._lanes)

    def add(self, generation: Generation) -> None:
        """Queue a generation and say so to its sink. Raises QueueFull."""
        if len(self._waiting) >= self._max_queue + max(0, self._free_rows):
            rounds = 1 + len(self._waiting) // self._max_rows
            raise QueueFull(f"{len(self._waiting)} requests are waiting already; try again later", retry_after=rounds)
        self._waiting.append(generation)
        self._models.want(generation.info)
        accepted = Accepted(generation.info.name, len(generation.prompt), generation.reasoning)
        generation.sink.put(accepted)

    def abort(self, generation: Generation) -> None:
        """Forget a generation in any phase; its sink hears nothing more. One that has ended is left alone."""
        if generation.phase != "done":
            self._leave(generation)

    def step(self) -> None:
        """Admit, load a share, then for each model: one decode step and one prefill chunk."""
        self._models.expire()
        self._admit()
        self._load_step()
        self._lanes.rotate(-1)
        for lane in list(self._lanes):
            self._decode_step(lane)
            self._prefill_step(lane)
        self._beat()

    def fail(self, error: Exception) -> None:
        """End the generations that were being worked on when `error` was raised; all of them where that is unknown."""
        failed = list(self._at_work) or [*self._running, *self._waiting]
        self._at_work = ()
        log.error("%d requests failed: %s", len(failed), type(error).__name__, exc_info=error)
        if (loading := self._models.loading) and any(generation.phase == "load" for generation in failed):
            self._models.discard(loading)
        # All at once, so that no half of a broken batch is computed with again.
        rows = [row for generation in failed for row in generation.rows]
        for lane in self._lanes:
            lane.resident.backend.remove(rows)
        for generation in failed:
            phase = generation.phase
            self._leave(generation)
            generation.sink.fail(_as_pico_error(error, generation, is_loading=phase in ("queue", "load")))

    def close(self, error: PicoError) -> None:
        """End everything with `error`. The backends are not told: they are closed next."""
        ended = [*self._running, *self._waiting]
        self._lanes.clear()
        self._waiting.clear()
        for generation in ended:
            generation.phase = "done"
            generation.sink.fail(error)

    def _admit(self) -> None:
        for generation in list(self._waiting):
            # Alone, a request may have more choices than there are rows: else it would wait for ever.
            if self._lanes and self._free_rows < len(generation.sequences):
                return
            # The caches of running requests grow; what comes now must not take the room that they will need.
            if self._lanes and self._models.is_nearly_full:
                return
            resident = self._models.get(generation.info)
            if resident is None and self._models.loading is None:
                resident = self._begin_load(generation)
                if resident is None and generation.phase != "done":
                    return  # Running models hold the memory; whoever comes later must not keep them busy.
            if resident and resident.is_ready:
                self._start(generation, resident)
            elif resident and generation.phase == "queue":
                generation.phase = "load"
                generation.marks.load_started = self._clock()

    def _begin_load(self, generation: Generation) -> Resident | None:
        started = self._clock()
        try:
            with self._working_on([generation]):
                resident = self._models.begin_load(generation.info)
        except PicoError as error:
            self._at_work = ()
            self._leave(generation)
            generation.sink.fail(error)
            return None
        if resident:
            generation.phase = "load"
            generation.marks.load_started = started
        return resident

    def _load_step(self) -> None:
        if resident := self._models.loading:
            waiters = [one for one in self._waiting if one.info.name == resident.info.name]
            with self._working_on(waiters):
                self._models.load_step(resident)
            if resident.is_ready:
                for generation in waiters:
                    generation.phase = "queue"
                    generation.marks.load_ended = self._clock()

    def _start(self, generation: Generation, resident: Resident) -> None:
        """Take a generation whose model is ready from the queue to its prefill."""
        if generation.max_tokens == 0 or not generation.sequences:
            for sequence in generation.sequences:
                sequence.finish_reason = "length"
            self._finish(generation)
            return
        self._waiting.remove(generation)
        generation.phase = "prefill"
        generation.marks.prefill_started = self._clock()
        lane = self._lane_of(generation) or _Lane(resident)
        if lane not in self._lanes:
            self._lanes.append(lane)
        lane.prefilling.append(generation)
        resident.running += 1
        with self._working_on([generation]):
            rows = {sequence.row: sequence.sampling for sequence in generation.sequences}
            resident.backend.insert(rows, generation.prompt)

    def _decode_step(self, lane: _Lane) -> None:
        decoding = lane.decoding_generations
        # Draws are left over when the last step's were interrupted by the failure of one request.
        if decoding and not lane.draws:
            with self._working_on(decoding):
                lane.draws.extend(lane.resident.backend.step())
        while lane.draws:
            self._take(lane, lane.draws.popleft())
        self._retire(lane)

    def _take(self, lane: _Lane, draw: Draw) -> None:
        generation, sequence = lane.decoding.get(draw.row, (None, None))
        if generation is None or sequence is None or sequence.finish_reason is not None:
            return
        if generation.marks.first_token is None:
            generation.marks.first_token = self._clock()
        with self._working_on([generation]):
            generation.take(sequence, draw)

    def _retire(self, lane: _Lane) -> None:
        """Take the rows that have ended out of the backend, and finish the generations that have no other."""
        decoding = lane.decoding_generations
        ended = [row for row, (_, sequence) in lane.decoding.items() if sequence.finish_reason is not None]
        if not ended:
            return
        with self._working_on(decoding):
            lane.resident.backend.remove(ended)
        for generation in decoding:
            if not generation.open_rows:
                self._finish(generation)
        for row in ended:
            lane.decoding.pop(row, None)

    def _prefill_step(self, lane: _Lane) -> None:
        if not lane.prefilling:
            return
        generation = lane.prefilling[0]
        with self._working_on([generation]):
            left = lane.resident.backend.prefill(generation.sequences[0].row, self._prefill_step_size)
        generation.prefilled = len(generation.prompt) - left
        lane.prefilling.rotate(-1)
        if left == 0:
            lane.prefilling.remove(generation)
            generation.phase = "decode"
            lane.decoding.update({sequence.row: (generation, sequence) for sequence in generation.sequences})

    def _finish(self, generation: Generation) -> None:
        reasons = tuple(sequence.finish_reason or "stop" for sequence in generation.sequences)
        timings = generation.marks.timings(self._clock())
        self._leave(generation)
        generation.sink.put(Finished(reasons, generation.usage, timings, generation.context))

    def _leave(self, generation: Generation) -> None:
        """Take a generation out of wherever it is, with its rows. Called once for each."""
        lane = self._lane_of(generation)
        if generation.phase in ("queue", "load"):
            self._waiting.remove(generation)
        elif lane:
            with self._working_on(lane.generations):
                lane.resident.backend.remove(generation.rows)
            if generation.phase == "prefill":
                lane.prefilling.remove(generation)
            for row in generation.rows:
                lane.decoding.pop(row, None)
            lane.resident.running -= 1
            if not lane.row_count:
                self._lanes.remove(lane)
        generation.phase = "done"
        self._models.done(generation.info, generation.keep_alive)

    def _lane_of(self, generation: Generation) -> _Lane | None:
        return next((lane for lane in self._lanes if lane.resident.info.name == generation.info.name), None)

    @contextmanager
    def _working_on(self, generations: Collection[Generation]) -> Iterator[None]:
        """Name the generations that an exception of the backend ends. Not reset then: fail() reads it."""
        self._at_work = generations
        yield
        self._at_work = ()

    def _beat(self) -> None:
        """About once a second, a sign of life to everyone who still waits for a first token."""
        if self._clock() - self._last_beat < _HEARTBEAT_SECONDS:
            return
        self._last_beat = self._clock()
        for generation in [*self._waiting, *(one for lane in self._lanes for one in lane.prefilling)]:
            generation.sink.put(self._progress(generation))

    def _progress(self, generation: Generation) -> Progress:
        if generation.phase == "prefill":
            return Progress("prefill", generation.prefilled, len(generation.prompt))
        if generation.phase == "load" and (resident := self._models.get(generation.info)):
            total = resident.backend.weights_nbytes
            return Progress("load", total - min(total, resident.to_load), total)
        return Progress("queue", 0, len(generation.prompt))


def _as_pico_error(error: Exception, generation: Generation, *, is_loading: bool) -> PicoError:
    """Our words for a foreign exception. Its own text may hold paths or prompts and goes to the log only."""
    name = generation.info.name
    if isinstance(error, PicoError):
        return error
    if isinstance(error, MemoryError) or "malloc" in str(error):
        return OutOfMemory(f"{name} ran out of memory", model=name)
    if is_loading:
        return ModelLoadFailed(f"{name} could not be loaded: {type(error).__name__}: {error}", model=name)
    return EngineFailed(f"the engine failed while it ran {name}: {type(error).__name__}", model=name)
