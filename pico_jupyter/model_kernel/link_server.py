"""The model kernel's end of the link: answers a CommEngineClient out of any NearEngine. Knows no socket."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from pico_jupyter.client import NearEngine
from pico_jupyter.errors import EngineFailed, PicoError
from pico_jupyter.model_kernel import wire
from pico_jupyter.model_kernel.pending import PendingDeltas, weigh
from pico_jupyter.questions import ReadStatistics
from pico_jupyter.types import Accepted, Delta, Finished, ModelEvent, Progress

# Invariants: a frame is kept from its publication until it is acknowledged, or the stream is over and nobody asked for
# long; a stream publishes text at most once in `spacing` seconds, and its first text at once; every request that was
# not aborted is answered once.

Reply = Callable[[bytes], None]
# How many ids of aborts that came before their request are remembered.
EARLY_ABORTS = 1024
# Streams whose window ends within this time are published along, so that they fall into step.
SLACK_SECONDS = 0.005
# So many requests at once make the window twice as long.
CROWD = 32

log = logging.getLogger("pico_jupyter")


@dataclass(slots=True, eq=False)
class _Stream:
    """Frames of one stream: waiting in `pending`, and published but not acknowledged in `kept`, from `kept_first`."""

    id: int
    pending: PendingDeltas = field(default_factory=PendingDeltas)
    kept: deque[Delta] = field(default_factory=deque)
    kept_first: int = 1
    kept_weight: int = 0
    published_at: float = float("-inf")
    over: bool = False

    @property
    def last(self) -> int:
        return self.kept_first + len(self.kept) - 1

    def number(self, keep_limit: int) -> tuple[int, tuple[Delta, ...]]:
        """Turn what waits into frames: (number of the first, frames)."""
        first = self.last + 1
        deltas = self.pending.drain()
        for delta in deltas:
            self.kept.append(delta)
            self.kept_weight += weigh(delta)
        while self.kept_weight > keep_limit:
            self._forget_first()
        return first, deltas

    def acknowledge(self, number: int) -> None:
        while self.kept and self.kept_first <= number:
            self._forget_first()

    def _forget_first(self) -> None:
        self.kept_weight -= weigh(self.kept.popleft())
        self.kept_first += 1


class CommEngineServer:
    """Serves one client. `publish` may lose messages; the `reply` given with a request must not.

    Times are in seconds, `keep_limit` in bytes of unacknowledged frames per stream; older ones are forgotten beyond it.
    `window` is the shortest `spacing`.
    """

    def __init__(
        self,
        engine: NearEngine,
        publish: Callable[[bytes], None],
        *,
        window: float = 0.025,
        heartbeat: float = 1.0,
        keep_limit: int = 64 << 20,
        keep_seconds: float = 60.0,
    ) -> None:
        self._engine = engine
        self._publish = publish
        self._window = window
        self._heartbeat = heartbeat
        self._keep_limit = keep_limit
        self._keep_seconds = keep_seconds
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, _Stream] = {}
        self._waiting: set[_Stream] = set()
        self._early_aborts: deque[int] = deque(maxlen=EARLY_ABORTS)
        self._publishing: asyncio.TimerHandle | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._counting: asyncio.Task[None] | None = None
        engine.listen(self._tell)

    def __repr__(self) -> str:
        return f"<CommEngineServer [{len(self._tasks)} requests | {len(self._streams)} streams kept]>"

    @property
    def spacing(self) -> float:
        """Seconds between two publications of one stream's text: `window`, and more with the number of requests.

        A frame costs the Jupyter server about as much with one token in it as with three.
        """
        return self._window * (1 + len(self._tasks) / CROWD)

    def receive(self, payload: bytes | memoryview, reply: Reply) -> None:
        """Take in a message from the client; `reply` carries bytes back to it. Returns at once."""
        try:
            request = wire.decode_request(payload)
        except msgspec.DecodeError as error:
            log.error("a message to the model kernel cannot be read: %s", error)
            return
        match request:
            case wire.Generate():
                self._start(request.id, self._generate(request, reply))
            case wire.Ask():
                self._start(request.id, self._answer(request, reply))
            case wire.Abort():
                self._abort(request.id)
            case wire.Resend():
                reply(wire.encode(self._resend(request)))
            case wire.Ack():
                for id_, number in request.received.items():
                    self._acknowledge(id_, number)
            case _:
                assert_never(request)

    async def aclose(self) -> None:
        """Abort every request. The engine stays as it is."""
        # First, so that none of them starts anything while the tasks end.
        for timer in (self._publishing, self._beating):
            if timer is not None:
                timer.cancel()
        tasks = [*self._tasks.values(), *([self._counting] if self._counting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, id_: int, work: Coroutine[None, None, None]) -> None:
        if id_ in self._early_aborts:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[id_] = task
        task.add_done_callback(lambda _: self._tasks.pop(id_, None))
        if self._beating is None:
            self._beating = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _abort(self, id_: int) -> None:
        if task := self._tasks.get(id_):
            task.cancel()
        elif id_ not in self._streams:
            self._early_aborts.append(id_)
        self._forget(id_)

    async def _generate(self, request: wire.Generate, reply: Reply) -> None:
        stream = _Stream(request.id)
        self._streams[stream.id] = stream
        try:
            finished = await self._pump(request, stream)
        except PicoError as error:
            self._end(stream, reply, error)
        except Exception as error:  # noqa: BLE001  the comm server's task answers the waiting client (style rule 6)
            self._end(stream, reply, _unforeseen(error))
        else:
            self._end(stream, reply, finished)

    async def _pump(self, request: wire.Generate, stream: _Stream) -> Finished:
        async with aclosing(self._engine.generate(request.request)) as deltas:
            async for delta in deltas:
                if isinstance(delta, Finished):
                    return delta
                stream.pending.add(delta)
                self._publish_later(stream)
        raise EngineFailed("the engine ended the answer without finishing it")

    def _end(self, stream: _Stream, reply: Reply, outcome: Finished | PicoError) -> None:
        """Send the terminal reply with the frames that were not published yet."""
        self._waiting.discard(stream)
        stream.over = True
        first, deltas = stream.number(self._keep_limit)
        if isinstance(outcome, Finished):
            reply(wire.encode(wire.Ended(stream.id, first, deltas, outcome)))
        else:
            reply(wire.encode(wire.Failed(stream.id, wire.report(outcome), first, deltas)))
        asyncio.get_running_loop().call_later(self._keep_seconds, self._forget, stream.id)

    async def _answer(self, request: wire.Ask, reply: Reply) -> None:
        answer: wire.Answer
        try:
            answer = wire.Answered(request.id, wire.encode_answer(await self._engine.ask(request.question)))
        except PicoError as error:
            answer = wire.Failed(request.id, wire.report(error))
        except Exception as error:  # noqa: BLE001  the comm server's task answers the waiting client (style rule 6)
            answer = wire.Failed(request.id, wire.report(_unforeseen(error)))
        reply(wire.encode(answer))

    def _resend(self, request: wire.Resend) -> wire.Resent | wire.Lost:
        stream = self._streams.get(request.id)
        if stream is None or request.after + 1 < stream.kept_first:
            return wire.Lost(request.id)
        stream.acknowledge(request.after)
        return wire.Resent(request.id, stream.kept_first, tuple(stream.kept))

    def _acknowledge(self, id_: int, number: int) -> None:
        stream = self._streams.get(id_)
        if stream is None:
            return
        stream.acknowledge(number)
        if stream.over and not stream.kept:
            self._forget(id_)

    def _forget(self, id_: int) -> None:
        if stream := self._streams.pop(id_, None):
            self._waiting.discard(stream)

    def _publish_later(self, stream: _Stream) -> None:
        """Publish on the next turn of the loop, with all of this engine step, or when the window has passed."""
        if stream not in self._waiting:
            self._waiting.add(stream)
            self._schedule(stream.published_at + self.spacing)

    def _schedule(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        due = max(due, loop.time())
        if self._publishing is not None:
            if self._publishing.when() <= due:
                return
            self._publishing.cancel()
        self._publishing = loop.call_at(due, self._publish_due)

    def _publish_due(self) -> None:
        self._publishing = None
        now = asyncio.get_running_loop().time()
        due = [stream for stream in self._waiting if stream.published_at + self.spacing <= now + SLACK_SECONDS]
        batches = []
        for stream in due:
            self._waiting.discard(stream)
            batch = wire.Batch(stream.id, *stream.number(self._keep_limit))
            # What comes before the text is rare, and must not hold the first of the text up.
            if not isinstance(batch.deltas[-1], Accepted | Progress):
                stream.published_at = now
            batches.append(batch)
        if batches:
            self._publish(wire.encode(wire.Frames(tuple(batches))))
        if self._waiting:
            self._schedule(min(stream.published_at for stream in self._waiting) + self.spacing)

    def _beat(self) -> None:
        self._beating = None
        self._tell_figures()
        if not self._tasks:
            return
        latest = {id_: self._streams[id_].last if id_ in self._streams else 0 for id_ in self._tasks}
        self._publish(wire.encode(wire.Heartbeat(latest)))
        self._beating = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _tell(self, notice: ModelEvent) -> None:
        """A model came or went, and the figures with it."""
        self._publish(wire.encode(wire.Bulletin(notice)))
        self._tell_figures()

    def _tell_figures(self) -> None:
        """Publish how the engine stands; at most one question is under way, because a long step delays its answer."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._publish_figures())

    async def _publish_figures(self) -> None:
        try:
            self._publish(wire.encode(wire.Bulletin(await self._engine.ask(ReadStatistics()))))
        except PicoError as error:
            log.debug("the engine's figures are not known: %s", type(error).__name__)
        finally:
            self._counting = None


def _unforeseen(error: Exception) -> EngineFailed:
    """Log where it was raised, but not its text, which may quote a prompt."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("the engine raised %s\n%s", type(error).__name__, where)
    return EngineFailed(f"the engine failed: {type(error).__name__}: {error}")
