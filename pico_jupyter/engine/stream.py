"""Stream and HandOver: deltas on their way from the engine thread to event loops. Knows nothing of what they say."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import PicoError
from pico_jupyter.types import Delta, Finished

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Parcel:
    """What one turn of the engine has for one stream."""

    stream: Stream
    deltas: list[Delta] = field(default_factory=list)
    error: PicoError | None = None

    def deliver(self) -> None:
        self.stream.receive(self.deltas, self.error)


class HandOver:
    """Collects what one turn of the engine thread made and gives it to each event loop in one call."""

    def __init__(self) -> None:
        self._parcels: dict[asyncio.AbstractEventLoop, dict[Stream, _Parcel]] = {}

    def __repr__(self) -> str:
        return f"<HandOver [{sum(map(len, self._parcels.values()))} streams waiting]>"

    def parcel_for(self, stream: Stream) -> _Parcel:
        return self._parcels.setdefault(stream.loop, {}).setdefault(stream, _Parcel(stream))

    def flush(self, on_lost: Callable[[Stream], None]) -> None:
        """Deliver everything; `on_lost` hears of the streams whose event loop is gone."""
        parcels_of_loops, self._parcels = self._parcels, {}
        for loop, parcels in parcels_of_loops.items():
            try:
                loop.call_soon_threadsafe(_deliver, list(parcels.values()))
            except RuntimeError:
                log.warning("an event loop was closed with %d answers on their way", len(parcels))
                for stream in parcels:
                    on_lost(stream)


def _deliver(parcels: list[_Parcel]) -> None:
    for parcel in parcels:
        parcel.deliver()


class Stream:
    """One answer: the engine thread puts deltas in, one task of one event loop gets them out, in order.

    `aborted` and `generation` belong to the engine: the reader has left; what the request became once it was prepared.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: HandOver) -> None:
        self.loop = loop
        self.aborted = False
        self.generation: Generation | None = None
        self._hand_over = hand_over
        self._deltas: deque[Delta] = deque()
        self._error: PicoError | None = None
        self._arrived = asyncio.Event()
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open"
        return f"<Stream {state} [{len(self._deltas)} unread]>"

    @property
    def ended(self) -> bool:
        """Whether the last delta or the error was read."""
        return self._ended

    def put(self, delta: Delta) -> None:
        """Engine thread: send a delta with this turn's hand-over."""
        self._hand_over.parcel_for(self).deltas.append(delta)

    def fail(self, error: PicoError) -> None:
        """Engine thread: end the stream with an error."""
        self._hand_over.parcel_for(self).error = error

    def receive(self, deltas: list[Delta], error: PicoError | None) -> None:
        """Event loop: a hand-over has arrived."""
        self._deltas.extend(deltas)
        self._error = error
        self._arrived.set()

    async def get(self) -> Delta:
        """The next delta. Raises the PicoError that ended the stream."""
        while not self._deltas:
            if self._error is not None:
                self._ended = True
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        delta = self._deltas.popleft()
        self._ended = isinstance(delta, Finished)
        return delta
