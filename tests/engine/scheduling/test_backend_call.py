"""The exception of a failed backend call."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.scheduling.backend_call import BackendCall, BackendCallFailed
from pico_jupyter.engine.scheduling.sequence import Generation, Timestamps
from tests.fakes.backend import ListSink, fake_info


def made() -> Generation:
    return Generation("g", fake_info(), [1], 1, False, [], None, 0.0, ListSink(), Timestamps(0.0))


def test_the_exception_of_a_failed_call_has_the_call() -> None:
    generation, error = made(), RuntimeError("broken")
    with (
        pytest.raises(BackendCallFailed, match="prefill failed: RuntimeError") as caught,
        BackendCall("prefill", (generation,)),
    ):
        raise error
    assert (caught.value.call.operation, caught.value.call.generations) == ("prefill", (generation,))
    assert caught.value.error is caught.value.__cause__ is error


def test_an_interrupt_is_not_a_failed_call() -> None:
    with pytest.raises(KeyboardInterrupt), BackendCall("decode", (made(),)):
        raise KeyboardInterrupt
