"""The scheduler when something breaks or does not fit: everyone hears of it once, and nothing is left."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.sequence import Generation
from pico_jupyter.errors import EngineFailed, EngineUnavailable, ModelLoadFailed, OutOfMemory, PicoError, QueueFull
from pico_jupyter.types import Finished, ModelInfo
from tests.engine.scheduler_rig import Rig, step_and_fail
from tests.fakes import FakeBackend, FakePrefixes, ListSink, fake_info


def test_a_model_without_room_waits_until_the_running_one_is_done() -> None:
    rig = Rig(budget=1500)
    _, running = rig.add([1], max_tokens=5, info=fake_info("a"))
    _, waiting = rig.add([1], max_tokens=1, info=fake_info("b"))
    _, later = rig.add([1], max_tokens=1, info=fake_info("a"))
    rig.step_until(lambda: running.finished is not None)
    assert rig.opened == ["a"]
    assert later.text == "", "who comes later does not keep the model busy"
    rig.run()
    assert rig.opened == ["a", "b", "a"]
    assert waiting.finished is not None
    assert later.finished is not None


def test_nobody_is_admitted_while_running_caches_hold_most_of_the_memory() -> None:
    rig = Rig(budget=1220, prefill_step_size=1000)
    _, long = rig.add([1] * 200, max_tokens=20)
    rig.step_until(lambda: bool(long.text))
    generation, waiting = rig.add([1], max_tokens=1)
    rig.scheduler.step()
    assert generation.phase == "queue"
    rig.run()
    assert long.finished is not None
    assert waiting.finished is not None


def test_a_model_that_can_never_fit_is_refused_in_words() -> None:
    rig = Rig(budget=1500)
    _, sink = rig.add([1], info=fake_info("huge", size=2_000_000_000))
    rig.run()
    assert isinstance(sink.error, OutOfMemory)
    assert "huge needs 2.00 GB" in sink.error.message
    assert "memory_budget" in sink.error.message


def test_a_failing_load_fails_its_requests_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    _, good = rig.add([1], max_tokens=50, info=fake_info("good"))
    rig.step_until(lambda: bool(good.text))
    _, bad = rig.add([1], info=fake_info("bad"))

    def open_badly(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
        backend = FakeBackend()
        backend.fail("load_step", ValueError("Model type bad not supported."))
        return backend

    rig._make = open_badly
    step_and_fail(rig, lambda: bad.error is not None)
    assert isinstance(bad.error, ModelLoadFailed)
    assert "Model type bad not supported." in bad.error.message
    rig.run()
    assert good.finished is not None
    assert "a step of the engine failed: ValueError" in caplog.text


def test_a_failing_decode_step_fails_its_model_and_the_next_request_works(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    _, first = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(first.text))
    rig.backends["fake"].fail("step", RuntimeError("broken"), times=2)
    step_and_fail(rig, lambda: first.error is not None)
    assert isinstance(first.error, EngineFailed)
    _, second = rig.add([5], max_tokens=2)
    rig.run()
    assert second.text == "6 7 "
    assert caplog.records[0].levelno == logging.ERROR


def test_a_failing_prefill_fails_its_own_request_alone() -> None:
    rig = Rig(prefill_step_size=1)
    _, running = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(running.text))
    generation, failing = rig.add([1, 2, 3, 4], max_tokens=5)
    rig.step_until(lambda: generation.phase == "prefill")
    rig.backends["fake"].fail("prefill", RuntimeError("broken"), times=2)
    step_and_fail(rig, lambda: failing.error is not None)
    assert isinstance(failing.error, EngineFailed)
    rig.run()
    assert running.finished is not None


def test_an_answer_that_cannot_be_parsed_fails_alone_and_costs_the_others_no_token() -> None:
    rig = Rig()
    _, before = rig.add([10], max_tokens=6)
    _, broken = rig.add([20], max_tokens=6, break_at=23)
    _, after = rig.add([30], max_tokens=6)
    step_and_fail(rig, lambda: broken.error is not None)
    rig.run()
    assert isinstance(broken.error, EngineFailed)
    assert before.text == "11 12 13 14 15 16 "
    assert after.text == "31 32 33 34 35 36 "


def test_running_out_of_memory_is_told_as_that() -> None:
    rig = Rig()
    _, sink = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(sink.text))
    error = RuntimeError("[metal::malloc] Attempting to allocate 99 bytes")
    rig.backends["fake"].fail("step", error, times=2)
    step_and_fail(rig, lambda: sink.error is not None)
    assert isinstance(sink.error, OutOfMemory)


def test_closing_ends_everybody() -> None:
    rig = Rig(max_rows=1)
    _, running = rig.add([1], max_tokens=50)
    _, waiting = rig.add([2])
    rig.scheduler.step()
    rig.scheduler.close(EngineUnavailable("closed"))
    assert isinstance(running.error, EngineUnavailable)
    assert isinstance(waiting.error, EngineUnavailable)
    assert not rig.scheduler.has_work


def test_fails_are_never_left_unanswered() -> None:
    """An exception with no owner ends everything rather than being raised again for ever."""
    rig = Rig(max_rows=1)
    _, running = rig.add([1], max_tokens=50)
    _, waiting = rig.add([1])
    rig.step_until(lambda: bool(running.text))
    rig.scheduler.fail(RuntimeError("out of nowhere"))
    errors: list[PicoError | None] = [running.error, waiting.error]
    assert all(isinstance(error, PicoError) for error in errors)
    assert not rig.scheduler.has_work


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.integers(1, 12), st.integers(0, 5), st.integers(1, 3)),
        st.tuples(st.just("abort"), st.integers(0, 9)),
        st.tuples(st.just("step"), st.integers(1, 5)),
        st.tuples(st.just("fail"), st.sampled_from(["load_step", "insert", "prefill", "step"]), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 400.0])),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(script=operations)
def test_whatever_happens_everyone_ends_once_and_nothing_is_left(script: list[tuple[Any, ...]]) -> None:
    rig = Rig(max_rows=3, max_queue=2, prefill_step_size=3, budget=2200)
    added: list[tuple[Generation, ListSink]] = []
    aborted: set[int] = set()

    def turn() -> None:
        try:
            rig.scheduler.step()
        except RuntimeError as error:
            rig.scheduler.fail(error)

    for verb, *values in script:
        if verb == "add":
            model, length, max_tokens, n = values
            with suppress(QueueFull):
                added.append(rig.add([5] * length, info=fake_info(model), max_tokens=max_tokens, n=n))
        elif verb == "abort" and added:
            generation, _ = added[values[0] % len(added)]
            if generation.phase != "done":
                aborted.add(id(generation))
            rig.scheduler.abort(generation)
        elif verb == "fail" and rig.backends:
            list(rig.backends.values())[-1].fail(values[0], RuntimeError("as told"), values[1])
        elif verb == "wait":
            rig.clock.advance(values[0])
        elif verb == "step":
            for _ in range(values[0]):
                turn()
    for _ in range(500):
        turn()
    assert not rig.scheduler.has_work
    for generation, sink in added:
        assert sink.is_ended != (id(generation) in aborted)
        if sink.finished and generation.max_tokens:
            assert sink.text.count("6 ") == len(generation.sequences)
            assert sink.finished.usage.completion_tokens == generation.max_tokens * len(generation.sequences)
    assert all(model.active == 0 for model in rig.models.resident())
    assert all(backend.rows == [] for backend in rig.backends.values())
    rig.clock.advance(10_000)
    rig.models.expire()
    assert rig.models.used_bytes == 0


def test_a_finished_stream_has_exactly_one_end() -> None:
    rig = Rig()
    sinks = [rig.add([number], n=2, max_tokens=number)[1] for number in range(1, 4)]
    rig.run()
    assert [sink.count(Finished) for sink in sinks] == [1, 1, 1]
