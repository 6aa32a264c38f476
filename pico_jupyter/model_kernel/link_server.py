"""LinkServer: the model kernel's end of the link. It answers the requests of a LinkClient with a LocalEngine.

The text of a stream is sent at most once in `spacing` seconds. The first text and the end of a stream are sent at once.
Every request is answered unless it is aborted.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import msgspec

from pico_jupyter.client import LocalEngine
from pico_jupyter.delta_stream import DeltaStream, join
from pico_jupyter.engine_reports import ModelEvent
from pico_jupyter.errors import EngineFailed, PicoError
from pico_jupyter.model_kernel import wire
from pico_jupyter.questions import ReadStatistics
from pico_jupyter.types import Accepted, Progress

Reply = Callable[[bytes], None]
# The number of remembered aborts that arrived before their request.
MAX_EARLY_ABORTS = 1024
# Streams that become due within this time are sent in one message. After that, they become due at the same time.
SLACK_SECONDS = 0.005
# The number of streams that doubles the spacing.
DOUBLING_STREAMS = 32

log = logging.getLogger("pico_jupyter")


@dataclass(slots=True, eq=False)
class _Outgoing:
    """A stream to the client. `sent` counts the deltas that were sent; `sent_at` is the time of the latest text."""

    id: int
    deltas: DeltaStream
    reply: Reply
    sent: int = 0
    sent_at: float = float("-inf")

    def batch(self, now: float) -> wire.DeltaBatch | None:
        """Return the unsent deltas, with their text joined, or None if every delta was sent."""
        deltas = self.deltas.pop_unread()
        if not deltas:
            return None
        if len(deltas) > 1:
            deltas = join(deltas)
        first, self.sent = self.sent + 1, self.sent + len(deltas)
        # Accepted and Progress precede the text. They do not start the spacing, which would delay the first text.
        if not isinstance(deltas[-1], Accepted | Progress):
            self.sent_at = now
        return wire.DeltaBatch(self.id, first, tuple(deltas), tuple(map(tuple, self.deltas.pop_tokens())))


class LinkServer:
    """Serves one client. The `reply` of each request sends to this client.

    `publish` may lose messages, `reply` must not. `window` is the shortest `spacing`, and `heartbeat` the time between
    two heartbeats, both in seconds.
    """

    def __init__(
        self, engine: LocalEngine, publish: Callable[[bytes], None], *, window: float = 0.025, heartbeat: float = 1.0
    ) -> None:
        self._engine = engine
        self._publish = publish
        self._window = window
        # Seconds between two batches of one stream's text. The spacing grows with the number of streams, because the
        # Jupyter server needs about as much time for a batch of three tokens as for one token.
        self.spacing = window
        self._heartbeat = heartbeat
        self._streams: dict[int, _Outgoing] = {}
        self._questions: dict[int, asyncio.Task[None]] = {}
        self._waiting: set[_Outgoing] = set()
        self._early_aborts: deque[int] = deque(maxlen=MAX_EARLY_ABORTS)
        self._send_timer: asyncio.TimerHandle | None = None
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._statistics_task: asyncio.Task[None] | None = None
        engine.listen(self._publish_event)

    def __repr__(self) -> str:
        return f"<LinkServer [{len(self._streams)} streams | {len(self._questions)} questions]>"

    def receive(self, payload: bytes | memoryview, reply: Reply) -> None:
        """Handle a message from the client without blocking. `reply` sends bytes to the client."""
        try:
            request = wire.decode_request(payload)
        except msgspec.DecodeError as error:
            log.error("a message to the model kernel cannot be decoded: %s", error)
            return
        match request:
            case wire.Generate():
                if request.id not in self._early_aborts:
                    self._open_stream(request, reply)
            case wire.Ask():
                if request.id not in self._early_aborts:
                    self._start_answer(request, reply)
            case wire.Abort():
                self._abort(request.id)
            case _:
                assert_never(request)

    async def aclose(self) -> None:
        """Abort all requests. The engine keeps running."""
        for timer in (self._send_timer, self._heartbeat_timer):
            if timer is not None:
                timer.cancel()
        for stream in self._streams.values():
            stream.deltas.close()
        tasks = list(self._questions.values())
        if self._statistics_task is not None:
            tasks.append(self._statistics_task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open_stream(self, request: wire.Generate, reply: Reply) -> None:
        stream = _Outgoing(request.id, self._engine.generate(request.request), reply)
        stream.deltas.tokens = []
        self._streams[stream.id] = stream
        self._adapt_spacing()
        stream.deltas.on_arrival = partial(self._queue, stream)
        self._start_heartbeat()
        if stream.deltas.is_complete:
            self._queue(stream)

    def _start_answer(self, request: wire.Ask, reply: Reply) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(request, reply))
        self._questions[request.id] = task
        task.add_done_callback(lambda _: self._questions.pop(request.id, None))
        self._start_heartbeat()

    async def _answer(self, request: wire.Ask, reply: Reply) -> None:
        answer: wire.KernelMessage
        try:
            answer = wire.Answered(request.id, wire.encode(await self._engine.ask(request.question)))
        except PicoError as error:
            answer = wire.Failed(request.id, wire.report(error))
        except Exception as error:  # noqa: BLE001  # this process answers a waiting client
            answer = wire.Failed(request.id, wire.report(_unexpected(error)))
        reply(wire.encode(answer))

    def _abort(self, id_: int) -> None:
        if stream := self._streams.pop(id_, None):
            self._adapt_spacing()
            self._waiting.discard(stream)
            stream.deltas.close()
        elif task := self._questions.get(id_):
            task.cancel()
        else:
            self._early_aborts.append(id_)

    def _adapt_spacing(self) -> None:
        self.spacing = self._window * (1 + len(self._streams) / DOUBLING_STREAMS)

    def _queue(self, stream: _Outgoing) -> None:
        """Schedule the next batch: at once for the first text and the end, otherwise when the spacing has passed."""
        if stream.deltas.is_complete:
            stream.sent_at = float("-inf")
        elif stream in self._waiting:
            return
        self._waiting.add(stream)
        self._schedule(stream.sent_at + self.spacing)

    def _schedule(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        due = max(due, loop.time())
        if self._send_timer is not None:
            if self._send_timer.when() <= due:
                return
            self._send_timer.cancel()
        self._send_timer = loop.call_at(due, self._send_due)

    def _send_due(self) -> None:
        self._send_timer = None
        now = asyncio.get_running_loop().time()
        due = [stream for stream in self._waiting if stream.sent_at + self.spacing <= now + SLACK_SECONDS]
        self._waiting.difference_update(due)
        batches = [batch for stream in due if (batch := stream.batch(now)) is not None]
        if batches:
            due[0].reply(wire.encode(wire.DeltaBatches(tuple(batches))))
        for stream in due:
            if stream.deltas.is_complete:
                self._finish(stream)
        if self._waiting:
            self._schedule(min(stream.sent_at for stream in self._waiting) + self.spacing)

    def _finish(self, stream: _Outgoing) -> None:
        self._streams.pop(stream.id, None)
        self._adapt_spacing()
        if error := stream.deltas.error:
            known = error if isinstance(error, PicoError) else _unexpected(error)
            stream.reply(wire.encode(wire.Failed(stream.id, wire.report(known))))

    def _start_heartbeat(self) -> None:
        if self._heartbeat_timer is None:
            self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat, self._send_heartbeat)

    def _send_heartbeat(self) -> None:
        self._heartbeat_timer = None
        self._publish_statistics()
        if not self._streams and not self._questions:
            return
        self._publish(wire.encode(wire.Heartbeat((*self._streams, *self._questions))))
        self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat, self._send_heartbeat)

    def _publish_event(self, event: ModelEvent) -> None:
        """Publish that a model was loaded or unloaded, and the new statistics."""
        self._publish(wire.encode(wire.PublishedEvent(event)))
        self._publish_statistics()

    def _publish_statistics(self) -> None:
        """Ask the engine for its statistics and publish them, unless an earlier question is not answered yet."""
        if self._statistics_task is None:
            self._statistics_task = asyncio.get_running_loop().create_task(self._read_statistics())

    async def _read_statistics(self) -> None:
        try:
            self._publish(wire.encode(wire.PublishedEvent(await self._engine.ask(ReadStatistics()))))
        except PicoError as error:
            log.debug("the engine's statistics are not available: %s", type(error).__name__)
        finally:
            self._statistics_task = None


def _unexpected(error: Exception) -> EngineFailed:
    """Convert an error to EngineFailed and log its traceback, but not its text, which may quote a prompt."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("the engine raised %s\n%s", type(error).__name__, where)
    return EngineFailed(f"the engine failed: {type(error).__name__}: {error}")
