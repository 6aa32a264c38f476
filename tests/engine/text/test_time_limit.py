"""A function is stopped when it takes too long."""

from __future__ import annotations

import contextlib
import threading

import pytest

from pico_jupyter.engine.text.time_limit import call_with_time_limit


def test_the_result_is_returned() -> None:
    assert call_with_time_limit(lambda: 3, 60) == 3


def test_the_exception_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        call_with_time_limit(lambda: 1 // 0, 60)


def test_a_function_that_takes_too_long_is_stopped() -> None:
    threads: list[threading.Thread] = []

    def loop() -> None:
        threads.append(threading.current_thread())
        while True:
            with contextlib.suppress(Exception):  # The function cannot prevent its end.
                sum(range(100))

    with pytest.raises(TimeoutError):
        call_with_time_limit(loop, 0.1)
    threads[0].join(30)
    assert not threads[0].is_alive()
