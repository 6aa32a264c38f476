"""Whose work it was when something raised, and our words for it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from pico_jupyter.engine.scheduling.sequence import Generation, Marks
from pico_jupyter.engine.scheduling.work import Work, as_pico_error, is_out_of_memory
from pico_jupyter.errors import EngineFailed, InvalidRequest, ModelLoadFailed, OutOfMemory, PicoError
from tests.fakes import ListSink, fake_info

MALLOC = RuntimeError("[malloc] Unable to allocate 99 bytes.")


def made() -> Generation:
    return Generation("g", fake_info(), [1], 1, False, [], None, 0.0, ListSink(), Marks(0.0))


def test_work_that_ends_well_is_forgotten() -> None:
    work = Work()
    with work.on("decode", [made()]):
        assert repr(work) == "<Work decode>"
    assert work.take() is None


def test_work_that_raises_is_told_once() -> None:
    work, generation = Work(), made()
    with suppress(RuntimeError), work.on("prefill", [generation]):
        raise RuntimeError("broken")
    call = work.take()
    assert call
    assert (call.verb, call.generations) == ("prefill", (generation,))
    assert work.take() is None


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
def test_foreign_errors_become_ours(error: Exception, is_loading: bool, kind: type[PicoError]) -> None:
    assert type(as_pico_error(error, made(), is_loading=is_loading)) is kind


def test_what_a_running_model_raised_goes_to_the_log_only() -> None:
    assert "secret" not in as_pico_error(RuntimeError("my secret"), made()).message


@pytest.mark.parametrize(("error", "expected"), [(MALLOC, True), (MemoryError(), True), (ValueError("no"), False)])
def test_running_out_of_memory_is_known_by_its_words(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
