"""An event loop on a thread of its own, so that answers come while a cell runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """Starts with the first thing to do and ends with the process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<BackgroundLoop {'idle' if self._loop is None else 'running'}>"

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Have `work` done. Cancelling the result cancels it."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="pico_jupyter", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@functools.cache
def shared_loop() -> BackgroundLoop:
    """The one of this process. An engine here lives in it."""
    return BackgroundLoop()
