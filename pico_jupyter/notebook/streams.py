"""Iterators over the pieces of an answer, for ordinary code and for coroutines.

The background loop receives the pieces independently of the reader. Closing a stream, interrupting its reader, or
dropping the last reference to it aborts the request.
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
from pico_jupyter.sources.calls import AnswerRequest, Piece, Source

# SIGINT does not wake a thread that waits for a queue, so Python handles the signal only after this timeout.
INTERRUPTIBLE_SECONDS = 0.1

# Adds a model to a request without a model.
FillModel: TypeAlias = Callable[[AnswerRequest], Awaitable[AnswerRequest]]


class AnswerStream:
    """An iterator over the pieces of an answer. Each piece has a `text`.

    `answer` is the answer so far, and the complete one at the end.
    """

    def __init__(self, loop: BackgroundLoop, source: Source, answer: Answer, fill_model: FillModel) -> None:
        self.answer = answer
        self._pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._has_ended = False
        self._pump = loop.submit(_pump(source, self.answer, fill_model, self._pieces.put))
        weakref.finalize(self, self._pump.cancel)

    def __repr__(self) -> str:
        return f"<AnswerStream [{self.answer.finish_reason or 'streaming'}]>"

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        """Return the next piece. Raises PicoError. An interrupt aborts the request."""
        if self._has_ended:
            raise StopIteration
        try:
            piece = self._wait()
        except KeyboardInterrupt:
            self.close()
            raise
        if piece is None:
            self._has_ended = True
            _raise_failure(self._pump, self.answer)
            raise StopIteration
        self.answer.add(piece)
        return piece

    def _wait(self) -> Piece | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._pieces.get(timeout=INTERRUPTIBLE_SECONDS)

    def close(self) -> None:
        """Abort the request, if it is still running."""
        self._has_ended = True
        self._pump.cancel()
        self.answer.end("stopped")


class AsyncAnswerStream:
    """An asynchronous iterator over the pieces of an answer. Each piece has a `text`.

    `answer` is the answer so far, and the complete one at the end. The request is sent when the first piece is awaited.
    Cancelling the reader aborts the request.
    """

    def __init__(self, loop: BackgroundLoop, source: Source, answer: Answer, fill_model: FillModel) -> None:
        self.answer = answer
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._pump: concurrent.futures.Future[None] | None = None
        self._has_ended = False
        self._loop, self._source, self._fill_model = loop, source, fill_model

    def __repr__(self) -> str:
        return f"<AsyncAnswerStream [{self.answer.finish_reason or 'streaming'}]>"

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self

    async def __anext__(self) -> Piece:
        """Return the next piece. Raises PicoError."""
        if self._has_ended:
            raise StopAsyncIteration
        pump = self._started_pump()
        try:
            piece = await self._pieces.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        if piece is None:
            self._has_ended = True
            _raise_failure(pump, self.answer)
            raise StopAsyncIteration
        self.answer.add(piece)
        return piece

    async def aclose(self) -> None:
        """Abort the request, if it is still running."""
        self._has_ended = True
        if self._pump is not None:
            self._pump.cancel()
        self.answer.end("stopped")

    def _started_pump(self) -> concurrent.futures.Future[None]:
        if self._pump is None:
            put = _putter(asyncio.get_running_loop(), self._pieces)
            self._pump = self._loop.submit(_pump(self._source, self.answer, self._fill_model, put))
            weakref.finalize(self, self._pump.cancel)
        return self._pump


def _putter(reader: asyncio.AbstractEventLoop, pieces: asyncio.Queue[Piece | None]) -> Callable[[Piece | None], None]:
    def put(piece: Piece | None) -> None:
        # A closed loop raises RuntimeError, and its reader needs no pieces.
        with contextlib.suppress(RuntimeError):
            reader.call_soon_threadsafe(pieces.put_nowait, piece)

    return put


async def _pump(source: Source, answer: Answer, fill_model: FillModel, put: Callable[[Piece | None], None]) -> None:
    """Pass the pieces to `put`, then None. Has no reference to the stream, so unused streams are garbage-collected."""
    try:
        answer.request = await fill_model(answer.request)
        async with aclosing(source.chat(answer.request)) as pieces:
            async for piece in pieces:
                put(piece)
    finally:
        put(None)


def _raise_failure(pump: concurrent.futures.Future[None], answer: Answer) -> None:
    """Record in the answer whether it failed or was stopped. Raise the error if it failed."""
    try:
        pump.result()
    except concurrent.futures.CancelledError:
        answer.end("stopped")
    except PicoError as error:
        answer.end("failed")
        # A traceback through the background loop does not help the user.
        raise error.with_traceback(None) from None
