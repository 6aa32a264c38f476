"""generate_all(): runs several requests at the same time and merges their deltas into one stream."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import msgspec

from pico_jupyter.client import EngineClient
from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.types import Accepted, Delta, Finished, GenerationRequest, Progress, Timings, TokenUsage


def generate_all(engine: EngineClient, requests: Sequence[GenerationRequest]) -> DeltaStream:
    """Start requests and return the stream of all their deltas.

    The choices of all requests are numbered in the order of the requests. The stream has one Accepted and one
    Finished. If a request fails, the stream fails and the other requests are aborted.
    """
    if len(requests) == 1:
        return engine.generate(requests[0])
    return _MergedStreams(engine, requests).stream


class _MergedStreams:
    """Forwards the deltas of several streams to `stream`. The streams belong to one event loop."""

    def __init__(self, engine: EngineClient, requests: Sequence[GenerationRequest]) -> None:
        self.stream = DeltaStream(on_close=self._close)
        counts = [request.n for request in requests]
        self._offsets = [0, *itertools.accumulate(counts[:-1])]
        self._finished: dict[int, Finished] = {}
        self._is_accepted = False
        self._sources: list[DeltaStream] = []
        for request in requests:
            self._sources.append(engine.generate(request))
        for position, source in enumerate(self._sources):
            source.on_arrival = partial(self._forward, position)
            self._forward(position)  # Deltas may have arrived already.

    def __repr__(self) -> str:
        return f"<_MergedStreams [{len(self._finished)} of {len(self._sources)} finished]>"

    def _forward(self, position: int) -> None:
        source = self._sources[position]
        deltas = [delta for unread in source.pop_unread() if (delta := self._read(unread, position)) is not None]
        if deltas:
            self.stream.feed(deltas)
        if source.error is not None:
            self.stream.fail(source.error)
            self._close()
        elif len(self._finished) == len(self._sources):
            self.stream.feed([self._merge_finished()])

    def _read(self, delta: Delta, position: int) -> Delta | None:
        """Return the delta to forward, with the index of its choice among all choices."""
        match delta:
            case Finished():
                self._finished[position] = delta
                return None
            case Accepted():
                is_first, self._is_accepted = not self._is_accepted, True
                return delta if is_first else None
            case Progress():
                return delta
            case _:
                shifted: Delta = msgspec.structs.replace(delta, index=delta.index + self._offsets[position])
                return shifted

    def _merge_finished(self) -> Finished:
        ends = [self._finished[position] for position in range(len(self._sources))]
        return Finished(
            finish_reasons=tuple(reason for end in ends for reason in end.finish_reasons),
            usage=TokenUsage(*(sum(counts) for counts in zip(*(_values(end.usage) for end in ends), strict=True))),
            timings=Timings(*(max(spans) for spans in zip(*(_values(end.timings) for end in ends), strict=True))),
            stop_strings=tuple(text for end in ends for text in end.stop_strings),
        )

    def _close(self) -> None:
        for source in self._sources:
            source.close()


def _values(counts: msgspec.Struct) -> tuple[int, ...]:
    return msgspec.structs.astuple(counts)
