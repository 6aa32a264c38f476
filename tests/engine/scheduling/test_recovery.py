"""The exception of a failed backend call, and its conversion for the client."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.scheduling.backend_call import BackendCall, BackendCallFailed
from pico_jupyter.engine.scheduling.recovery import as_pico_error, is_out_of_memory
from pico_jupyter.engine.scheduling.sequence import Generation, Timestamps
from pico_jupyter.errors import EngineFailed, InvalidRequest, ModelLoadFailed, OutOfMemory, PicoError
from tests.fakes import ListSink, fake_info

MALLOC = RuntimeError("[malloc] Unable to allocate 99 bytes.")


def made() -> Generation:
    return Generation("g", fake_info(), [1], 1, False, [], None, 0.0, ListSink(), Timestamps(0.0))


def test_a_failed_call_travels_with_its_exception() -> None:
    generation, error = made(), RuntimeError("broken")
    with (
        pytest.raises(BackendCallFailed, match="prefill failed: RuntimeError") as caught,
        BackendCall("prefill", (generation,)),
    ):
        raise error
    assert (caught.value.call.operation, caught.value.call.generations) == ("prefill", (generation,))
    assert caught.value.error is caught.value.__cause__ is error


def test_an_interrupt_is_not_the_failure_of_a_call() -> None:
    with pytest.raises(KeyboardInterrupt), BackendCall("decode", (made(),)):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "is_loading", "kind"),
    [
        (RuntimeError("broken"), False, EngineFailed),
        (RuntimeError("broken"), True, ModelLoadFailed),
        (MALLOC, False, OutOfMemory),
        (MemoryError(), True, OutOfMemory),
        (InvalidRequest("wrong"), False, InvalidRequest),
    ],
)
def test_exceptions_of_a_backend_become_client_errors(
    error: Exception, is_loading: bool, kind: type[PicoError]
) -> None:
    assert type(as_pico_error(error, made(), is_loading=is_loading)) is kind


def test_the_client_does_not_see_the_text_of_an_exception() -> None:
    assert "secret" not in as_pico_error(RuntimeError("my secret"), made()).message


@pytest.mark.parametrize(("error", "expected"), [(MALLOC, True), (MemoryError(), True), (ValueError("no"), False)])
def test_out_of_memory_is_recognised_by_type_or_text(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
