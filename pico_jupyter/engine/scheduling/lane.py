"""Lane: the work of one model, and how much of it one turn holds. Knows no queue, no other lane and no mlx.

A prompt that begins like one that is being prefilled before it waits until that beginning is kept, and takes it over.
It never waits for one that came later, so nobody waits for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pico_jupyter.engine.backend import Backend, Drafting, Draw
from pico_jupyter.engine.memory.model_manager import Resident
from pico_jupyter.engine.memory.prefix_cache import WORTH_SHARING, common_length
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence

# Chunks are whole multiples of this many tokens.
LEAST_CHUNK = 64
_FIRST_CHUNK = 256
_MOST_WHILE_DECODING = 512
# How long a chunk should take: others wait for their next token, or only newcomers for their turn.
_SECONDS_WHILE_DECODING = 0.1
_SECONDS_ALONE = 0.15
# How many times as long it may take where more prompts wait than rows decode: few wait for many.
_MOST_PATIENCE = 2.5


@dataclass(slots=True)
class Pace:
    """How many tokens a prefill chunk may have, from how fast the model was with the latest ones."""

    most: int
    _seconds_per_token: float | None = None

    def measure(self, tokens: int, seconds: float) -> None:
        """A chunk was computed. Small ones are mostly overhead and tell nothing."""
        if tokens < min(LEAST_CHUNK, self.most):
            return
        now = seconds / tokens
        before = now if self._seconds_per_token is None else self._seconds_per_token
        self._seconds_per_token = (before + now) / 2

    def chunk(self, *, decoding: int, prefilling: int) -> int:
        """The size of the next chunk, in tokens, while so many rows decode and so many prompts are prefilled."""
        most = min(_MOST_WHILE_DECODING, self.most) if decoding else self.most
        if self._seconds_per_token is None:
            return min(_FIRST_CHUNK, most)
        seconds = _SECONDS_WHILE_DECODING if decoding else _SECONDS_ALONE
        seconds *= min(_MOST_PATIENCE, max(1.0, prefilling / max(1, decoding)))
        if seconds >= most * self._seconds_per_token:
            return most
        tokens = int(seconds / self._seconds_per_token)
        return min(most, max(LEAST_CHUNK, tokens // LEAST_CHUNK * LEAST_CHUNK))


@dataclass(slots=True, eq=False)
class Prefill:
    """A prompt on its way into the backend, for sequences that share it.

    The last `drawn` tokens were drawn before the sequence was put back. `left` tokens are still to compute, without
    the very last, which is the first decode step's. It is not in the backend while it waits for the first `shared`
    tokens of its `leader`.
    """

    generation: Generation
    sequences: list[Sequence]
    tokens: list[int]
    drawn: int
    left: int
    leader: Prefill | None = None
    shared: int = 0
    is_inserted: bool = False
    # Lengths that followers wait for; told to the backend once the prompt is there.
    to_keep: list[int] = field(default_factory=list)

    @property
    def row(self) -> int:
        return self.sequences[0].row

    @property
    def done(self) -> int:
        return len(self.tokens) - 1 - self.left


@dataclass(slots=True, eq=False)
class Lane:
    """One model's prompts that are prefilled, in turn, its rows that decode, and its draws not yet taken.

    `spent` are the seconds that it had, as far as they count against other lanes; `turn` is when it had its last one.
    """

    resident: Resident
    pace: Pace
    spent: float = 0.0
    turn: int = 0
    prefilling: deque[Prefill] = field(default_factory=deque)
    decoding: dict[int, tuple[Generation, Sequence]] = field(default_factory=dict)
    draws: deque[Draw] = field(default_factory=deque)
    # All prompts of the lane, in the order in which they came; `prefilling` is in the order of turns.
    _order: list[Prefill] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Lane {self.resident.info.name} [{len(self.prefilling)} prefilling | {len(self.decoding)} decoding]>"

    @property
    def backend(self) -> Backend:
        return self.resident.backend

    @property
    def decoding_generations(self) -> list[Generation]:
        return _unique(generation for generation, _ in self.decoding.values())

    @property
    def generations(self) -> list[Generation]:
        prefilling = (prefill.generation for prefill in self.prefilling)
        return _unique([*prefilling, *self.decoding_generations])

    @property
    def row_count(self) -> int:
        return len(self.decoding) + sum(len(prefill.sequences) for prefill in self.prefilling)

    @property
    def is_on_trial(self) -> bool:
        """Whether it is being found out who broke the batch: nobody else may come in, or be blamed."""
        return any(generation.is_suspect for generation in self.generations)

    def enter(self, generation: Generation) -> list[Prefill]:
        """Take in a generation. Its prompts are to be placed next.

        Sequences share one prompt at first; those that have drawn tokens go on each for itself.
        """
        opened = generation.open_sequences
        groups = [[sequence] for sequence in opened] if any(one.tokens for one in opened) else [opened]
        prefills = []
        for group in groups:
            tokens = [*generation.prompt, *group[0].tokens]
            prefills.append(Prefill(generation, group, tokens, len(group[0].tokens), len(tokens) - 1))
        self.prefilling.extend(prefills)
        self._order.extend(prefills)
        return prefills

    def place(self, prefill: Prefill, drafting: Drafting | None) -> None:
        """Give a prompt to the backend, or let it wait for one before it that begins with the same tokens."""
        prefill.leader, prefill.shared = self._leader_for(prefill)
        if leader := prefill.leader:
            if not leader.is_inserted:
                leader.to_keep.append(prefill.shared)
            else:
                self.backend.keep(leader.row, prefill.shared)
            return
        generation = prefill.generation
        rows = {sequence.row: sequence.sampling for sequence in prefill.sequences}
        cached = self.backend.insert(
            rows,
            prefill.tokens,
            drawn=prefill.drawn,
            boundaries=generation.boundaries,
            drafting=drafting,
            media=generation.media,
        )
        prefill.is_inserted = True
        prefill.left = len(prefill.tokens) - 1 - cached
        if generation.cached_tokens is None:
            generation.cached_tokens = cached
        for length in prefill.to_keep:
            self.backend.keep(prefill.row, length)

    def released(self) -> list[Prefill]:
        """The prompts whose leaders have computed what they wait for, or have left."""
        return [one for one in self.prefilling if one.leader and not self._is_ahead(one.leader, one.shared)]

    def prefills_in_turn(self, limit: int) -> list[Prefill]:
        """Whose turn it is, and the short prompts that may be taken along; who waits for a leader has no turn.

        Prompts that failed before are computed alone.
        """
        ready = [prefill for prefill in self.prefilling if prefill.is_inserted]
        along = [one for one in ready if one.left <= limit and not one.generation.failures]
        return along if ready[:1] == along[:1] else ready[:1]

    def advance(self, prefill: Prefill, left: int) -> None:
        """`left` tokens of a prompt are still to come; at 0 its rows decode, else the others have their turns first."""
        prefill.left = left
        prefill.generation.prefilled = min(prefill.done, len(prefill.generation.prompt))
        self.prefilling.remove(prefill)
        if left:
            self.prefilling.append(prefill)
            return
        self._order.remove(prefill)
        self.decoding.update({sequence.row: (prefill.generation, sequence) for sequence in prefill.sequences})
        if not any(other.generation is prefill.generation for other in self.prefilling):
            prefill.generation.phase = "decode"

    def forget(self, generation: Generation) -> None:
        """Let go of a generation."""
        leaving = [prefill for prefill in self.prefilling if prefill.generation is generation]
        for prefill in leaving:
            self.prefilling.remove(prefill)
            self._order.remove(prefill)
        for row in generation.rows:
            self.decoding.pop(row, None)
        # A draw that nobody took is drawn again when the row goes on.
        self.draws = deque(draw for draw in self.draws if draw.row not in generation.rows)

    def _leader_for(self, prefill: Prefill) -> tuple[Prefill | None, int]:
        """The prompt before it with which it has most in common, where that is more than is cached; and how much."""
        found = self.backend.match(prefill.tokens)
        best, longest = None, 0
        for other in self._order[: self._order.index(prefill)]:
            # Of each prompt one token at least is left to the first decode step.
            shared = min(common_length(prefill.tokens, other.tokens), len(prefill.tokens) - 1, len(other.tokens) - 1)
            if shared < max(longest + 1, found + WORTH_SHARING):
                continue
            if self._is_ahead(other, shared):
                best, longest = other, shared
            elif other.is_inserted:
                # It is computed already, and cached as soon as it is asked for, where the backend can do so.
                self.backend.keep(other.row, shared)
                found = self.backend.match(prefill.tokens)
        return (best, longest) if longest >= found + WORTH_SHARING else (None, 0)

    def _is_ahead(self, leader: Prefill, shared: int) -> bool:
        """Whether a leader still has to compute some of its first `shared` tokens."""
        return leader.done < shared and leader in self.prefilling


def _unique(generations: Iterable[Generation]) -> list[Generation]:
    return list({id(generation): generation for generation in generations}.values())
