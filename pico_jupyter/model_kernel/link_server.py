"""LinkServer: the model kernel's end of the link, which answers a LinkClient from a NearEngine.

A stream's text is sent at most once in `spacing` seconds, its first text and its end at once. Every request that was
not aborted is answered.
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

from pico_jupyter.client import NearEngine
from pico_jupyter.delta_stream import DeltaStream, join
from pico_jupyter.errors import EngineFailed, PicoError
from pico_jupyter.model_kernel import wire
from pico_jupyter.questions import ReadStatistics
from pico_jupyter.types import Accepted, ModelEvent, Progress

Reply = Callable[[bytes], None]
# The number of aborts that are remembered because they came before their request.
EARLY_ABORTS = 1024
# Streams whose window ends within this time are sent along, so that they fall into step.
SLACK_SECONDS = 0.005
# This many requests at once double the window.
CROWD = 32

log = logging.getLogger("pico_jupyter")


@dataclass(slots=True, eq=False)
class _Outgoing:
    """A stream on its way to the client; `sent` of its deltas have left."""

    id: int
    deltas: DeltaStream
    reply: Reply
    sent: int = 0
    sent_at: float = float("-inf")

    def frame(self, now: float) -> wire.StreamFrame | None:
        """The deltas that wait, joined; None where none do."""
        deltas = self.deltas.take()
        if not deltas:
            return None
        if len(deltas) > 1:
            deltas = join(deltas)
        first, self.sent = self.sent + 1, self.sent + len(deltas)
        # Deltas before the text are rare, and must not delay the first text.
        if not isinstance(deltas[-1], Accepted | Progress):
            self.sent_at = now
        return wire.StreamFrame(self.id, first, tuple(deltas))


class LinkServer:
    """Serves one client: the `reply` given with any of its requests reaches it.

    `publish` may lose messages, `reply` must not. Times are in seconds. `window` is the shortest `spacing`.
    """

    def __init__(
        self, engine: NearEngine, publish: Callable[[bytes], None], *, window: float = 0.025, heartbeat: float = 1.0
    ) -> None:
        self._engine = engine
        self._publish = publish
        self._window = window
        # Seconds between two frames of one stream's text, longer with more streams: a frame costs the Jupyter server
        # about as much with one token in it as with three.
        self.spacing = window
        self._heartbeat = heartbeat
        self._streams: dict[int, _Outgoing] = {}
        self._questions: dict[int, asyncio.Task[None]] = {}
        self._waiting: set[_Outgoing] = set()
        self._early_aborts: deque[int] = deque(maxlen=EARLY_ABORTS)
        self._sending: asyncio.TimerHandle | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._counting: asyncio.Task[None] | None = None
        engine.listen(self._publish_notice)

    def __repr__(self) -> str:
        return f"<LinkServer [{len(self._streams)} streams | {len(self._questions)} questions]>"

    def receive(self, payload: bytes | memoryview, reply: Reply) -> None:
        """Handle a message from the client; `reply` sends bytes back to it. Returns at once."""
        try:
            request = wire.decode_request(payload)
        except msgspec.DecodeError as error:
            log.error("a message to the model kernel cannot be read: %s", error)
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
        """Abort every request. The engine stays as it is."""
        for timer in (self._sending, self._beating):
            if timer is not None:
                timer.cancel()
        for stream in self._streams.values():
            stream.deltas.close()
        tasks = [*self._questions.values(), *([self._counting] if self._counting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open_stream(self, request: wire.Generate, reply: Reply) -> None:
        stream = _Outgoing(request.id, self._engine.generate(request.request), reply)
        self._streams[stream.id] = stream
        self._adapt_spacing()
        stream.deltas.on_arrival = partial(self._queue, stream)
        self._start_beating()
        if stream.deltas.is_complete:
            self._queue(stream)

    def _start_answer(self, request: wire.Ask, reply: Reply) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(request, reply))
        self._questions[request.id] = task
        task.add_done_callback(lambda _: self._questions.pop(request.id, None))
        self._start_beating()

    async def _answer(self, request: wire.Ask, reply: Reply) -> None:
        answer: wire.KernelMessage
        try:
            answer = wire.Answered(request.id, wire.encode_answer(await self._engine.ask(request.question)))
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
        self.spacing = self._window * (1 + len(self._streams) / CROWD)

    def _queue(self, stream: _Outgoing) -> None:
        """Send on the next turn of the loop, with all deltas of this engine step, or when the window has passed."""
        if stream.deltas.is_complete:
            stream.sent_at = float("-inf")
        elif stream in self._waiting:
            return
        self._waiting.add(stream)
        self._schedule(stream.sent_at + self.spacing)

    def _schedule(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        due = max(due, loop.time())
        if self._sending is not None:
            if self._sending.when() <= due:
                return
            self._sending.cancel()
        self._sending = loop.call_at(due, self._send_due)

    def _send_due(self) -> None:
        self._sending = None
        now = asyncio.get_running_loop().time()
        latest = now + SLACK_SECONDS - self.spacing
        due = [stream for stream in self._waiting if stream.sent_at <= latest]
        self._waiting.difference_update(due)
        frames = [frame for stream in due if (frame := stream.frame(now)) is not None]
        if frames:
            due[0].reply(wire.encode(wire.Frames(tuple(frames))))
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

    def _start_beating(self) -> None:
        if self._beating is None:
            self._beating = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _beat(self) -> None:
        self._beating = None
        self._publish_figures()
        if not self._streams and not self._questions:
            return
        self._publish(wire.encode(wire.Heartbeat((*self._streams, *self._questions))))
        self._beating = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _publish_notice(self, notice: ModelEvent) -> None:
        """Publish that a model was loaded or unloaded, and the figures that changed with it."""
        self._publish(wire.encode(wire.Bulletin(notice)))
        self._publish_figures()

    def _publish_figures(self) -> None:
        """Publish the engine's figures. Only one question runs at a time, because a long step delays its answer."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._read_figures())

    async def _read_figures(self) -> None:
        try:
            self._publish(wire.encode(wire.Bulletin(await self._engine.ask(ReadStatistics()))))
        except PicoError as error:
            log.debug("the engine's figures are not known: %s", type(error).__name__)
        finally:
            self._counting = None


def _unexpected(error: Exception) -> EngineFailed:
    """Log where it was raised, but not its text, which may quote a prompt."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("the engine raised %s\n%s", type(error).__name__, where)
    return EngineFailed(f"the engine failed: {type(error).__name__}: {error}")
