"""Recovery: after failures each request ends once, others continue, and everything is freed."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest

from pico_jupyter.engine.scheduling.recovery import as_pico_error, is_out_of_memory
from pico_jupyter.engine.scheduling.sequence import Generation, Timestamps
from pico_jupyter.errors import (
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    ModelLoadFailed,
    OutOfMemory,
    PicoError,
)
from pico_jupyter.types import Finished, ModelInfo
from tests.engine.scheduling.scheduler_rig import Rig
from tests.fakes.backend import FakeBackend, FakePrefixes, ListSink, fake_info

GENERATION = Generation("g", fake_info(), [1], 1, False, [], None, 0.0, ListSink(), Timestamps(0.0))
MALLOC = RuntimeError("[malloc] Unable to allocate 99 bytes.")


def test_a_failing_load_fails_only_its_requests(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    _, good = rig.add([1], max_tokens=50, info=fake_info("good"))
    rig.step_until(lambda: bool(good.text))
    _, bad = rig.add([1], info=fake_info("bad"))

    def open_badly(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
        backend = FakeBackend()
        backend.fail("load_step", ValueError("Model type bad not supported."))
        return backend

    rig._make = open_badly
    rig.recover_until(lambda: bad.error is not None)
    assert isinstance(bad.error, ModelLoadFailed)
    assert "Model type bad not supported." in bad.error.message
    rig.run()
    assert good.finished is not None
    assert "a step of the engine failed: ValueError" in caplog.text


def test_a_request_works_after_a_failed_decode_step(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    _, first = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(first.text))
    rig.backends["fake"].fail("step", RuntimeError("broken"), times=2)
    rig.recover_until(lambda: first.error is not None)
    assert isinstance(first.error, EngineFailed)
    _, second = rig.add([5], max_tokens=2)
    rig.run()
    assert second.text == "6 7 "
    assert caplog.records[0].levelno == logging.ERROR


def test_a_failing_prefill_fails_only_its_request() -> None:
    rig = Rig(prefill_step_size=1)
    _, running = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(running.text))
    generation, failing = rig.add([1, 2, 3, 4], max_tokens=5)
    rig.step_until(lambda: generation.phase == "prefill")
    rig.backends["fake"].fail("prefill", RuntimeError("broken"), times=2)
    rig.recover_until(lambda: failing.error is not None)
    assert isinstance(failing.error, EngineFailed)
    rig.run()
    assert running.finished is not None


def test_a_failing_parser_fails_only_its_request_and_loses_no_token_of_others() -> None:
    rig = Rig()
    _, before = rig.add([10], max_tokens=6)
    _, broken = rig.add([20], max_tokens=6, break_at=23)
    _, after = rig.add([30], max_tokens=6)
    rig.recover_until(lambda: broken.error is not None)
    rig.run()
    assert isinstance(broken.error, EngineFailed)
    assert before.text == "11 12 13 14 15 16 "
    assert after.text == "31 32 33 34 35 36 "


def test_a_failed_allocation_becomes_out_of_memory() -> None:
    rig = Rig()
    _, sink = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(sink.text))
    error = RuntimeError("[metal::malloc] Attempting to allocate 99 bytes")
    rig.backends["fake"].fail("step", error, times=2)
    rig.recover_until(lambda: sink.error is not None)
    assert isinstance(sink.error, OutOfMemory)


def test_one_failed_step_loses_no_token() -> None:
    rig = Rig(max_rows=8)
    sinks = [rig.add([100 * number], max_tokens=10)[1] for number in range(1, 5)]
    rig.step_until(lambda: all(sink.text for sink in sinks))
    rig.backends["fake"].fail("step", RuntimeError("once"))
    rig.recover_until(lambda: not rig.scheduler.has_work)
    for number, sink in enumerate(sinks, 1):
        assert sink.text.split() == [str(100 * number + token) for token in range(1, 11)]


def test_after_a_failed_step_its_requests_restart_one_at_a_time() -> None:
    rig = Rig(max_rows=8)
    generations = [rig.add([100 * number], max_tokens=50)[0] for number in range(1, 4)]
    rig.step_until(lambda: all(one.sequences[0].tokens for one in generations))
    backend = rig.backends["fake"]
    backend.fail("step", RuntimeError("once"))
    rig.recover_until(lambda: generations[0].is_isolated)
    most_isolated = 0
    for _ in range(30):
        rig.scheduler.step()
        most_isolated = max(most_isolated, sum(one.is_isolated and one.phase == "decode" for one in generations))
    assert most_isolated == 1
    assert not any(one.is_isolated for one in generations)
    assert len(backend.decoding) == 3


@pytest.mark.parametrize("place", range(8))
def test_of_eight_requests_only_the_breaking_one_fails(place: int) -> None:
    rig = Rig(
        max_rows=8,
        max_queue=8,
        prefill_step_size=100,
        make=lambda info, prefixes: FakeBackend(prefixes=prefixes, breaking={666}),
    )
    firsts = [100 * number for number in range(1, 9)]
    firsts[place] = 666
    sinks = [rig.add([first, first], max_tokens=5)[1] for first in firsts]
    rig.recover_until(lambda: not rig.scheduler.has_work, steps=1000)
    for first, sink in zip(firsts, sinks, strict=True):
        if first == 666:
            assert isinstance(sink.error, EngineFailed)
        else:
            assert sink.text.split() == [str(first + token) for token in range(1, 6)]


def test_two_breaking_requests_are_found_one_after_the_other() -> None:
    rig = Rig(max_rows=8, make=lambda info, prefixes: FakeBackend(prefixes=prefixes, breaking={666, 667}))
    sinks = [rig.add([first], max_tokens=5)[1] for first in (1, 666, 2, 667, 3)]
    rig.recover_until(lambda: not rig.scheduler.has_work, steps=1000)
    assert [sink.error is None for sink in sinks] == [True, False, True, False, True]


def test_no_request_is_admitted_beside_an_isolated_one() -> None:
    rig = Rig(max_rows=8, make=lambda info, prefixes: FakeBackend(prefixes=prefixes, breaking={666}))
    rig.add([666], max_tokens=5)
    rig.recover_until(lambda: any(one.is_isolated for one in rig.scheduler._queue))
    rig.scheduler.step()
    newcomer, sink = rig.add([1], max_tokens=3)
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert newcomer.failures == 0
    assert sink.text == "2 3 4 "


def test_another_model_keeps_running_while_a_lane_is_requeued() -> None:
    rig = Rig(max_rows=8)
    broken, _ = rig.add([1], max_tokens=50, info=fake_info("broken"))
    other, _ = rig.add([1], max_tokens=50, info=fake_info("other"))
    rig.step_until(lambda: bool(broken.sequences[0].tokens and other.sequences[0].tokens))
    rig.backends["broken"].fail("step", RuntimeError("once"))
    rig.recover_until(lambda: broken.failures == 1)
    assert other.phase == "decode"
    assert rig.backends["other"].decoding == other.rows


def test_a_prefill_that_failed_once_is_repeated() -> None:
    rig = Rig(prefill_step_size=2)
    _, sink = rig.add([1, 2, 3, 4], max_tokens=3)
    rig.step_until(lambda: bool(rig.backends and rig.backends["fake"].prefills))
    rig.backends["fake"].fail("prefill", RuntimeError("once"))
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert sink.text == "5 6 7 "


def test_a_complete_answer_finishes_although_its_row_cannot_be_removed() -> None:
    class Sticky(FakeBackend):
        def remove(self, rows: Collection[int], *, keep: bool) -> None:
            if keep:
                raise RuntimeError("sticky")
            super().remove(rows, keep=keep)

    rig = Rig(make=lambda info, prefixes: Sticky(prefixes=prefixes))
    _, short = rig.add([1], max_tokens=2)
    _, long = rig.add([10], max_tokens=9)
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert short.text == "2 3 "
    assert long.text.split()[-1] == "19"


def test_all_prefixes_are_evicted_when_the_device_has_no_memory_left() -> None:
    rig = Rig()
    rig.add([1] * 50, max_tokens=1)
    rig.run()
    _, sink = rig.add([2], max_tokens=9)
    rig.step_until(lambda: bool(sink.text))
    rig.backends["fake"].fail("step", MemoryError())
    rig.recover_until(lambda: rig.prefixes.nbytes == 0)
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert sink.finished


def test_a_request_runs_without_a_draft_model_that_cannot_be_loaded(caplog: pytest.LogCaptureFixture) -> None:
    def make(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
        backend = FakeBackend(prefixes=prefixes)
        if info.name == "small":
            backend.fail("load_step", ValueError("Model type small not supported."))
        return backend

    rig = Rig(make=make)
    _, sink = rig.add([1], max_tokens=3, draft=fake_info("small"))
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert sink.text == "2 3 4 "
    assert "fake runs without its draft model small: ValueError" in caplog.text


def test_closing_ends_all_requests() -> None:
    rig = Rig(max_rows=1)
    _, running = rig.add([1], max_tokens=50)
    _, waiting = rig.add([2])
    rig.scheduler.step()
    rig.scheduler.close(EngineUnavailable("closed"))
    assert isinstance(running.error, EngineUnavailable)
    assert isinstance(waiting.error, EngineUnavailable)
    assert not rig.scheduler.has_work


def test_an_unexpected_exception_ends_all_requests() -> None:
    rig = Rig(max_rows=1)
    _, running = rig.add([1], max_tokens=50)
    _, waiting = rig.add([1])
    rig.step_until(lambda: bool(running.text))
    rig.scheduler.fail(RuntimeError("out of nowhere"))
    errors: list[PicoError | None] = [running.error, waiting.error]
    assert all(isinstance(error, PicoError) for error in errors)
    assert not rig.scheduler.has_work


def test_a_stream_ends_exactly_once() -> None:
    rig = Rig()
    sinks = [rig.add([number], n=2, max_tokens=number)[1] for number in range(1, 4)]
    rig.run()
    assert [sink.count(Finished) for sink in sinks] == [1, 1, 1]


def test_an_invalid_request_that_only_the_model_detects_logs_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    invalid = InvalidRequest("images or videos, not both", param="messages")

    def opened(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
        backend = FakeBackend(prefixes=prefixes)
        backend.fail("prefill", invalid, times=2)
        return backend

    rig = Rig(make=opened)
    _, sink = rig.add([1, 2, 3], max_tokens=3)
    rig.recover_until(lambda: not rig.scheduler.has_work)
    assert sink.error is invalid
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


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
    assert type(as_pico_error(error, GENERATION, is_loading=is_loading)) is kind


def test_the_client_does_not_see_the_text_of_an_exception() -> None:
    assert "secret" not in as_pico_error(RuntimeError("my secret"), GENERATION).message


@pytest.mark.parametrize(("error", "expected"), [(MALLOC, True), (MemoryError(), True), (ValueError("no"), False)])
def test_out_of_memory_is_recognised_by_type_or_text(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
