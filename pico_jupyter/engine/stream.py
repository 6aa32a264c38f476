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
    """Collects the deltas of one iteration of the engine thread and delivers them to each event loop in one call."""

    def __init__(self) -> None:
        self.changed: set[EngineStream] = set()

    def __repr__(self) -> str:
        return f"<DeltaDispatcher [{len(self.changed)} streams]>"

    def flush(self, on_lost: Callable[[EngineStream], None]) -> None:
        """Deliver everything. `on_lost` is called with each stream whose event loop is closed."""
        changed, self.changed = self.changed, set()
        parcels: dict[asyncio.AbstractEventLoop, list[_Parcel]] = {}
        for stream in changed:
            parcels.setdefault(stream.loop, []).append((stream, stream.outbox, stream.error))
            stream.outbox = []
        for loop, ready in parcels.items():
            try:
                loop.call_soon_threadsafe(_deliver, ready)
            except RuntimeError:
                log.warning("an event loop was closed before %d answers reached it", len(ready))
                for stream, _, _ in ready:
                    on_lost(stream)


class EngineStream:
    """The engine thread's end of a DeltaStream, and the sink of one generation.

    `outbox` and `error` are delivered by the next flush. The engine sets `aborted` when the reader closes the stream
    and `generation` when the request is prepared.
    """

    def __init__(self, deltas: DeltaStream, loop: asyncio.AbstractEventLoop, dispatcher: DeltaDispatcher) -> None:
        self.deltas = deltas
        self.loop = loop
        self.aborted = False
        self.generation: Generation | None = None
        self.outbox: list[Delta] = []
        self.error: PicoError | None = None
        self._dispatcher = dispatcher

    def __repr__(self) -> str:
        return f"<EngineStream {self.deltas!r}>"

    def put(self, delta: Delta) -> None:
        """Deliver a delta with the next flush."""
        self.outbox.append(delta)
        self._dispatcher.changed.add(self)

    def fail(self, error: PicoError) -> None:
        """End the stream with an error, at the next flush."""
        self.error = error
        self._dispatcher.changed.add(self)


_Parcel: TypeAlias = tuple[EngineStream, list[Delta], PicoError | None]


def _deliver(parcels: list[_Parcel]) -> None:
    for stream, deltas, error in parcels:
        if deltas:
            stream.deltas.feed(deltas)
        if error is not None:
            stream.deltas.fail(error)
