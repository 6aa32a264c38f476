"""Lane: the running work of one model.

Invariants:
- A prompt that begins like an earlier prompt of the lane waits until that beginning is in the prefix cache.
- A prompt waits only for earlier prompts, so no two prompts wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from pico_jupyter.engine.backend import Backend, DraftModel, SampledToken
from pico_jupyter.engine.memory.model_manager import ManagedModel
from pico_jupyter.engine.memory.prefix_cache import MIN_SHARED_TOKENS, common_length
from pico_jupyter.engine.scheduling.chunk_sizer import ChunkSizer
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence


@dataclass(slots=True, eq=False)
class PrefillTask:
    """A prompt that is being prefilled, for the sequences that share it.

    The last `generated` of the `tokens` were sampled before the sequence was requeued. `remaining` is the number of
    tokens to prefill. It excludes the last token, which the first decode step computes. A follower is not in the
    backend yet: it waits until its `leader` has computed the first `shared` tokens.
    """

    generation: Generation
    sequences: list[Sequence]
    tokens: list[int]
    generated: int
    remaining: int
    leader: PrefillTask | None = None
    shared: int = 0
    is_inserted: bool = False
    # The `shared` values of followers. They are passed to the backend's keep() once the prompt is inserted.
    lengths_to_keep: list[int] = field(default_factory=list)

    @property
    def row(self) -> int:
        """The first row of the prompt, which identifies the prompt in the backend."""
        return self.sequences[0].row

    @property
    def computed(self) -> int:
        """The number of tokens that are in the KV cache."""
        return len(self.tokens) - 1 - self.remaining


@dataclass(slots=True, eq=False)
class Lane:
    """The work of one model: prompts to prefill, decoding rows, and sampled tokens that are not delivered yet.

    The first prompt of `prefilling` is prefilled next. `decoding` is keyed by row. `seconds_used` is compared with
    other lanes to choose the next lane. `last_turn` is the number of the lane's latest turn.
    """

    resident: ManagedModel
    chunk_sizer: ChunkSizer
    seconds_used: float = 0.0
    last_turn: int = 0
    prefilling: deque[PrefillTask] = field(default_factory=deque)
    decoding: dict[int, tuple[Generation, Sequence]] = field(default_factory=dict)
    sampled: deque[SampledToken] = field(default_factory=deque)
    # The tasks of `prefilling` in order of arrival.
    _by_arrival: list[PrefillTask] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Lane {self.resident.info.name} [{len(self.prefilling)} prefilling | {len(self.decoding)} decoding]>"

    @property
    def backend(self) -> Backend:
        """The backend of the lane's model."""
        return cast(Backend, self.resident.backend)

    @property
    def is_empty(self) -> bool:
        """Whether the lane has no work."""
        return not self.row_count

    @property
    def decoding_generations(self) -> list[Generation]:
        """The generations with decoding rows, each once."""
        return unique(generation for generation, _ in self.decoding.values())

    @property
    def generations(self) -> list[Generation]:
        """All generations of the lane, each once."""
        prefilling = (task.generation for task in self.prefilling)
        return unique([*prefilling, *self.decoding_generations])

    @property
    def row_count(self) -> int:
        """The number of rows, including those of followers."""
        return len(self.decoding) + sum(len(task.sequences) for task in self.prefilling)

    @property
    def is_isolating(self) -> bool:
        """Whether a generation runs alone, to find the one that made a batch fail. No other is admitted meanwhile."""
        return any(generation.is_isolated for generation in self.generations)

    def add(self, generation: Generation) -> list[PrefillTask]:
        """Add a generation. Returns its prompts, to be passed to insert() one after the other.

        All sequences share one prompt until one of them has tokens. Then each sequence has its own prompt.
        """
        unfinished = generation.open_sequences
        is_shared = not any(sequence.tokens for sequence in unfinished)
        groups = [unfinished] if is_shared else [[sequence] for sequence in unfinished]
        tasks = []
        for group in groups:
            tokens = [*generation.prompt, *group[0].tokens]
            generated = len(group[0].tokens)
            tasks.append(PrefillTask(generation, group, tokens, generated, remaining=len(tokens) - 1))
        self.prefilling.extend(tasks)
        self._by_arrival.extend(tasks)
        return tasks

    def insert(self, task: PrefillTask, draft: DraftModel | None) -> None:
        """Insert a prompt into the backend, or make it a follower of an earlier one with the same beginning."""
        scores_prompt = task.generation.scores_prompt and not task.generated
        task.leader, task.shared = (None, 0) if scores_prompt else self._leader_for(task)
        if leader := task.leader:
            if leader.is_inserted:
                self.backend.keep(leader.row, task.shared)
            else:
                leader.lengths_to_keep.append(task.shared)
            return
        generation = task.generation
        rows = {sequence.row: sequence.sampling for sequence in task.sequences}
        cached = self.backend.insert(
            rows,
            task.tokens,
            generated=task.generated,
            boundaries=generation.boundaries,
            draft=draft,
            media=generation.media,
            scores_prompt=scores_prompt,
        )
        task.is_inserted = True
        task.remaining = len(task.tokens) - 1 - cached
        if generation.cached_tokens is None:
            generation.cached_tokens = cached
        for length in task.lengths_to_keep:
            self.backend.keep(task.row, length)

    def ready_followers(self) -> list[PrefillTask]:
        """The followers whose leader has computed the shared tokens or was removed."""
        return [task for task in self.prefilling if task.leader and not self._is_pending(task.leader, task.shared)]

    def next_prefills(self, limit: int) -> list[PrefillTask]:
        """The prompts of the next chunk, without followers.

        If the first prompt ends within `limit` tokens, all such prompts are returned, otherwise only the first one. A
        prompt of a generation that failed before is computed alone.
        """
        ready = [task for task in self.prefilling if task.is_inserted]
        short = [task for task in ready if task.remaining <= limit and not task.generation.failures]
        is_first_short = ready[:1] == short[:1]
        return short if is_first_short else ready[:1]

    def advance(self, task: PrefillTask, remaining: int) -> None:
        """Record the remaining tokens of a prompt after a chunk.

        At 0, the rows of the prompt begin to decode. Otherwise the prompt moves to the end of `prefilling`.
        """
        task.remaining = remaining
        task.generation.prefilled = min(task.computed, len(task.generation.prompt))
        self.prefilling.remove(task)
        if remaining:
            self.prefilling.append(task)
            return
        self._by_arrival.remove(task)
        self.decoding.update({sequence.row: (task.generation, sequence) for sequence in task.sequences})
        if not any(other.generation is task.generation for other in self.prefilling):
            task.generation.phase = "decode"

    def remove(self, generation: Generation) -> None:
        """Remove a generation. The caller removes its rows from the backend."""
        removed = [task for task in self.prefilling if task.generation is generation]
        for task in removed:
            self.prefilling.remove(task)
            self._by_arrival.remove(task)
        for row in generation.rows:
            self.decoding.pop(row, None)
        # A token that was not delivered is sampled again, with the same result, when its row continues.
        self.sampled = deque(token for token in self.sampled if token.row not in generation.rows)

    def _leader_for(self, task: PrefillTask) -> tuple[PrefillTask | None, int]:
        """The earlier prompt with the longest common beginning, and the length of that beginning.

        Returns (None, 0) if the prefix cache already holds nearly all of that beginning.
        """
        cached = self.backend.match(task.tokens)
        leader, longest = None, 0
        for other in self._by_arrival[: self._by_arrival.index(task)]:
            # The first decode step computes the last token of each prompt.
            shared = min(common_length(task.tokens, other.tokens), len(task.tokens) - 1, len(other.tokens) - 1)
            if shared < max(longest + 1, cached + MIN_SHARED_TOKENS):
                continue
            if self._is_pending(other, shared):
                leader, longest = other, shared
            elif other.is_inserted:
                # These tokens are already computed. If possible, the backend adds them to the prefix cache at once.
                self.backend.keep(other.row, shared)
                cached = self.backend.match(task.tokens)
        return (leader, longest) if longest >= cached + MIN_SHARED_TOKENS else (None, 0)

    def _is_pending(self, leader: PrefillTask, shared: int) -> bool:
        """Whether a leader still runs and has not computed all of its first `shared` tokens."""
        return leader.computed < shared and leader in self.prefilling


def unique(generations: Iterable[Generation]) -> list[Generation]:
    """The generations in their order, each once."""
    return list({id(generation): generation for generation in generations}.values())
