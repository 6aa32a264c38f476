"""EmbeddingLane: the running work of one embedding model.

Invariants:
- A batch contains texts of similar length, from any generations. Generations take turns at choosing its first text.
- A generation whose batch failed is computed alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from pico_jupyter.engine.backend import EmbeddingBackend
from pico_jupyter.engine.scheduling.lane import Lane, PrefillTask, unique
from pico_jupyter.engine.scheduling.sequence import Generation

# The tokens of a batch, including padding. A single text may be longer.
MAX_BATCH_TOKENS = 2048


@dataclass(slots=True, eq=False)
class EmbeddingTask:
    """The text at `index` of a generation."""

    generation: Generation
    index: int

    @property
    def tokens(self) -> list[int]:
        """The tokens of the text."""
        return self.generation.texts[self.index]


@dataclass(slots=True, eq=False, repr=False)
class EmbeddingLane(Lane):
    """A Lane of texts instead of rows. `batch` has the texts in progress, `batch_seconds` the time spent on them."""

    batch: list[EmbeddingTask] = field(default_factory=list)
    batch_seconds: float = 0.0
    _limit: int = 0
    _steps: Iterator[Sequence[bytes] | None] | None = None
    _waiting: list[EmbeddingTask] = field(default_factory=list)
    _turns: deque[Generation] = field(default_factory=deque)

    def __repr__(self) -> str:
        return f"<EmbeddingLane {self.resident.info.name} [{len(self._waiting)} texts]>"

    @property
    def is_empty(self) -> bool:
        """Whether the lane has no work."""
        return not self._turns

    @property
    def generations(self) -> list[Generation]:
        """All generations of the lane."""
        return list(self._turns)

    @property
    def batch_generations(self) -> list[Generation]:
        """The generations of the batch, each once."""
        return unique(task.generation for task in self.batch)

    def add(self, generation: Generation) -> list[PrefillTask]:
        """Add the texts of a generation that have no vectors yet. There are no prompts to insert."""
        missing = [index for index, vector in enumerate(generation.vectors) if vector is None]
        self._waiting += [EmbeddingTask(generation, index) for index in missing]
        self._turns.append(generation)
        return []

    def remove(self, generation: Generation) -> None:
        """Remove a generation. The rest of its batch is computed again."""
        if any(task.generation is generation for task in self.batch):
            self.drop_batch()
        self._waiting = [task for task in self._waiting if task.generation is not generation]
        self._turns.remove(generation)

    def choose_batch(self, limit: int) -> None:
        """If the last batch is complete, choose the texts of the next one: at most `limit` tokens with padding."""
        if self.batch:
            return
        generation = self._turns[0]
        self._turns.rotate(-1)
        own = [task for task in self._waiting if task.generation is generation]
        first = max(own, key=lambda task: len(task.tokens))
        shared = own if generation.failures else [task for task in self._waiting if not task.generation.failures]
        limit = min(limit, MAX_BATCH_TOKENS)
        self._limit = limit

        def distance(task: EmbeddingTask) -> tuple[int, bool]:
            return abs(len(task.tokens) - len(first.tokens)), task.generation is not generation

        for task in sorted(shared, key=distance):
            longest = max(len(first.tokens), len(task.tokens))
            if self.batch and (len(self.batch) + 1) * longest > limit:
                break
            self.batch.append(task)

    def compute(self) -> Sequence[bytes] | None:
        """Compute a part of the batch. Returns its vectors when it is complete."""
        if self._steps is None:
            backend = cast(EmbeddingBackend, self.resident.backend)
            self._steps = backend.embed([task.tokens for task in self.batch], self._limit)
        return next(self._steps)

    def store(self, vectors: Sequence[bytes]) -> list[Generation]:
        """Store the vectors of the batch. Returns the generations that are complete now."""
        self.chunk_sizer.record(sum(len(task.tokens) for task in self.batch), self.batch_seconds)
        for task, vector in zip(self.batch, vectors, strict=True):
            task.generation.vectors[task.index] = vector
        computed = self.batch_generations
        self._waiting = [task for task in self._waiting if task.generation.vectors[task.index] is None]
        self.drop_batch()
        return [generation for generation in computed if None not in generation.vectors]

    def drop_batch(self) -> None:
        """Drop the batch. Its texts stay in the lane and are computed later."""
        self.batch, self.batch_seconds, self._steps = [], 0.0, None


def batch_tokens(texts: Sequence[Sequence[int]]) -> int:
    """The number of tokens of the largest batch that these texts can form."""
    return max(*map(len, texts), min(sum(map(len, texts)), MAX_BATCH_TOKENS))
