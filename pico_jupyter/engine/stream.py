"""EngineStream and DeltaDispatcher: deliver deltas from the engine thread to the event loops of their readers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import PicoError
from pico_jupyter.types import Delta

log = logging.getLogger(__name__)


class DeltaDispatcher:
    """Collects deltas on the engine thread, and delivers all deltas for one event loop in one call."""

    def __init__(self) -> None:
        self.changed: set[EngineStream] = set()

    def __repr__(self) -> str:
        return f"<DeltaDispatcher [{len(self.changed)} streams]>"

    def flush(self, on_lost: Callable[[EngineStream], None]) -> None:
        """Deliver all collected deltas and errors. Calls `on_lost` with each stream whose event loop is closed."""
        changed, self.changed = self.changed, set()
        deliveries: dict[asyncio.AbstractEventLoop, list[_Delivery]] = {}
        for stream in changed:
            deliveries.setdefault(stream.loop, []).append((stream, stream.outbox, stream.new_tokens(), stream.error))
            stream.outbox = []
        for loop, ready in deliveries.items():
            try:
                loop.call_soon_threadsafe(_deliver, ready)
            except RuntimeError:
                log.warning("the event loop of %d requests is closed", len(ready))
                for stream, *_ in ready:
                    on_lost(stream)


class EngineStream:
    """The sink of one generation. Delivers its deltas to a DeltaStream in another thread.

    The next flush delivers `outbox` and `error`. The engine sets `aborted` when the reader closes the DeltaStream, and
    `generation` when the request is prepared.
    """

    def __init__(self, deltas: DeltaStream, loop: asyncio.AbstractEventLoop, dispatcher: DeltaDispatcher) -> None:
        self.deltas = deltas
        self.loop = loop
        self.aborted = False
        self.generation: Generation | None = None
        self.outbox: list[Delta] = []
        self.error: PicoError | None = None
        self._dispatcher = dispatcher
        self._delivered: list[int] = []  # for each choice, the number of tokens that were delivered

    def __repr__(self) -> str:
        return f"<EngineStream {self.deltas!r}>"

    def attach(self, generation: Generation) -> None:
        """Set the generation. The tokens that it continues are known to the reader."""
        self.generation = generation
        self._delivered = [len(sequence.tokens) for sequence in generation.sequences]

    def new_tokens(self) -> list[list[int]]:
        """The tokens of each choice since the last call. Empty if the reader does not collect them.

        Between two steps of the engine, they are the tokens of the deltas in `outbox`.
        """
        if self.deltas.tokens is None or self.generation is None:
            return []
        sequences = self.generation.sequences
        new = [sequence.tokens[count:] for sequence, count in zip(sequences, self._delivered, strict=True)]
        self._delivered = [len(sequence.tokens) for sequence in sequences]
        return new

    def put(self, delta: Delta) -> None:
        """Deliver a delta with the next flush."""
        self.outbox.append(delta)
        self._dispatcher.changed.add(self)

    def fail(self, error: PicoError) -> None:
        """End the stream with an error, at the next flush."""
        self.error = error
        self._dispatcher.changed.add(self)


_Delivery: TypeAlias = tuple[EngineStream, list[Delta], list[list[int]], PicoError | None]


def _deliver(deliveries: list[_Delivery]) -> None:
    for stream, deltas, tokens, error in deliveries:
        stream.deltas.add_tokens(tokens)
        if deltas:
            stream.deltas.feed(deltas)
        if error is not None:
            stream.deltas.fail(error)
