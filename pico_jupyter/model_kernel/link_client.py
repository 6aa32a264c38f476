"""The server process's end of the link: an EngineClient that speaks to a CommEngineServer. Knows no socket."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never, cast

import msgspec

from pico_jupyter.errors import EngineFailed, EngineUnavailable, PicoError
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.pending import Assembly, PendingDeltas
from pico_jupyter.questions import A, AnyQuestion, Question
from pico_jupyter.types import Delta, EngineEvent, Finished, GenerationRequest

# Invariants: a stream ends exactly once, with Finished or with an error; whoever stops reading a stream before its end
# sends an Abort; a stream asks for one repair at a time; every request under way hears from the kernel or fails.

TICKS = 10

log = logging.getLogger("pico_jupyter")


class Transport(Protocol):
    """Carries bytes to the model kernel without loss. What comes back is handed to CommEngineClient.receive."""

    def send(self, channel: wire.Channel, payload: bytes) -> None: ...


@dataclass(slots=True)
class _Stream:
    """A stream under way. `end` is the terminal reply; it counts when every frame before it has arrived."""

    id: int
    pending: PendingDeltas = field(default_factory=PendingDeltas)
    assembly: Assembly = field(default_factory=Assembly)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    end: wire.Ended | wire.Failed | None = None
    error: PicoError | None = None
    repairing: bool = False
    over: bool = False
    quiet: int = 0


@dataclass(slots=True)
class _Call:
    """A question with one answer."""

    id: int
    answer: asyncio.Future[bytes]
    quiet: int = 0


class CommEngineClient:
    """An engine behind a transport.

    `silence_limit` is how many seconds a request may hear nothing from the kernel; `pending_limit` how many bytes of
    deltas may wait for a slow reader, after joining what can be joined. Both fail the request. `on_silence` is called
    when requests are under way and nothing at all comes; `on_news` with what the kernel tells of its own accord.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        silence_limit: float = 20.0,
        pending_limit: int = 64 << 20,
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._on_silence = on_silence
        self.on_news: Callable[[EngineEvent], None] = lambda _: None
        self._quiet = 0
        self._tick_seconds = silence_limit / TICKS
        self._pending_limit = pending_limit
        self._ids = itertools.count(1)
        self._streams: dict[int, _Stream] = {}
        self._calls: dict[int, _Call] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._failure: PicoError | None = None

    def __repr__(self) -> str:
        return f"<CommEngineClient [{len(self._streams)} streams | {len(self._calls)} calls]>"

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """See EngineClient.generate."""
        self._check()
        stream = _Stream(next(self._ids))
        self._streams[stream.id] = stream
        self._start_ticking()
        try:
            self._send(wire.Generate(stream.id, request))
            while True:
                delta = stream.pending.pop()
                if delta is not None:
                    yield delta
                    if isinstance(delta, Finished):
                        return
                elif stream.error is not None:
                    raise stream.error
                else:
                    stream.wake.clear()
                    await stream.wake.wait()
        finally:
            del self._streams[stream.id]
            if not stream.over:
                self._send(wire.Abort(stream.id))

    async def ask(self, question: Question[A]) -> A:
        """See EngineClient.ask."""
        self._check()
        call = _Call(next(self._ids), asyncio.get_running_loop().create_future())
        self._calls[call.id] = call
        self._start_ticking()
        try:
            self._send(wire.Ask(call.id, cast(AnyQuestion, question)))
            return wire.answer_to(question, await call.answer)
        except asyncio.CancelledError:
            self._send(wire.Abort(call.id))
            raise
        finally:
            del self._calls[call.id]

    async def aclose(self) -> None:
        """End every request. The kernel on the other side goes on."""
        self.fail(EngineUnavailable("the connection to the model kernel is closed"))

    def fail(self, error: PicoError) -> None:
        """The link is gone: everything under way ends with `error`, and so does every later request."""
        self._failure = error
        for stream in self._streams.values():
            self._end_stream(stream, _copy(error))
        for call in self._calls.values():
            _resolve(call, _copy(error))
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def receive(self, payload: bytes | memoryview) -> None:
        """Take in a message from the kernel, from any of the channels."""
        self._quiet = 0
        try:
            answer = wire.decode_answer(payload)
        except msgspec.DecodeError as error:
            log.error("the model kernel sent a message that cannot be read: %s", error)
            return
        match answer:
            case wire.Frames():
                self._take_frames(answer)
            case wire.Heartbeat():
                self._take_heartbeat(answer)
            case wire.Ended():
                self._take_end(answer)
            case wire.Failed():
                self._take_answer(answer.id, wire.error_from(answer.error))
                self._take_end(answer)
            case wire.Resent() | wire.Lost():
                self._take_repair(answer)
            case wire.Answered():
                self._take_answer(answer.id, answer.answer)
            case wire.Bulletin():
                if self._failure is None:
                    self.on_news(answer.news)
            case _:
                assert_never(answer)

    def _check(self) -> None:
        if self._failure is not None:
            raise _copy(self._failure)

    def _send(self, request: wire.Request) -> None:
        if self._failure is None:
            self._transport.send(wire.channel_of(request), wire.encode(request))

    def _take_answer(self, id_: int, answer: bytes | PicoError) -> None:
        if call := self._calls.get(id_):
            _resolve(call, answer)

    def _take_frames(self, frames: wire.Frames) -> None:
        for batch in frames.batches:
            if stream := self._streams.get(batch.id):
                self._take(stream, batch.first, batch.deltas)

    def _take_repair(self, repair: wire.Resent | wire.Lost) -> None:
        stream = self._streams.get(repair.id)
        if stream is None:
            return
        if isinstance(repair, wire.Lost):
            self._give_up(stream, "parts of the answer were lost on the way from the model kernel")
            return
        stream.repairing = False
        self._take(stream, repair.first, repair.deltas)

    def _take_end(self, end: wire.Ended | wire.Failed) -> None:
        if stream := self._streams.get(end.id):
            stream.end = end
            self._take(stream, end.first, end.deltas)

    def _take(self, stream: _Stream, first: int, deltas: tuple[Delta, ...]) -> None:
        """Frames have arrived: hand over what is in order, ask again for what is missing, notice the end."""
        if stream.over:
            return
        stream.quiet = 0
        for delta in stream.assembly.accept(first, deltas):
            stream.pending.add(delta)
        if stream.pending.weight > self._pending_limit:
            self._give_up(stream, "the answer was read too slowly")
            return
        end = stream.end
        if end is not None and stream.assembly.received >= end.first + len(end.deltas) - 1:
            if isinstance(end, wire.Ended):
                stream.pending.add(end.finished)
            self._send(wire.Ack({stream.id: stream.assembly.received}))
            self._end_stream(stream, wire.error_from(end.error) if isinstance(end, wire.Failed) else None)
            return
        if end is not None or stream.assembly.has_gap:
            self._repair(stream)
        stream.wake.set()

    def _take_heartbeat(self, heartbeat: wire.Heartbeat) -> None:
        received: dict[int, int] = {}
        for id_, last in heartbeat.active.items():
            if call := self._calls.get(id_):
                call.quiet = 0
            stream = self._streams.get(id_)
            if stream is None or stream.over:
                continue
            stream.quiet = 0
            received[id_] = stream.assembly.received
            if stream.assembly.received < last:
                self._repair(stream)
        if received:
            self._send(wire.Ack(received))

    def _repair(self, stream: _Stream) -> None:
        if not stream.repairing:
            stream.repairing = True
            log.debug("frames after number %d of a stream are missing; asking for them again", stream.assembly.received)
            self._send(wire.Resend(stream.id, stream.assembly.received))

    def _give_up(self, stream: _Stream, reason: str) -> None:
        if not stream.over:
            self._end_stream(stream, EngineFailed(reason))
            self._send(wire.Abort(stream.id))

    def _end_stream(self, stream: _Stream, error: PicoError | None) -> None:
        if not stream.over:
            stream.over = True
            stream.error = error
            stream.wake.set()

    def _start_ticking(self) -> None:
        if self._ticking is None:
            self._quiet = 0
            self._tick_later()

    def _tick_later(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        """Count silence in ticks and not by the clock: a server whose own loop stood still has heard nothing either."""
        self._ticking = None
        self._quiet += 1
        for stream in self._streams.values():
            stream.quiet += 1
            if stream.quiet > TICKS:
                self._give_up(stream, "the model kernel does not answer")
        for call in self._calls.values():
            call.quiet += 1
            if call.quiet > TICKS:
                _resolve(call, EngineFailed("the model kernel does not answer"))
        if self._quiet > TICKS:
            self._on_silence()
        if self._streams or self._calls:
            self._tick_later()


def _resolve(call: _Call, answer: bytes | PicoError) -> None:
    if call.answer.done():
        return
    if isinstance(answer, PicoError):
        call.answer.set_exception(answer)
    else:
        call.answer.set_result(answer)


def _copy(error: PicoError) -> PicoError:
    """Each waiter gets an exception of its own, because raising one writes its traceback into it."""
    return wire.error_from(wire.report(error))
