"""Answers that are read while they are written, from ordinary code and from coroutines.

The model writes in the background loop whatever the reader does; leaving a stream by its end, by `close`, by an
interrupt or by forgetting it stops the model.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TypeAlias

from pico_jupyter.errors import PicoError
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.sources.background import BackgroundLoop
from pico_jupyter.sources.calls import ChatCall, Piece, Source

# A signal that another thread gets does not wake a wait, but is seen after it.
INTERRUPTIBLE_SECONDS = 0.1

# Fills in what a call leaves open.
Complete: TypeAlias = Callable[[ChatCall], Awaitable[ChatCall]]


class AnswerStream:
    """The pieces of an answer; `answer` is what has come so far, and the whole once it has ended."""

    def __init__(self, loop: BackgroundLoop, source: Source, call: ChatCall, complete: Complete) -> None:
        self.answer = Answer(call)
        self._pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._has_ended = False
        self._pump = loop.submit(_pump(source, self.answer, complete, self._pieces.put))
        weakref.finalize(self, self._pump.cancel)

    def __repr__(self) -> str:
        return f"<AnswerStream [{self.answer.finish_reason or 'streaming'}]>"

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        """The next piece. Raises PicoError. An interrupt stops the model."""
        if self._has_ended:
            raise StopIteration
        try:
            piece = self._wait()
        except KeyboardInterrupt:
            self.close()
            raise
        if piece is None:
            self._has_ended = True
            _settle(self._pump, self.answer)
            raise StopIteration
        self.answer.take(piece)
        return piece

    def _wait(self) -> Piece | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._pieces.get(timeout=INTERRUPTIBLE_SECONDS)

    def close(self) -> None:
        """Stop the model, if it is still writing."""
        self._has_ended = True
        self._pump.cancel()
        self.answer.end("stopped")


class AsyncAnswerStream:
    """The pieces of an answer for `async for`; otherwise as AnswerStream. Cancelling its reader stops the model.

    The model begins with the first piece that is waited for.
    """

    def __init__(self, loop: BackgroundLoop, source: Source, call: ChatCall, complete: Complete) -> None:
        self.answer = Answer(call)
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._pump: concurrent.futures.Future[None] | None = None
        self._has_ended = False
        self._loop, self._source, self._complete = loop, source, complete

    def __repr__(self) -> str:
        return f"<AsyncAnswerStream [{self.answer.finish_reason or 'streaming'}]>"

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self

    async def __anext__(self) -> Piece:
        """The next piece. Raises PicoError."""
        if self._has_ended:
            raise StopAsyncIteration
        pump = self._running()
        try:
            piece = await self._pieces.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if piece is None:
            self._has_ended = True
            _settle(pump, self.answer)
            raise StopAsyncIteration
        self.answer.take(piece)
        return piece

    async def aclose(self) -> None:
        """Stop the model, if it is still writing."""
        self._has_ended = True
        if self._pump is not None:
            self._pump.cancel()
        self.answer.end("stopped")

    def _running(self) -> concurrent.futures.Future[None]:
        if self._pump is None:
            put = _putter(asyncio.get_running_loop(), self._pieces)
            self._pump = self._loop.submit(_pump(self._source, self.answer, self._complete, put))
            weakref.finalize(self, self._pump.cancel)
        return self._pump


def _putter(reader: asyncio.AbstractEventLoop, pieces: asyncio.Queue[Piece | None]) -> Callable[[Piece | None], None]:
    def put(piece: Piece | None) -> None:
        # A loop that was closed has nobody to tell.
        with contextlib.suppress(RuntimeError):
            reader.call_soon_threadsafe(pieces.put_nowait, piece)

    return put


async def _pump(source: Source, answer: Answer, complete: Complete, put: Callable[[Piece | None], None]) -> None:
    """Has no hold on the stream that reads, which can be forgotten meanwhile. None ends the pieces."""
    try:
        answer.call = await complete(answer.call)
        async with aclosing(source.chat(answer.call)) as pieces:
            async for piece in pieces:
                put(piece)
    finally:
        put(None)


def _settle(pump: concurrent.futures.Future[None], answer: Answer) -> None:
    """At the end of the pieces: raise what ended them, if anything did."""
    try:
        pump.result()
    except concurrent.futures.CancelledError:
        answer.end("stopped")
    except PicoError as error:
        answer.end("failed")
        # As if it were raised here: the way that it came through the loop tells its reader nothing.
        raise error.with_traceback(None) from None
