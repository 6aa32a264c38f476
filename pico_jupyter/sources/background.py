"""Runs an event loop on a background thread, so that answers arrive while a cell runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """An event loop on a daemon thread. It starts with the first coroutine and ends with the process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<BackgroundLoop {'idle' if self._loop is None else 'running'}>"

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run `work` in the loop. Cancelling the returned future cancels `work`."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="pico_jupyter", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@functools.cache
def shared_loop() -> BackgroundLoop:
    """Return the one BackgroundLoop of this process. The engine of this process runs in it."""
    return BackgroundLoop()
