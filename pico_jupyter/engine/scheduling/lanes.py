"""Lanes: the running work of all models, which share the time of the engine thread.

Invariants:
- Lanes have equal shares of the time. A new lane starts with the time of the lane that has used the least.
- One turn of a lane is one decode step and one chunk of prefill.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import cast

from pico_jupyter.engine.backend import Backend, DraftModel
from pico_jupyter.engine.memory.model_manager import ManagedModel, ModelManager
from pico_jupyter.engine.scheduling.backend_call import BackendCall
from pico_jupyter.engine.scheduling.chunk_sizer import MIN_CHUNK, ChunkSizer
from pico_jupyter.engine.scheduling.embedding_lane import EmbeddingLane
from pico_jupyter.engine.scheduling.lane import Lane, PrefillTask
from pico_jupyter.engine.scheduling.sequence import Generation

# In seconds. The time of a lane may exceed the time of the least used other lane by at most this.
_MAX_DEBT = 0.25


class Lanes:
    """All lanes. `max_rows` limits their rows, but one generation alone may have more. `max_chunk` is in tokens."""

    def __init__(self, models: ModelManager, *, max_rows: int, max_chunk: int, clock: Callable[[], float]) -> None:
        self._models = models
        self._max_rows = max_rows
        self._max_chunk = max_chunk
        self._clock = clock
        self._lanes: list[Lane] = []
        # Keyed by model name. Kept when a lane ends, because the speed of its model does not change.
        self._chunk_sizers: dict[str, ChunkSizer] = {}
        self._turns = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Lanes {self._lanes}>"

    def __bool__(self) -> bool:
        return bool(self._lanes)

    @property
    def generations(self) -> list[Generation]:
        """The running generations."""
        return [generation for lane in self._lanes for generation in lane.generations]

    @property
    def row_count(self) -> int:
        """The number of running rows."""
        return sum(lane.row_count for lane in self._lanes)

    @property
    def free_rows(self) -> int:
        """The number of rows that may still start. Negative while one generation has more rows than the limit."""
        return self._max_rows - self.row_count

    def lane_of(self, generation: Generation) -> Lane | None:
        """The lane of a generation's model."""
        return next((lane for lane in self._lanes if lane.resident.info.name == generation.info.name), None)

    def add(self, generation: Generation, resident: ManagedModel) -> None:
        """Start a generation on its model. Raises BackendCallFailed."""
        lane = self.lane_of(generation)
        if lane is None:
            sizer = self._chunk_sizers.setdefault(resident.info.name, ChunkSizer(self._max_chunk))
            used = min((other.seconds_used for other in self._lanes), default=0.0)
            kind = EmbeddingLane if generation.texts else Lane
            lane = kind(resident, sizer, seconds_used=used)
            self._lanes.append(lane)
        self._count_running(generation, 1)
        for task in lane.add(generation):
            self._insert(lane, task)

    def remove(self, generation: Generation, *, keep: bool) -> None:
        """Remove a running generation and its rows. Raises BackendCallFailed.

        With `keep` the KV caches of its rows are stored in the prefix cache.
        """
        lane = self.lane_of(generation)
        assert lane, "the generation does not run"
        lane.remove(generation)
        if lane.is_empty:
            self._lanes.remove(lane)
        lane.resident.reserved -= generation.reserved
        generation.reserved = 0
        self._count_running(generation, -1)
        if generation.rows:
            with BackendCall("remove", (generation,), lane):
                lane.backend.remove(generation.rows, keep=keep)

    def clear(self) -> None:
        """Remove all lanes. The caller closes the backends."""
        self._lanes.clear()

    def next_lane(self) -> Lane | None:
        """Choose the lane that has used the least time; among equals, the one whose latest turn is the oldest."""
        lane = min(self._lanes, key=lambda lane: (lane.seconds_used, lane.last_turn), default=None)
        if lane:
            lane.last_turn = next(self._turns)
        return lane

    def charge(self, lane: Lane, seconds: float) -> None:
        """Add the seconds of a turn to the time of a lane."""
        lane.seconds_used += seconds
        if others := [other.seconds_used for other in self._lanes if other is not lane]:
            lane.seconds_used = min(lane.seconds_used, min(others) + _MAX_DEBT)

    def insert_followers(self, lane: Lane) -> None:
        """Insert the followers that no longer wait for their leaders. Raises BackendCallFailed."""
        for task in lane.ready_followers():
            self._insert(lane, task)

    def prefill(self, lane: Lane) -> None:
        """Prefill at most one chunk of tokens. Raises BackendCallFailed.

        Each call of the backend computes a part of one long prompt, or several short prompts. The loop ends when a
        prompt remains incomplete, or when no prompt or too little of the chunk is left.
        """
        spent = 0
        while True:
            chunk = lane.chunk_sizer.next_chunk(decoding=self._decoding, prefilling=len(lane.prefilling))
            tasks = lane.next_prefills(chunk - spent)
            if not tasks or (spent and chunk - spent < MIN_CHUNK):
                return
            began = self._clock()
            with BackendCall("prefill", tuple(task.generation for task in tasks), lane):
                remaining = lane.backend.prefill([task.row for task in tasks], chunk - spent)
            advanced = [task for task in tasks if task.row in remaining]
            computed = sum(task.remaining - remaining[task.row] for task in advanced)
            lane.chunk_sizer.record(computed, self._clock() - began)
            for task in advanced:
                lane.advance(task, remaining[task.row])
            if any(remaining.values()):
                return
            # A call counts as at least MIN_CHUNK tokens, because most of the time of a smaller call is overhead.
            spent += max(computed, MIN_CHUNK)

    def embed(self, lane: EmbeddingLane) -> list[Generation]:
        """Compute a batch of texts, or a part of it. Returns the generations that are complete now.

        Raises BackendCallFailed.
        """
        lane.choose_batch(lane.chunk_sizer.next_chunk(decoding=self._decoding, prefilling=1))
        began = self._clock()
        with BackendCall("embed", tuple(lane.batch_generations), lane):
            vectors = lane.compute()
        lane.batch_seconds += self._clock() - began
        return [] if vectors is None else lane.store(vectors)

    @property
    def _decoding(self) -> int:
        return sum(len(lane.decoding) for lane in self._lanes)

    def _insert(self, lane: Lane, task: PrefillTask) -> None:
        generation = task.generation
        draft = self._models.get(generation.draft) if generation.draft else None
        with BackendCall("prefill", (generation,), lane):
            lane.insert(task, DraftModel(cast(Backend, draft.backend), generation.draft_tokens) if draft else None)

    def _count_running(self, generation: Generation, change: int) -> None:
        for info in generation.models:
            if resident := self._models.get(info):
                resident.running += change
