"""Defines DeltaStream, the queue of one request's deltas. The engine appends deltas, and one reader removes them.

A stream belongs to one event loop. It ends once, with Finished or with an error. The reader gets all earlier deltas
before the error. Closing the stream is the only way to abort the request. If the reader is slow, unread deltas are
joined. More than `limit` unread bytes fail the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import assert_never

from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    Progress,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
)

UNREAD_LIMIT = 64 << 20
# Above this number, unread deltas are joined. A fast reader stays below it.
JOIN_LENGTH = 64
# Approximate bytes of a delta without its text, and of one token with its log-probability.
DELTA_BYTES = 64
LOGPROB_BYTES = 128


class DeltaStream(AsyncIterator[Delta]):
    """The deltas of one request, in order.

    `on_close` must abort the request. It is called if the reader closes the stream before its end or is too slow.
    `on_arrival`, if set, is called after each feed() and fail(), for a reader that calls pop_unread(). `limit` is the
    maximum of unread bytes.
    """

    def __init__(self, on_close: Callable[[], None] = lambda: None, limit: int = UNREAD_LIMIT) -> None:
        self.on_close = on_close
        self.on_arrival: Callable[[], None] | None = None
        self.error: Exception | None = None
        self.is_complete = False
        # For each choice, the tokens of the deltas that were fed. None: they are not collected.
        self.tokens: list[list[int]] | None = None
        self._limit = limit
        self._unread: list[Delta] = []
        self._unread_bytes = 0
        self._join_length = JOIN_LENGTH
        self._waiter: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<DeltaStream {'complete' if self.is_complete else 'open'} [{len(self._unread)} unread]>"

    def feed(self, deltas: Sequence[Delta]) -> None:
        """Append one or more deltas. A complete stream ignores them."""
        if self.is_complete:
            return
        if self._unread:  # The first unread deltas are not counted: a fast reader removes them at once.
            self._unread_bytes += sum(map(estimate_bytes, deltas))
        self._unread += deltas
        self.is_complete = isinstance(deltas[-1], Finished)
        if len(self._unread) > self._join_length or self._unread_bytes > self._limit:
            self._join()
        self._notify_reader()

    def add_tokens(self, tokens: Sequence[Sequence[int]]) -> None:
        """Collect new tokens of each choice. Call it before the feed() of their deltas."""
        if self.tokens is not None:
            extend_tokens(self.tokens, tokens)

    def pop_tokens(self) -> list[list[int]]:
        """Remove and return the collected tokens."""
        if not self.tokens:
            return []
        tokens, self.tokens = self.tokens, []
        return tokens

    def fail(self, error: Exception) -> None:
        """End the stream with an error. A complete stream ignores it."""
        if not self.is_complete:
            self.is_complete = True
            self.error = error
            self._notify_reader()

    def pop_unread(self) -> list[Delta]:
        """Remove and return the unread deltas."""
        deltas, self._unread, self._unread_bytes = self._unread, [], 0
        return deltas

    async def batch(self, timeout: float | None = None) -> list[Delta]:
        """Wait for deltas and return all unread ones. Returns an empty list after `timeout` seconds without a delta.

        Raises the error of the stream once all earlier deltas are read. Cancelling the wait loses no delta.
        """
        if not self._unread and not self.is_complete:
            await self._wait(timeout)
        if not self._unread and self.error is not None:
            raise self.error
        return self.pop_unread()

    async def __anext__(self) -> Delta:
        """Wait for the next delta and return it. Cancelling the wait closes the stream."""
        while not self._unread:
            if self.error is not None:
                raise self.error
            if self.is_complete:
                raise StopAsyncIteration
            try:
                await self._wait(None)
            except asyncio.CancelledError:
                self.close()
                raise
        return self._unread.pop(0)

    def close(self) -> None:
        """Abort the request unless the stream is complete. May be called twice."""
        if not self.is_complete:
            self.is_complete = True
            self.on_close()

    async def aclose(self) -> None:
        """Call close(). contextlib.aclosing requires this method."""
        self.close()

    async def _wait(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if timeout is None else loop.call_later(max(timeout, 0.0), self._notify_reader)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _notify_reader(self) -> None:
        if self.on_arrival is not None:
            self.on_arrival()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _join(self) -> None:
        self._unread = join(self._unread)
        self._join_length = max(JOIN_LENGTH, 2 * len(self._unread))
        self._unread_bytes = sum(map(estimate_bytes, self._unread))
        if not self.is_complete and self._unread_bytes > self._limit:
            self.is_complete = True
            self.error = EngineFailed("the answer was read too slowly")
            self.on_close()


def extend_tokens(known: list[list[int]], tokens: Sequence[Sequence[int]]) -> None:
    """Add the new tokens of each choice to the known ones."""
    known.extend([] for _ in range(len(tokens) - len(known)))
    for kept, new in zip(known, tokens, strict=False):
        kept.extend(new)


def join(deltas: Sequence[Delta]) -> list[Delta]:
    """Join adjacent deltas: texts of one kind, and parts of a tool call. Of adjacent Progress deltas, keep the last.

    Text and parts are adjacent if no other delta of their choice is between them.
    """
    if len(deltas) < 2:
        return list(deltas)
    runs: list[list[Delta]] = []  # Each run becomes one delta.
    text_runs: dict[int, list[Delta]] = {}  # For each choice, the run that its next delta may extend.
    for delta in deltas:
        match delta:
            case TextDelta() | ReasoningDelta() | ToolCallPart():
                run = text_runs.get(delta.index)
                begins_call = isinstance(delta, ToolCallPart) and bool(delta.id)
                if run is not None and type(run[0]) is type(delta) and not begins_call:
                    run.append(delta)
                else:
                    text_runs[delta.index] = [delta]
                    runs.append(text_runs[delta.index])
            case Progress() if runs and isinstance(runs[-1][-1], Progress):
                runs[-1][-1] = delta
            case ToolCallDelta():
                text_runs.pop(delta.index, None)
                runs.append([delta])
            case Accepted() | Progress() | Finished():
                runs.append([delta])
            case _:
                assert_never(delta)
    return [run[0] if len(run) == 1 else _joined(run) for run in runs]


def _joined(run: Sequence[Delta]) -> Delta:
    first = run[0]
    if isinstance(first, ToolCallPart):
        arguments = "".join([delta.arguments for delta in run if isinstance(delta, ToolCallPart)])
        return ToolCallPart(arguments, first.index, first.id, first.name)
    texts = [delta for delta in run if isinstance(delta, TextDelta | ReasoningDelta)]
    logprobs = tuple(logprob for delta in texts for logprob in delta.logprobs)
    return type(texts[0])("".join([delta.text for delta in texts]), texts[0].index, logprobs)


def estimate_bytes(delta: Delta) -> int:
    """Return the approximate size of a delta in memory, in bytes."""
    match delta:
        case TextDelta() | ReasoningDelta():
            return DELTA_BYTES + len(delta.text) + sum(LOGPROB_BYTES * (1 + len(token.top)) for token in delta.logprobs)
        case ToolCallDelta():
            return DELTA_BYTES + len(delta.call.name) + len(delta.call.arguments)
        case ToolCallPart():
            return DELTA_BYTES + len(delta.name) + len(delta.arguments)
        case Finished():
            return DELTA_BYTES + 8 * len(delta.context)
        case Accepted() | Progress():
            return DELTA_BYTES
        case _:
            assert_never(delta)
