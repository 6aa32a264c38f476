"""Scheduler: who may run, and whose turn it is. step() is the only verb that moves time; knows no mlx and no thread.

Invariants: admission is first come, first served; a request is passed over only while its model loads or finds out who
broke its batch. A request in any phase ends exactly once: finished, failed or aborted. While it runs it may be put back
into the line, and goes on later where it was; nobody who reads the answer notices.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection
from typing import assert_never

from pico_jupyter.engine.backend import Draw
from pico_jupyter.engine.memory.model_manager import ModelManager, Resident
from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.lanes import Lanes
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.engine.scheduling.waiting import Waiting
from pico_jupyter.engine.scheduling.work import Call, Work, as_pico_error, is_out_of_memory
from pico_jupyter.errors import InvalidRequest, OutOfMemory, PicoError
from pico_jupyter.types import Accepted, EngineStatistics, Finished, ModelInfo, Progress

log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 1.0
# How many tokens of the answer a request must have memory for when it is let in.
_FORESIGHT = 512


class Scheduler:
    """Takes generations in, moves them a step at a time, and puts their deltas into their sinks."""

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
        self._waiting = Waiting(max_queue=max_queue, max_rows=max_rows, timeout=queue_timeout, clock=clock)
        self._work = Work()
        self._lanes = Lanes(models, self._work, max_rows=max_rows, most=prefill_step_size, clock=clock)
        self._arrivals = itertools.count(1)
        self._preemptions = 0
        self._decoded_tokens = 0
        self._decoded_at = 0.0
        self._is_crowded = False
        self._last_beat = clock()

    def __repr__(self) -> str:
        return f"<Scheduler [{len(self._lanes.generations)} running | {len(self._waiting)} waiting]>"

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._lanes)

    @property
    def is_at_work(self) -> bool:
        """Whether a call of a backend has begun and not ended: true behind an exception that a backend raised."""
        return self._work.current is not None

    @property
    def statistics(self) -> EngineStatistics:
        return EngineStatistics(
            running=self._lanes.row_count,
            waiting=len(self._waiting),
            resident_bytes=self._models.used_bytes,
            prefix_cache_bytes=self._models.prefix_cache_nbytes,
            preemptions=self._preemptions,
            decoded_tokens=self._decoded_tokens,
            decoded_at=self._decoded_at,
        )

    def add(self, generation: Generation) -> None:
        """Queue a generation and say so to its sink. Raises QueueFull."""
        self._waiting.add(generation, free_rows=self._lanes.free_rows)
        generation.arrival = next(self._arrivals)
        for info in generation.models:
            self._models.want(info)
        accepted = Accepted(generation.info.name, len(generation.prompt), generation.reasoning)
        generation.sink.put(accepted)

    def abort(self, generation: Generation) -> None:
        """Forget a generation in any phase; its sink hears nothing more. One that has ended is left alone."""
        if generation.phase != "done":
            self._leave(generation, keep=True)

    def step(self) -> None:
        """Admit, load a share, and give a turn to the model that had the least time."""
        self._models.expire()
        for generation, refusal in self._waiting.late():
            self._end(generation, refusal)
        self._relieve_memory()
        self._admit()
        self._load_step()
        if lane := self._lanes.next():
            self._give_turn(lane)
        self._beat()

    def close(self, error: PicoError) -> None:
        """End everything with `error`. The backends are not told: they are closed next."""
        ended = [*self._lanes.generations, *self._waiting]
        self._lanes.clear()
        self._waiting.clear()
        for generation in ended:
            generation.phase = "done"
            generation.sink.fail(error)

    # Admission

    def _admit(self) -> None:
        # Running requests have outgrown the memory: nobody is let in before one of them has left.
        if self._is_crowded and self._lanes:
            return
        for generation in self._waiting:
            # Alone, a request may have more choices than there are rows: else it would wait for ever.
            if self._lanes and self._lanes.free_rows < len(generation.open_sequences):
                return
            models = self._loaded_models(generation)
            if models is None:
                if generation.phase == "queue" and self._models.loading is None:
                    return  # Running models hold the memory; whoever comes later must not keep them busy.
                continue
            lane = self._lanes.of(generation)
            if lane and lane.is_on_trial:
                continue
            if generation.max_tokens == 0 or not generation.sequences:
                for sequence in generation.sequences:
                    sequence.finish_reason = "length"
                self._finish(generation)
            elif self._has_memory(generation, models):
                self._start(generation, models[0])
            elif generation.phase != "done":
                return  # The caches of running requests grow; who comes now must not take the room they will need.

    def _loaded_models(self, generation: Generation) -> tuple[Resident, ...] | None:
        """The models that a generation needs, or None while one is missing; begins to load it where that can be."""
        for info in generation.models:
            resident = self._models.get(info)
            if resident is None and self._models.loading is None:
                resident = self._begin_load(generation, info)
                if generation.phase == "done" or (resident is None and info == generation.info):
                    return None
                if resident is None:
                    self._go_without_draft(generation, "there is no memory for it")
                    break
            if resident is None or not resident.is_ready:
                if resident and generation.phase == "queue":
                    generation.phase = "load"
                    generation.marks.load_started = generation.marks.load_started or self._clock()
                return None
        found = (self._models.get(info) for info in generation.models)
        return tuple(resident for resident in found if resident)

    def _begin_load(self, generation: Generation, info: ModelInfo) -> Resident | None:
        try:
            with self._work.on("load", [generation], model=info):
                return self._models.begin_load(info, beside=generation.models)
        except PicoError as error:
            self._work.take()
            if info == generation.info:
                self._end(generation, error)
            return None

    def _load_step(self) -> None:
        if resident := self._models.loading:
            waiters = [one for one in self._waiting if resident.info in one.models]
            with self._work.on("load", waiters, model=resident.info):
                self._models.load_step(resident)
            if resident.is_ready:
                for generation in waiters:
                    generation.phase = "queue"
                    generation.marks.load_ended = self._clock()

    def _has_memory(self, generation: Generation, models: tuple[Resident, ...]) -> bool:
        """Whether there is memory for a generation's rows, which is then its own. Ends it if there never will be."""
        drawn = max(len(sequence.tokens) for sequence in generation.open_sequences)
        tokens = len(generation.prompt) + min(generation.max_tokens, drawn + _FORESIGHT)
        rows = len(generation.open_sequences)
        try:
            with self._work.on("prefill", [generation]):
                needed = rows * sum(resident.backend.estimate_cache(tokens) for resident in models)
            self._models.check_fits(models, needed)
        except OutOfMemory as error:
            self._work.take()
            if generation.draft:
                self._go_without_draft(generation, "there is no memory for it")
            else:
                self._end(generation, error)
            return False
        has_memory = self._models.let_in(models, needed, is_alone=not self._lanes)
        generation.reserved = needed if has_memory else 0
        return has_memory

    def _start(self, generation: Generation, resident: Resident) -> None:
        """Take a generation whose models are ready from the line to its prefill."""
        self._waiting.remove(generation)
        generation.phase = "prefill"
        generation.marks.prefill_started = generation.marks.prefill_started or self._clock()
        self._lanes.enter(generation, resident)

    def _go_without_draft(self, generation: Generation, reason: str) -> None:
        draft, generation.draft = generation.draft, None
        if draft:
            log.warning("%s does not draft for %s: %s", draft.name, generation.info.name, reason)
            self._models.done(draft, generation.keep_alive)

    # Turns

    def _give_turn(self, lane: Lane) -> None:
        began = self._clock()
        self._decode_step(lane)
        self._lanes.release(lane)
        self._lanes.prefill(lane)
        self._lanes.charge(lane, self._clock() - began)

    def _decode_step(self, lane: Lane) -> None:
        # Draws are left over when the last step's were interrupted by the failure of one request.
        if lane.decoding and not lane.draws:
            with self._work.on("decode", lane.decoding_generations, lane):
                lane.draws.extend(lane.backend.step())
            self._decoded_tokens += len(lane.draws)
            self._decoded_at = self._wall_clock()
        while lane.draws:
            self._take(lane, lane.draws.popleft())
        self._retire(lane)

    def _take(self, lane: Lane, draw: Draw) -> None:
        generation, sequence = lane.decoding.get(draw.row, (None, None))
        if generation is None or sequence is None or sequence.finish_reason is not None:
            return
        if generation.marks.first_token is None:
            generation.marks.first_token = self._clock()
        if generation.phase == "decode":
            generation.is_suspect = False
        with self._work.on("take", [generation], lane):
            generation.take(sequence, draw)

    def _retire(self, lane: Lane) -> None:
        """Take the rows that have ended out of the backend, and finish the generations that have no other."""
        ended = [row for row, (_, sequence) in lane.decoding.items() if sequence.finish_reason is not None]
        if not ended:
            return
        generations = lane.decoding_generations
        with self._work.on("remove", generations, lane):
            lane.backend.remove(ended, keep=True)
        for generation in generations:
            if not generation.open_sequences:
                self._finish(generation)
        for row in ended:
            lane.decoding.pop(row, None)

    # Memory

    def _relieve_memory(self) -> None:
        """While running rows have outgrown the budget, the newest of several goes back into the line."""
        while self._models.relieve() and len(running := self._lanes.generations) > 1:
            newest = max(running, key=lambda one: one.arrival)
            log.warning("%s puts a request back into the line: memory runs short", newest.info.name)
            self._preemptions += 1
            self._is_crowded = True
            self._put_back([newest])

    # Failures

    def fail(self, error: Exception) -> None:
        """Make good what `error` broke: whoever it is about is tried again, and ended where that failed before."""
        call = self._work.take()
        if not isinstance(error, InvalidRequest):  # which only the model could know
            log.error("a step of the engine failed: %s", type(error).__name__, exc_info=error)
        if call is None:
            for generation in [*self._lanes.generations, *self._waiting]:
                self._end(generation, as_pico_error(error, generation))
            return
        if is_out_of_memory(error):
            self._models.shed_all()
        match call.verb:
            case "load":
                self._load_failed(call, error)
            case "prefill":
                self._prefill_failed(call, error)
            case "take":
                for generation in call.generations:
                    self._end(generation, as_pico_error(error, generation))
            case "decode":
                self._clear(call)
                self._find_culprit(call, error)
                self._rebuild(call)
            case "remove":
                self._clear(call)
                self._rebuild(call)
            case _:
                assert_never(call.verb)

    def _load_failed(self, call: Call, error: Exception) -> None:
        """Who needs the model hears of it; who would only have been faster with it goes on without."""
        if loading := self._models.loading:
            self._models.discard(loading)
        for generation in call.generations:
            if generation.info == call.model:
                self._end(generation, as_pico_error(error, generation, is_loading=True))
            else:
                generation.phase = "queue"
                self._go_without_draft(generation, f"{type(error).__name__} while it was loaded")

    def _prefill_failed(self, call: Call, error: Exception) -> None:
        for generation in call.generations:
            generation.failures += 1
            if generation.failures > 1:
                self._end(generation, as_pico_error(error, generation))
            elif generation.phase == "prefill":
                self._put_back([generation])

    def _find_culprit(self, call: Call, error: Exception) -> None:
        """After the first failure of a batch its generations come back one at a time, until one fails alone.

        Whoever it is ends; the others go on as if nothing had been.
        """
        suspects = [one for one in call.generations if one.is_suspect] or list(call.generations)
        if len(suspects) > 1 or not suspects[0].failures:
            for generation in suspects:
                generation.failures += 1
                generation.is_suspect = True
            return
        for generation in [*self._lanes.generations, *self._waiting]:
            if generation.info.name == suspects[0].info.name:
                generation.is_suspect = False
        self._end(suspects[0], as_pico_error(error, suspects[0]))

    def _clear(self, call: Call) -> None:
        """Take all rows of a lane out of its backend at once: no half of a broken batch is computed with again."""
        if lane := call.lane:
            generations = [*lane.generations, *call.generations]
            lane.backend.remove([row for generation in generations for row in generation.rows], keep=False)

    def _rebuild(self, call: Call) -> None:
        """Put everything of a lane back into the line, but for the answers that are whole."""
        generations = call.lane.generations if call.lane else []
        self._put_back([one for one in generations if one.open_sequences])
        for generation in generations:
            if not generation.open_sequences:
                self._finish(generation, keep=False)

    # Ends

    def _finish(self, generation: Generation, *, keep: bool = True) -> None:
        now = self._clock()
        if generation.marks.prefill_started is not None:
            self._waiting.note_duration(now - generation.marks.prefill_started)
        reasons = tuple(sequence.finish_reason or "stop" for sequence in generation.sequences)
        timings = generation.marks.timings(now)
        self._leave(generation, keep=keep)
        generation.sink.put(Finished(reasons, generation.usage, timings, generation.context))

    def _end(self, generation: Generation, error: PicoError) -> None:
        self._leave(generation, keep=False)
        generation.sink.fail(error)

    def _put_back(self, generations: Collection[Generation]) -> None:
        """Take generations out of their lane, to go on later from the tokens that they have."""
        self._waiting.put_back(generations)
        for generation in generations:
            generation.phase = "queue"
            self._lanes.take_out(generation, keep=False)

    def _leave(self, generation: Generation, *, keep: bool) -> None:
        """Take a generation out of wherever it is, for good. Called once for each."""
        is_running = generation.phase in ("prefill", "decode")
        generation.phase = "done"
        self._is_crowded = self._is_crowded and not is_running
        try:
            if is_running:
                self._lanes.take_out(generation, keep=keep)
            else:
                self._waiting.remove(generation)
        finally:
            for info in generation.models:
                self._models.done(info, generation.keep_alive)

    def _beat(self) -> None:
        """About once a second, a sign of life to everyone who still waits for a first token."""
        if self._clock() - self._last_beat < _HEARTBEAT_SECONDS:
            return
        self._last_beat = self._clock()
        for generation in [*self._waiting, *self._lanes.generations]:
            if generation.marks.first_token is None:
                generation.sink.put(self._progress(generation))

    def _progress(self, generation: Generation) -> Progress:
        if generation.phase in ("prefill", "decode"):
            return Progress("prefill", generation.prefilled, len(generation.prompt))
        if generation.phase == "load" and (loading := self._models.progress):
            return Progress("load", loading.done, loading.total)
        return Progress("queue", 0, len(generation.prompt))
