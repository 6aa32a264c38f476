"""call_with_time_limit(): calls a function in a thread that is stopped after some seconds."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class _Stopped(BaseException):
    """Ends the thread. It is no Exception, so that the function does not handle it."""


def call_with_time_limit(function: Callable[[], T], seconds: float) -> T:
    """Return the result of `function`, or raise its exception. Raises TimeoutError after `seconds`.

    The thread is then stopped at the next Python instruction of the function. A running call of a C function first
    returns.
    """
    result: Future[T] = Future()
    thread = threading.Thread(target=_run, args=(function, result), name="pico-limited", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stopped))
        raise TimeoutError
    return result.result()


def _run(function: Callable[[], T], result: Future[T]) -> None:
    try:
        result.set_result(function())
    except _Stopped:
        pass
    except Exception as error:  # noqa: BLE001  the caller raises it
        result.set_exception(error)
