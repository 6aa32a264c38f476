"""Compiles a grammar on a separate thread, with a large stack and a time limit.

llguidance 1.9 recurses along chains of rules and references. A chain of about 2,000 overflows a stack of 8 MB, which
ends the process. Some short grammars take hours to compile, and llguidance cannot be interrupted.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from pico_jupyter.errors import QueueFull

T = TypeVar("T")

# Enough for the longest grammar that is accepted. Only the used part is real memory.
_STACK_BYTES = 512 * 1024 * 1024
_SECONDS = 10.0
# After a timeout, a compilation keeps its thread and its slot until it ends.
_slots = threading.BoundedSemaphore(2)
# Guards the stack size of new threads, which is a setting of the process.
_stack_size = threading.Lock()


def compile_on_thread(compile_grammar: Callable[[], T], seconds: float = _SECONDS) -> T:
    """Call `compile_grammar` on a new thread. Raises its errors.

    Raises TimeoutError after `seconds`, and QueueFull if other compilations occupy all slots during this time.
    """
    if not _slots.acquire(timeout=seconds):
        raise QueueFull("other grammars are still being compiled", retry_after=math.ceil(seconds))
    compiled: Future[T] = Future()

    def run() -> None:
        try:
            compiled.set_result(compile_grammar())
        except Exception as error:  # noqa: BLE001  # the border of the thread: the waiting thread raises it
            compiled.set_exception(error)
        finally:
            _slots.release()

    with _stack_size:
        previous = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=run, name="pico-grammar", daemon=True).start()
        finally:
            threading.stack_size(previous)
    return compiled.result(seconds)
