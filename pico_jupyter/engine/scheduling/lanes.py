"""Lanes: the models at work, who runs on them, and their shares of the time. Knows no line of waiters and no sink.

Models have equal shares of the time; one that starts begins like the one that had the least. Within a model one decode
step and one chunk's worth of prefill make a turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from pico_jupyter.engine.backend import Drafting
from pico_jupyter.engine.memory.model_manager import ModelManager, Resident
from pico_jupyter.engine.scheduling.lane import LEAST_CHUNK, Lane, Pace, Prefill
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.engine.scheduling.work import Work

# A model that had more than its share makes up for at most this much of it, in seconds.
_MOST_DEBT = 0.25


class Lanes:
    """`max_rows` rows run at once at most, unless one generation has more; `most` tokens are prefilled in one turn."""

    def __init__(
        self, models: ModelManager, work: Work, *, max_rows: int, most: int, clock: Callable[[], float]
    ) -> None:
        self._models = models
        self._work = work
        self._max_rows = max_rows
        self._most = most
        self._clock = clock
        self._lanes: list[Lane] = []
        # Kept while a model has nothing to do: its speed stays the same.
        self._paces: dict[str, Pace] = {}
        self._turns = itertools.count(1)

    def __repr__(self) -> str:
        return f"<Lanes {self._lanes}>"

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes))

    @property
    def generations(self) -> list[Generation]:
        return [generation for lane in self._lanes for generation in lane.generations]

    @property
    def row_count(self) -> int:
        return sum(lane.row_count for lane in self._lanes)

    @property
    def free_rows(self) -> int:
        return self._max_rows - self.row_count

    def of(self, generation: Generation) -> Lane | None:
        """The lane of a generation's model."""
        return next((lane for lane in self._lanes if lane.resident.info.name == generation.info.name), None)

    def enter(self, generation: Generation, resident: Resident) -> None:
        """Let a generation run on its model; what it drafts with is resident as well."""
        lane = self.of(generation)
        if lane is None:
            pace = self._paces.setdefault(resident.info.name, Pace(self._most))
            lane = Lane(resident, pace, spent=min((other.spent for other in self._lanes), default=0.0))
            self._lanes.append(lane)
        self._count(generation, 1)
        for prefill in lane.enter(generation):
            self._place(lane, prefill)

    def take_out(self, generation: Generation, *, keep: bool) -> None:
        """Take a generation and its rows out; with `keep` the prefix cache may have what they computed."""
        lane = self.of(generation)
        assert lane, "it runs"
        lane.forget(generation)
        if not lane.row_count:
            self._lanes.remove(lane)
        lane.resident.reserved -= generation.reserved
        generation.reserved = 0
        self._count(generation, -1)
        with self._work.on("remove", [generation], lane):
            lane.backend.remove(generation.rows, keep=keep)

    def clear(self) -> None:
        self._lanes.clear()

    def next(self) -> Lane | None:
        """The lane that had the least time; of several the one whose last turn was first."""
        lane = min(self._lanes, key=lambda lane: (lane.spent, lane.turn), default=None)
        if lane:
            lane.turn = next(self._turns)
        return lane

    def charge(self, lane: Lane, seconds: float) -> None:
        """A lane had so many seconds."""
        lane.spent += seconds
        if others := [other.spent for other in self._lanes if other is not lane]:
            lane.spent = min(lane.spent, min(others) + _MOST_DEBT)

    def release(self, lane: Lane) -> None:
        """Give the backend the prompts that need wait for no other any more."""
        for prefill in lane.released():
            self._place(lane, prefill)

    def prefill(self, lane: Lane) -> None:
        """Compute one chunk's worth of tokens: a part of one prompt, or several short ones."""
        spent = 0
        while True:
            decoding = sum(len(other.decoding) for other in self._lanes)
            chunk = lane.pace.chunk(decoding=decoding, prefilling=len(lane.prefilling))
            turn = lane.prefills_in_turn(chunk - spent)
            if not turn or (spent and chunk - spent < LEAST_CHUNK):
                return
            began = self._clock()
            with self._work.on("prefill", (prefill.generation for prefill in turn), lane):
                left = lane.backend.prefill([prefill.row for prefill in turn], chunk - spent)
            worked_on = [prefill for prefill in turn if prefill.row in left]
            computed = sum(prefill.left - left[prefill.row] for prefill in worked_on)
            lane.pace.measure(computed, self._clock() - began)
            for prefill in worked_on:
                lane.advance(prefill, left[prefill.row])
            if any(left.values()):
                return
            spent += max(computed, LEAST_CHUNK)

    def _place(self, lane: Lane, prefill: Prefill) -> None:
        generation = prefill.generation
        draft = self._models.get(generation.draft) if generation.draft else None
        with self._work.on("prefill", [generation], lane):
            lane.place(prefill, Drafting(draft.backend, generation.draft_tokens) if draft else None)

    def _count(self, generation: Generation, step: int) -> None:
        for info in generation.models:
            if resident := self._models.get(info):
                resident.running += step
