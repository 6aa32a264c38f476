"""Reads a stream of deltas a batch at a time, and can stop waiting without disturbing the stream. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pico_jupyter.types import Delta, Finished

# So that a stream that is always ready still reaches the socket.
MAX_BATCH = 64


class Arrivals:
    """The deltas of one generation, as they arrive.

    Waiting with a time limit must not cancel the generator's own wait, so that wait is a task of its own. At most one
    delta is taken ahead of what was handed out, and none after Finished.
    """

    def __init__(self, deltas: AsyncGenerator[Delta, None]) -> None:
        self._deltas = deltas
        self._next: asyncio.Task[Delta] | None = None

    def __repr__(self) -> str:
        return f"<Arrivals {'waiting' if self._next else 'idle'}>"

    async def batch(self, timeout: float) -> list[Delta]:
        """Everything that is ready at once; nothing after `timeout` seconds without a delta.

        A failure behind the deltas of a batch is raised by the next call.
        """
        ready: list[Delta] = []
        upcoming = self._upcoming()
        await asyncio.wait({upcoming}, timeout=max(timeout, 0.0))
        while upcoming.done() and len(ready) < MAX_BATCH:
            if ready and _failed(upcoming):
                break
            self._next = None
            ready.append(upcoming.result())
            if isinstance(ready[-1], Finished):
                break
            upcoming = self._upcoming()
            # One turn of the event loop lets a generator with a delta at hand deliver it.
            await asyncio.sleep(0)
        return ready

    async def aclose(self) -> None:
        """Stop waiting and close the generator: this is the abort."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait({self._next})
            _failed(self._next)
        await self._deltas.aclose()

    def _upcoming(self) -> asyncio.Task[Delta]:
        if self._next is None:
            self._next = asyncio.ensure_future(_take(self._deltas))
        return self._next


def _failed(taken: asyncio.Task[Delta]) -> bool:
    return taken.cancelled() or taken.exception() is not None


async def _take(deltas: AsyncGenerator[Delta, None]) -> Delta:
    try:
        return await deltas.__anext__()
    except StopAsyncIteration:
        raise RuntimeError("a stream of deltas ended without Finished") from None
