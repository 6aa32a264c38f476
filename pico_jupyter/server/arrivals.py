"""Arrivals: hands out a stream of deltas in batches, and can stop waiting without disturbing it. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pico_jupyter.types import Delta, Finished

# Invariants: one task draws from the generator, as fast as it delivers; it holds MAX_BATCH deltas at most that were not
# handed out, so that what a slow reader leaves waits where it is joined; it draws nothing after Finished.

MAX_BATCH = 64


class Arrivals:
    """The deltas of one generation, as they arrive. Needs a running event loop.

    Waiting with a time limit must not cancel the generator's own wait, so a task of its own draws the deltas.
    """

    def __init__(self, deltas: AsyncGenerator[Delta, None]) -> None:
        self._deltas = deltas
        self._ready: list[Delta] = []
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._drawing = self._loop.create_task(self._draw())
        # Behind what was drawn, the end is news as well, whatever it is.
        self._drawing.add_done_callback(lambda _: _resolve(self._waiter))

    def __repr__(self) -> str:
        return f"<Arrivals {'ended' if self._drawing.done() else 'open'} [{len(self._ready)} ready]>"

    async def batch(self, timeout: float) -> list[Delta]:
        """Everything that is ready at once; nothing after `timeout` seconds without a delta.

        A failure behind the deltas of a batch is raised by the next call.
        """
        if not self._ready and not self._drawing.done():
            await self._wait(timeout)
        ready, self._ready = self._ready, []
        _resolve(self._room)
        if not ready and self._drawing.done():
            self._drawing.result()
            raise RuntimeError("a stream of deltas ended without Finished")
        return ready

    async def aclose(self) -> None:
        """Stop waiting and close the generator: this is the abort."""
        self._drawing.cancel()
        await asyncio.wait({self._drawing})
        if not self._drawing.cancelled():
            self._drawing.exception()
        await self._deltas.aclose()

    async def _draw(self) -> None:
        async for delta in self._deltas:
            self._ready.append(delta)
            _resolve(self._waiter)
            if isinstance(delta, Finished):
                return
            if len(self._ready) >= MAX_BATCH:
                self._room = self._loop.create_future()
                await self._room

    async def _wait(self, timeout: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(max(timeout, 0.0), _resolve, self._waiter)
        try:
            await self._waiter
        finally:
            timer.cancel()


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
