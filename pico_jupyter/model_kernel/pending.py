"""Deltas on their way: the ones that wait for a reader, and the ones that arrive out of order. Knows no transport."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import assert_never

from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)

# A rough price of a delta in memory, and of one candidate of a log-probability list.
DELTA_BYTES = 64
LOGPROB_BYTES = 128
EARLY_LIMIT = 1024


def weigh(delta: Delta) -> int:
    """About how many bytes a delta takes."""
    match delta:
        case TextDelta() | ReasoningDelta():
            return DELTA_BYTES + len(delta.text) + sum(LOGPROB_BYTES * (1 + len(token.top)) for token in delta.logprobs)
        case ToolCallDelta():
            return DELTA_BYTES + len(delta.call.name) + len(delta.call.arguments)
        case Finished():
            return DELTA_BYTES + 8 * len(delta.context)
        case Accepted() | Progress():
            return DELTA_BYTES
        case _:
            assert_never(delta)


@dataclass(slots=True)
class _Text:
    """Text of one kind and choice that grows while it waits."""

    kind: type[TextDelta] | type[ReasoningDelta]
    index: int
    texts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def delta(self) -> TextDelta | ReasoningDelta:
        return self.kind("".join(self.texts), self.index, tuple(self.logprobs))


class PendingDeltas:
    """A queue that joins what waits: text to text of the same kind and choice, a Progress to the one before.

    So a slow reader finds fewer and longer deltas, in the same order within each choice. `weight` is about its bytes.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Text | Delta] = deque()
        self._growing: dict[int, _Text] = {}
        self.weight = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<PendingDeltas [{len(self)} waiting]>"

    def add(self, delta: Delta) -> None:
        self.weight += weigh(delta)
        match delta:
            case TextDelta() | ReasoningDelta():
                self._add_text(delta)
            case ToolCallDelta():
                self._growing.pop(delta.index, None)
                self._waiting.append(delta)
            case Progress():
                if self._waiting and isinstance(self._waiting[-1], Progress):
                    self._waiting.pop()
                    self.weight -= DELTA_BYTES
                self._waiting.append(delta)
            case Accepted() | Finished():
                self._waiting.append(delta)
            case _:
                assert_never(delta)

    def pop(self) -> Delta | None:
        """The next delta, None when nothing waits."""
        if not self._waiting:
            return None
        first = self._waiting.popleft()
        if isinstance(first, _Text):
            if self._growing.get(first.index) is first:
                del self._growing[first.index]
            delta: Delta = first.delta()
        else:
            delta = first
        self.weight = self.weight - weigh(delta) if self._waiting else 0
        return delta

    def drain(self) -> tuple[Delta, ...]:
        """Everything that waits."""
        taken = []
        while (delta := self.pop()) is not None:
            taken.append(delta)
        return tuple(taken)

    def _add_text(self, delta: TextDelta | ReasoningDelta) -> None:
        text = self._growing.get(delta.index)
        if text is None or text.kind is not type(delta):
            text = _Text(type(delta), delta.index)
            self._growing[delta.index] = text
            self._waiting.append(text)
        else:
            self.weight -= DELTA_BYTES
        text.texts.append(delta.text)
        text.logprobs.extend(delta.logprobs)


class Assembly:
    """Puts the numbered frames of one stream in order: repeated ones are dropped, early ones wait for the gap to close.

    `received` is the number up to which there is no gap. Too many early frames are dropped: they will be sent again.
    """

    def __init__(self) -> None:
        self.received = 0
        self._early: dict[int, tuple[Delta, ...]] = {}

    def __repr__(self) -> str:
        return f"<Assembly [{self.received} received | {len(self._early)} early]>"

    @property
    def has_gap(self) -> bool:
        """Whether frames have arrived behind ones that have not."""
        return bool(self._early)

    def accept(self, first: int, deltas: tuple[Delta, ...]) -> list[Delta]:
        """Take frames `first`, first + 1, … and give back those that are now next in order."""
        if first > self.received + 1:
            if len(self._early) < EARLY_LIMIT:
                known = self._early.get(first, ())
                self._early[first] = max(known, deltas, key=len)
            return []
        ready = self._append(first, deltas)
        while self._early and min(self._early) <= self.received + 1:
            earliest = min(self._early)
            ready += self._append(earliest, self._early.pop(earliest))
        return ready

    def _append(self, first: int, deltas: tuple[Delta, ...]) -> list[Delta]:
        new = list(deltas[self.received + 1 - first :])
        self.received += len(new)
        return new
