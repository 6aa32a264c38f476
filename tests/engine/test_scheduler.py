"""The scheduler's turns, on backends without maths."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pico_jupyter.engine.backends.base import RowSampling
from pico_jupyter.engine.models import ModelManager
from pico_jupyter.engine.scheduler import Scheduler
from pico_jupyter.engine.sequence import Generation, Marks, Sequence
from pico_jupyter.errors import EngineFailed, EngineUnavailable, ModelLoadFailed, OutOfMemory, PicoError, QueueFull
from pico_jupyter.types import Accepted, Finished, ModelInfo, Progress, TextDelta
from tests.fakes import FAKE_EOS, FakeBackend, FakeClock, FakeParser, FakeVocabulary, ListSink, fake_info

GREEDY = RowSampling()


class Rig:
    """A scheduler over fake models, and short ways to feed it."""

    def __init__(
        self,
        *,
        max_rows: int = 4,
        max_queue: int = 8,
        prefill_step_size: int = 4,
        budget: int = 10_000,
        make: Callable[[ModelInfo], FakeBackend] = lambda info: FakeBackend(weights_nbytes=info.size),
    ) -> None:
        self.clock = FakeClock()
        self.backends: dict[str, FakeBackend] = {}
        self.opened: list[str] = []
        self._make = make
        self._rows = itertools.count(1)
        self.models = ModelManager(
            self._open, budget=budget, keep_alive=300.0, clock=self.clock, wall_clock=lambda: 0.0
        )
        self.scheduler = Scheduler(
            self.models,
            max_rows=max_rows,
            max_queue=max_queue,
            prefill_step_size=prefill_step_size,
            clock=self.clock,
        )

    def _open(self, info: ModelInfo, room: int) -> FakeBackend:
        self.opened.append(info.name)
        self.backends[info.name] = self._make(info)
        return self.backends[info.name]

    def add(
        self,
        prompt: list[int],
        *,
        max_tokens: int = 3,
        info: ModelInfo | None = None,
        n: int = 1,
        keep_alive: float = 300.0,
        stop_at: int | None = None,
        break_at: int | None = None,
        sampling: RowSampling = GREEDY,
        return_context: bool = False,
    ) -> tuple[Generation, ListSink]:
        sink = ListSink()
        generation = Generation(
            id="test",
            info=info or fake_info(),
            prompt=prompt,
            max_tokens=max_tokens,
            reasoning=False,
            sequences=[
                Sequence(next(self._rows), index, sampling, FakeParser(stop_at, index, break_at)) for index in range(n)
            ],
            vocabulary=FakeVocabulary(),
            keep_alive=keep_alive,
            sink=sink,
            marks=Marks(self.clock()),
            return_context=return_context,
        )
        self.scheduler.add(generation)
        return generation, sink

    def run(self, steps: int = 200) -> None:
        """Step until there is no work."""
        for _ in range(steps):
            if not self.scheduler.has_work:
                return
            self.scheduler.step()
        raise AssertionError(f"still at work: {self.scheduler!r}")

    def step_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(200):
            if condition():
                return
            self.scheduler.step()
        raise AssertionError(f"did not come about: {self.scheduler!r}")


def test_a_request_is_accepted_answered_and_finished() -> None:
    rig = Rig()
    _, sink = rig.add([10, 20], max_tokens=3)
    rig.run()
    assert sink.deltas[0] == Accepted("fake", 2, False)
    assert sink.text == "21 22 23 "
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("length",)
    assert (sink.finished.usage.prompt_tokens, sink.finished.usage.completion_tokens) == (2, 3)


def test_accepted_comes_before_the_model_is_loaded() -> None:
    rig = Rig()
    _, sink = rig.add([1])
    assert sink.deltas == [Accepted("fake", 1, False)]
    assert rig.opened == []


def test_several_requests_run_at_once() -> None:
    rig = Rig()
    sinks = [rig.add([100 * number], max_tokens=5)[1] for number in (1, 2, 3)]
    rig.run()
    assert [sink.text.split()[-1] for sink in sinks] == ["105", "205", "305"]
    assert rig.backends["fake"].steps < 15, "three answers of five tokens shared their steps"


def test_the_end_token_stops_and_is_not_text() -> None:
    rig = Rig(make=lambda info: FakeBackend(answer=lambda prompt, sampling: iter([7, 8, FAKE_EOS])))
    _, sink = rig.add([1], max_tokens=50)
    rig.run()
    assert sink.text == "7 8 "
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("stop",)


def test_a_stop_string_ends_the_sequence() -> None:
    rig = Rig()
    _, sink = rig.add([1], max_tokens=50, stop_at=4)
    rig.run()
    assert sink.text == "2 3 "
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("stop",)
    assert rig.backends["fake"].rows == []


def test_zero_tokens_finish_with_length_and_no_text() -> None:
    rig = Rig()
    _, sink = rig.add([1, 2], max_tokens=0)
    rig.run()
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("length",)
    assert sink.finished.usage.completion_tokens == 0
    assert rig.backends["fake"].steps == 0


def test_n_choices_share_one_prefill() -> None:
    rig = Rig(prefill_step_size=100)
    generation, sink = rig.add([1, 2, 3], n=3, max_tokens=2)
    rig.run()
    assert [prefill[0] for prefill in rig.backends["fake"].prefills] == [generation.sequences[0].row]
    assert sorted(delta.index for delta in sink.deltas if isinstance(delta, TextDelta)) == [0, 0, 1, 1, 2, 2]
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("length", "length", "length")
    assert sink.finished.usage.prompt_tokens == 3


def test_a_choice_that_ends_early_leaves_the_others_running() -> None:
    endings = iter([[5, FAKE_EOS], [5, 6, 7, 8]])
    rig = Rig(make=lambda info: FakeBackend(answer=lambda prompt, sampling: iter(next(endings))))
    _, sink = rig.add([1], n=2, max_tokens=4)
    rig.run()
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("stop", "length")


def test_more_choices_than_rows_run_alone() -> None:
    rig = Rig(max_rows=2)
    _, first = rig.add([1], max_tokens=2)
    _, wide = rig.add([1], n=5, max_tokens=2)
    rig.run()
    assert first.finished is not None
    assert wide.finished is not None


def test_a_long_prompt_is_prefilled_in_chunks_between_decode_steps() -> None:
    rig = Rig(prefill_step_size=4)
    _, short = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(short.text))
    backend = rig.backends["fake"]
    before = backend.steps
    _, long = rig.add(list(range(1, 41)), max_tokens=1)
    rig.step_until(lambda: long.finished is not None)
    assert len(backend.prefills) == 1 + 10
    assert backend.steps - before >= 10, "every chunk waited for a decode step"


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    rig = Rig(prefill_step_size=1)
    _, long = rig.add(list(range(1, 101)))
    rig.scheduler.step()
    _, short = rig.add([1, 2], max_tokens=1)
    rig.step_until(lambda: short.finished is not None)
    assert long.text == ""
    assert len(rig.backends["fake"].prefills) < 10


def test_requests_beyond_the_rows_wait_their_turn() -> None:
    rig = Rig(max_rows=2)
    sinks = [rig.add([10 * number], max_tokens=3)[1] for number in (1, 2, 3)]
    rig.scheduler.step()
    rig.scheduler.step()
    assert repr(rig.scheduler) == "<Scheduler [2 running | 1 waiting]>"
    rig.run()
    assert all(sink.finished for sink in sinks)


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    rig = Rig(max_rows=1, max_queue=2)
    rig.add([1], max_tokens=100)
    rig.step_until(lambda: repr(rig.scheduler) == "<Scheduler [1 running | 0 waiting]>")
    rig.add([2])
    rig.add([3])
    with pytest.raises(QueueFull) as caught:
        rig.add([4])
    assert caught.value.retry_after >= 1


def test_a_burst_may_fill_free_rows_and_the_queue() -> None:
    rig = Rig(max_rows=3, max_queue=2)
    for number in range(5):
        rig.add([number])
    with pytest.raises(QueueFull):
        rig.add([6])


@pytest.mark.parametrize("phase", ["queue", "load", "prefill", "decode"])
def test_an_abort_takes_effect_in_every_phase(phase: str) -> None:
    rig = Rig(max_rows=1, prefill_step_size=1, make=lambda info: FakeBackend(load_steps=3))
    if phase == "queue":
        _, other = rig.add([1], max_tokens=100)
        rig.step_until(lambda: bool(other.text))
    generation, sink = rig.add([1, 2, 3], max_tokens=100)
    rig.step_until(lambda: generation.phase == phase)
    rig.scheduler.abort(generation)
    seen = len(sink.deltas)
    for _ in range(3):
        rig.scheduler.step()
    assert len(sink.deltas) == seen
    assert not set(generation.rows) & set(rig.backends["fake"].rows)
    assert generation.phase == "done"


def test_an_abort_frees_the_row_for_who_waits() -> None:
    rig = Rig(max_rows=1)
    first, _ = rig.add([1], max_tokens=1000)
    _, second = rig.add([2], max_tokens=2)
    rig.step_until(lambda: first.phase == "decode")
    rig.scheduler.abort(first)
    rig.run()
    assert second.text == "3 4 "


def test_aborting_twice_or_after_the_end_is_harmless() -> None:
    rig = Rig()
    generation, sink = rig.add([1], max_tokens=1)
    rig.run()
    rig.scheduler.abort(generation)
    rig.scheduler.abort(generation)
    assert sink.finished is not None
    assert rig.models.resident()[0].active == 0


def test_aborting_during_the_load_gives_the_load_up() -> None:
    rig = Rig(make=lambda info: FakeBackend(load_steps=5))
    generation, _ = rig.add([1])
    rig.scheduler.step()
    rig.scheduler.abort(generation)
    assert rig.backends["fake"].is_closed
    assert not rig.scheduler.has_work


def test_two_models_take_turns() -> None:
    rig = Rig()
    _, a = rig.add([1], max_tokens=30, info=fake_info("a"))
    _, b = rig.add([1], max_tokens=30, info=fake_info("b"))
    rig.step_until(lambda: len(a.deltas) > 10)
    assert abs(len(a.deltas) - len(b.deltas)) <= 3
    rig.run()


def test_a_running_model_answers_while_another_loads() -> None:
    rig = Rig(make=lambda info: FakeBackend(load_steps=20 if info.name == "slow" else 1))
    _, quick = rig.add([1], max_tokens=100, info=fake_info("quick"))
    rig.step_until(lambda: bool(quick.text))
    before = len(quick.deltas)
    generation, _ = rig.add([1], info=fake_info("slow"))
    rig.step_until(lambda: generation.phase in ("prefill", "decode"))
    assert len(quick.deltas) - before >= 15


def test_a_request_of_a_loaded_model_passes_one_whose_model_loads() -> None:
    rig = Rig(make=lambda info: FakeBackend(load_steps=50 if info.name == "slow" else 1))
    _, warm = rig.add([1], info=fake_info("quick"))
    rig.run()
    rig.add([1], info=fake_info("slow"))
    _, passing = rig.add([1], info=fake_info("quick"))
    rig.step_until(lambda: passing.finished is not None)
    assert rig.models.loading is not None
    assert warm.finished is not None


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

    def open_badly(info: ModelInfo) -> FakeBackend:
        backend = FakeBackend()
        backend.failures["load_step"] = ValueError("Model type bad not supported.")
        return backend

    rig._make = open_badly
    step_and_fail(rig, lambda: bad.error is not None)
    assert isinstance(bad.error, ModelLoadFailed)
    assert "Model type bad not supported." in bad.error.message
    rig.run()
    assert good.finished is not None
    assert "requests failed" in caplog.text


def test_a_failing_decode_step_fails_its_model_and_the_next_request_works(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    _, first = rig.add([1], max_tokens=50)
    rig.step_until(lambda: bool(first.text))
    rig.backends["fake"].failures["step"] = RuntimeError("broken")
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
    rig.backends["fake"].failures["prefill"] = RuntimeError("broken")
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
    rig.backends["fake"].failures["step"] = RuntimeError("[metal::malloc] Attempting to allocate 99 bytes")
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


def test_who_waits_hears_a_heartbeat_each_second() -> None:
    rig = Rig(max_rows=1, prefill_step_size=1, make=lambda info: FakeBackend(weights_nbytes=1000, load_steps=4))
    _, first = rig.add([1] * 50)
    _, second = rig.add([2])
    for _ in range(20):
        rig.clock.advance(0.5)
        rig.scheduler.step()
    beats = [delta for delta in first.deltas if isinstance(delta, Progress)]
    assert beats[0].phase == "load"
    assert beats[0] == Progress("load", 500, 1000)
    assert beats[-1].phase == "prefill"
    assert 0 < beats[-1].done < beats[-1].total == 50
    assert len(beats) == 10
    assert any(delta == Progress("queue", 0, 1) for delta in second.deltas)


def test_timings_account_for_load_prefill_and_decode() -> None:
    rig = Rig(prefill_step_size=1, make=lambda info: FakeBackend(load_steps=3))
    _, sink = rig.add([1, 2, 3], max_tokens=4)
    while rig.scheduler.has_work:
        rig.clock.advance(1.0)
        rig.scheduler.step()
    assert sink.finished is not None
    timings = sink.finished.timings
    assert timings.load_ns > 0
    assert timings.prefill_ns > 0
    assert timings.decode_ns == 3_000_000_000
    assert timings.total_ns >= timings.load_ns + timings.prefill_ns + timings.decode_ns


def test_the_context_is_prompt_and_completion_when_asked_for() -> None:
    rig = Rig()
    _, asked = rig.add([5, 6], max_tokens=2, return_context=True)
    _, unasked = rig.add([5, 6], max_tokens=2)
    rig.run()
    assert asked.finished is not None
    assert unasked.finished is not None
    assert asked.finished.context == (5, 6, 7, 8)
    assert unasked.finished.context == ()


def test_a_model_is_unloaded_right_after_a_request_with_keep_alive_zero() -> None:
    rig = Rig()
    _, sink = rig.add([1], keep_alive=0.0)
    rig.run()
    assert sink.finished is not None
    assert rig.backends["fake"].is_closed


def test_log_probabilities_reach_the_deltas() -> None:
    rig = Rig()
    _, sink = rig.add([1], max_tokens=1, sampling=RowSampling(top_logprobs=2))
    rig.run()
    (delta,) = [delta for delta in sink.deltas if isinstance(delta, TextDelta)]
    (logprob,) = delta.logprobs
    assert (logprob.token, logprob.logprob, logprob.token_bytes) == ("2 ", -0.5, b"2 ")
    assert [top.token for top in logprob.top] == ["2 ", "3 "]


def step_and_fail(rig: Rig, condition: Callable[[], bool]) -> None:
    """Step as the engine does, which hands every exception to fail()."""

    def turn() -> bool:
        try:
            rig.scheduler.step()
        except (RuntimeError, ValueError) as error:
            rig.scheduler.fail(error)
        return condition()

    assert any(turn() for _ in range(200))


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
        st.tuples(st.just("fail"), st.sampled_from(["load_step", "prefill", "step"])),
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
            list(rig.backends.values())[-1].failures[values[0]] = RuntimeError("as told")
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
