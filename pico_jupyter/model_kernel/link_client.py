"""LinkClient: the server's end of the link, an EngineClient for the engine behind a LinkServer.

A stream ends once, with Finished or with an error. Closing a stream before its end sends an Abort. A request fails if
the kernel sends no message about it for `silence_limit` seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, assert_never, cast

import msgspec

from pico_jupyter.delta_stream import UNREAD_LIMIT, DeltaStream
from pico_jupyter.engine_reports import EngineEvent
from pico_jupyter.errors import EngineFailed, EngineUnavailable, PicoError
from pico_jupyter.model_kernel import wire
from pico_jupyter.questions import A, AnyQuestion, Question
from pico_jupyter.types import Delta, Finished, GenerationRequest

# The number of timer ticks in the silence limit.
TICKS = 10

log = logging.getLogger("pico_jupyter")


class LinkTransport(Protocol):
    """Sends messages to the model kernel without loss, and passes the kernel's messages to LinkClient.receive()."""

    def send(self, channel: wire.Channel, payload: bytes) -> None: ...


class DeltaSink(Protocol):
    """Receives the deltas of one stream, or the error that ends the stream. DeltaStream implements this protocol.

    add_tokens() receives the new tokens of each choice, before their deltas.
    """

    def add_tokens(self, tokens: Sequence[Sequence[int]], /) -> None: ...

    def feed(self, deltas: Sequence[Delta], /) -> None: ...

    def fail(self, error: PicoError, /) -> None: ...


@dataclass(slots=True, eq=False)
class _OpenStream:
    """A running stream. `received` counts its deltas; `silent_ticks` the ticks since the last message about it."""

    sink: DeltaSink
    received: int = 0
    silent_ticks: int = 0


@dataclass(slots=True, eq=False)
class _OpenQuestion:
    answer: asyncio.Future[bytes]
    silent_ticks: int = 0


class LinkClient:
    """An EngineClient that sends requests over `transport`.

    A request fails after `silence_limit` seconds without a message about it. A stream fails when more than
    `unread_limit` bytes of it are unread. `on_silence` is called when requests are running and no message at all has
    arrived for `silence_limit` seconds. If it returns True, it has ended the kernel, and fail() will be called.
    `on_event` is called with each published event.
    """

    def __init__(
        self,
        transport: LinkTransport,
        *,
        silence_limit: float = 20.0,
        unread_limit: int = UNREAD_LIMIT,
        on_silence: Callable[[], bool] = lambda: False,
    ) -> None:
        self._transport = transport
        self._on_silence = on_silence
        self.on_event: Callable[[EngineEvent], None] = lambda _: None
        self._silent_ticks = 0
        self._tick_seconds = silence_limit / TICKS
        self._unread_limit = unread_limit
        self._ids = itertools.count(1)
        self._streams: dict[int, _OpenStream] = {}
        self._questions: dict[int, _OpenQuestion] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._failure: PicoError | None = None

    def __repr__(self) -> str:
        return f"<LinkClient [{len(self._streams)} streams | {len(self._questions)} questions]>"

    @property
    def stream_count(self) -> int:
        """The number of running streams."""
        return len(self._streams)

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """See EngineClient.generate."""
        stream = DeltaStream(limit=self._unread_limit)
        stream.on_close = self.open_stream(request, stream)
        return stream

    def open_stream(self, request: GenerationRequest, sink: DeltaSink) -> Callable[[], None]:
        """Send a request and pass its deltas to `sink`. Returns a function that aborts the request."""
        if self._failure is not None:
            asyncio.get_running_loop().call_soon(sink.fail, _copy(self._failure))
            return lambda: None
        message = wire.Generate(next(self._ids), request)
        self._streams[message.id] = _OpenStream(sink)
        self._start_timer()
        self._transport.send(message.channel, wire.encode(message))
        return partial(self._abort, message.id)

    async def ask(self, question: Question[A]) -> A:
        """See EngineClient.ask."""
        if self._failure is not None:
            raise _copy(self._failure)
        message = wire.Ask(next(self._ids), cast(AnyQuestion, question))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._questions[message.id] = _OpenQuestion(answer)
        self._start_timer()
        self._transport.send(message.channel, wire.encode(message))
        try:
            return wire.answer_to(question, await answer)
        except asyncio.CancelledError:
            self._send_abort(message.id)
            raise
        finally:
            del self._questions[message.id]

    async def aclose(self) -> None:
        """Fail all running and later requests. The kernel keeps running."""
        self.fail(EngineUnavailable("the connection to the model kernel is closed"))

    def fail(self, error: PicoError) -> None:
        """Fail all running and later requests with `error`."""
        self._failure = error
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.sink.fail(_copy(error))
        for question in self._questions.values():
            _fail_question(question, _copy(error))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def receive(self, payload: bytes | memoryview) -> None:
        """Handle a message that the kernel sent, on any channel."""
        self._silent_ticks = 0
        try:
            message = wire.decode_message(payload)
        except msgspec.DecodeError as error:
            log.error("a message from the model kernel cannot be decoded: %s", error)
            return
        match message:
            case wire.DeltaBatches():
                for batch in message.batches:
                    self._feed(batch)
            case wire.Answered():
                if (question := self._questions.get(message.id)) and not question.answer.done():
                    question.answer.set_result(message.answer)
            case wire.Failed():
                self._fail_request(message.id, wire.error_from(message.error))
            case wire.Heartbeat():
                self._reset_silence(message.active)
            case wire.PublishedEvent():
                if self._failure is None:
                    self.on_event(message.event)
            case _:
                assert_never(message)

    def _abort(self, id_: int) -> None:
        if self._streams.pop(id_, None) is not None:
            self._send_abort(id_)

    def _send_abort(self, id_: int) -> None:
        if self._failure is None:
            self._transport.send(wire.Abort.channel, wire.encode(wire.Abort(id_)))

    def _feed(self, batch: wire.DeltaBatch) -> None:
        stream = self._streams.get(batch.id)
        if stream is None:
            return
        if batch.first != stream.received + 1:
            self._fail_and_abort(batch.id, "parts of the answer were lost on the way from the model kernel")
            return
        stream.silent_ticks = 0
        stream.received += len(batch.deltas)
        if isinstance(batch.deltas[-1], Finished):
            del self._streams[batch.id]
        stream.sink.add_tokens(batch.tokens)
        stream.sink.feed(batch.deltas)

    def _fail_request(self, id_: int, error: PicoError) -> None:
        if stream := self._streams.pop(id_, None):
            stream.sink.fail(error)
        elif question := self._questions.get(id_):
            _fail_question(question, error)

    def _fail_and_abort(self, id_: int, reason: str) -> None:
        self._send_abort(id_)
        self._fail_request(id_, EngineFailed(reason))

    def _reset_silence(self, active: Sequence[int]) -> None:
        for id_ in active:
            if running := self._streams.get(id_) or self._questions.get(id_):
                running.silent_ticks = 0

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        """Fail the silent requests. A blocked event loop receives no messages, and then no tick is counted either."""
        self._timer = None
        self._silent_ticks += 1
        if self._silent_ticks > TICKS and self._on_silence():
            self._start_timer()
            return
        running: dict[int, _OpenStream | _OpenQuestion] = {**self._streams, **self._questions}
        for id_, request in running.items():
            request.silent_ticks += 1
            if request.silent_ticks > TICKS:
                self._fail_and_abort(id_, "the model kernel does not answer")
        if self._streams or self._questions:
            self._start_timer()
        else:
            self._silent_ticks = 0


def _fail_question(question: _OpenQuestion, error: PicoError) -> None:
    if not question.answer.done():
        question.answer.set_exception(error)


def _copy(error: PicoError) -> PicoError:
    """Copy an error that several callers raise. Each `raise` adds to the traceback of its exception."""
    return wire.error_from(wire.report(error))
