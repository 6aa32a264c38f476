"""GenerationHandler: runs one request and writes its answer, streamed or whole.

- When the client disconnects, the request is aborted, even if it is still queued.
- A stream sends its headers with the first frame or keep-alive. An error before that gets its own HTTP status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from pico_jupyter.client import Completion, collect
from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.dialects.framing import FrameStream
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.credentials import owner_of
from pico_jupyter.server.error_responses import as_pico_error
from pico_jupyter.server.handlers import DialectHandler, permitted
from pico_jupyter.server.merged_stream import generate_all
from pico_jupyter.server.metrics import ABORTED
from pico_jupyter.types import Accepted, Finished, GenerationRequest, Progress

# The first keep-alive sends the headers; a later error cannot have its own HTTP status. So keep-alives wait this many
# times longer until the engine accepts the request: 30 s by default. Many proxies close a connection after 60 s.
KEEPALIVE_FACTOR_BEFORE_ACCEPTED = 3
MAX_LOGGED_NAME_LENGTH = 40
MAX_LOGGED_NAMES = 10


class GenerationHandler(DialectHandler):
    """Base of the handlers that generate answers. Subclasses define answer().

    `dialect_name` and `endpoint` become labels of the metrics.
    """

    methods = ("POST",)
    dialect_name: str
    endpoint: str
    _work: asyncio.Task[None] | None = None
    _stream: FrameStream | None = None
    _is_disconnected = False

    def initialize(self, context: ServerContext) -> None:
        """Tornado calls this with the arguments of the routing rule."""
        super().initialize(context)
        self.meter = context.metrics.request(self.dialect_name, self.endpoint)

    async def answer(self) -> None:
        """Parse the request, generate, and write the answer."""
        raise NotImplementedError

    @permitted("execute")
    async def post(self) -> None:
        """Run answer(), and cancel it if the client disconnects. A disconnect raises no exception."""
        self.meter.usage = self.context.usage.of(owner_of(self))
        self._work = asyncio.ensure_future(self.answer())
        if self._is_disconnected:
            self._work.cancel()
        try:
            with self.context.activity():
                await self._work
        except StreamClosedError:
            self._is_disconnected = True
        except asyncio.CancelledError:
            if not self._is_disconnected:
                raise
        if self._is_disconnected:
            self.meter.end(ABORTED)
            self.log.debug("pico_jupyter: the client of request %s disconnected", self.request_id)
        else:
            self.meter.end()

    def on_connection_close(self) -> None:
        """Tornado calls this when the client has disconnected."""
        super().on_connection_close()
        self._is_disconnected = True
        if self._work is not None:
            self._work.cancel()

    def warn_of_unknown_options(self, names: Sequence[str]) -> None:
        """Log the names of options that are unknown and therefore ignored."""
        shown = ", ".join(repr(name[:MAX_LOGGED_NAME_LENGTH]) for name in names[:MAX_LOGGED_NAMES])
        self.log.warning("pico_jupyter: request %s: unknown options ignored: %s", self.request_id, shown)

    async def completion(self, *requests: GenerationRequest) -> Completion:
        """Generate the answers to one or more requests and return all choices together."""
        resolved = [await self.context.media.resolve(request, self) for request in requests]
        async with aclosing(generate_all(self.context.engine, resolved)) as deltas:
            return await collect(deltas, sum(request.n for request in resolved), self.meter.observe)

    async def answer_stream(self, request: GenerationRequest, stream: FrameStream, *more: GenerationRequest) -> None:
        """Generate the answers to one or more requests and write their deltas as frames when they arrive."""
        resolved = [await self.context.media.resolve(one, self) for one in (request, *more)]
        async with aclosing(generate_all(self.context.engine, resolved)) as deltas:
            await self._write_stream(deltas, stream)
        self.finish(set_content_type=stream.content_type)

    async def _write_stream(self, deltas: DeltaStream, stream: FrameStream) -> None:
        now = asyncio.get_running_loop().time
        interval = self.context.keepalive_after * KEEPALIVE_FACTOR_BEFORE_ACCEPTED
        keepalive_at = now() + interval
        done, total = 0, 0
        finished = False
        while not finished:
            batch = await deltas.batch(timeout=keepalive_at - now())
            self.context.record_activity()
            for delta in batch:
                self.meter.observe(delta)
                if isinstance(delta, Accepted):
                    interval = self.context.keepalive_after
                    keepalive_at = now() + interval
                elif isinstance(delta, Progress):
                    done, total = delta.done, delta.total
            finished = bool(batch) and isinstance(batch[-1], Finished)
            frames = b"".join([stream.encode(delta) for delta in batch])
            if frames or now() >= keepalive_at:
                await self._send(frames or stream.keepalive(done, total), stream)
                keepalive_at = now() + interval

    async def _send(self, frames: bytes, stream: FrameStream) -> None:
        if self._stream is None:
            self._stream = stream
            self._disable_nagle()
            self.set_header("Content-Type", stream.content_type)
            self.set_header("Cache-Control", "no-cache")
            self.set_header("X-Accel-Buffering", "no")
        self.write(frames)
        await self.flush()

    def _disable_nagle(self) -> None:
        """Turn off Nagle's algorithm: a frame must not wait until the client has acknowledged the previous one."""
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.stream.set_nodelay(True)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error: before the first byte of the answer as an HTTP status, afterwards as a frame."""
        _, raised, _ = kwargs.get("exc_info", (None, None, None))
        error = as_pico_error(raised, status_code)
        self.meter.fail(error)
        if self._stream is None:
            super().send_error(status_code, **kwargs)
            return
        frames = self._stream.error(error)
        self.finish(frames, set_content_type=self._stream.content_type)
