"""The scheduler with fake backends: the life of a request."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.errors import QueueFull
from pico_jupyter.types import Accepted, Progress, TextDelta
from tests.engine.scheduling.scheduler_rig import EPOCH, Rig
from tests.fakes.backend import FAKE_EOS, FakeBackend, fake_info


def test_a_request_is_accepted_answered_and_finished() -> None:
    rig = Rig()
    _, sink = rig.add([10, 20], max_tokens=3)
    rig.run()
    assert sink.deltas[0] == Accepted("fake", 2, False)
    assert sink.text == "21 22 23 "
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("length",)
    assert (sink.finished.usage.prompt_tokens, sink.finished.usage.completion_tokens) == (2, 3)


def test_accepted_is_sent_before_the_model_is_loaded() -> None:
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


def test_the_end_token_ends_the_answer_and_is_not_text() -> None:
    rig = Rig(make=lambda info, prefixes: FakeBackend(answer=lambda prompt, sampling: iter([7, 8, FAKE_EOS])))
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


def test_max_tokens_0_finishes_with_length_and_no_text() -> None:
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
    rig = Rig(make=lambda info, prefixes: FakeBackend(answer=lambda prompt, sampling: iter(next(endings))))
    _, sink = rig.add([1], n=2, max_tokens=4)
    rig.run()
    assert sink.finished is not None
    assert sink.finished.finish_reasons == ("stop", "length")


def test_a_request_with_more_choices_than_rows_runs_alone() -> None:
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
    assert backend.steps - before >= 10, "a decode step ran between two chunks"


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    rig = Rig(prefill_step_size=1)
    _, long = rig.add(list(range(1, 101)))
    rig.scheduler.step()
    _, short = rig.add([1, 2], max_tokens=1)
    rig.step_until(lambda: short.finished is not None)
    assert long.text == ""
    assert len(rig.backends["fake"].prefills) < 10


def test_requests_beyond_the_rows_wait() -> None:
    rig = Rig(max_rows=2)
    sinks = [rig.add([10 * number], max_tokens=3)[1] for number in (1, 2, 3)]
    rig.scheduler.step()
    rig.scheduler.step()
    assert repr(rig.scheduler) == "<Scheduler [2 running | 1 waiting]>"
    rig.run()
    assert all(sink.finished for sink in sinks)


def test_a_full_queue_raises_with_a_retry_time() -> None:
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
    rig = Rig(max_rows=1, prefill_step_size=1, make=lambda info, prefixes: FakeBackend(load_steps=3))
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


def test_an_abort_frees_the_row_for_a_waiting_request() -> None:
    rig = Rig(max_rows=1)
    first, _ = rig.add([1], max_tokens=1000)
    _, second = rig.add([2], max_tokens=2)
    rig.step_until(lambda: first.phase == "decode")
    rig.scheduler.abort(first)
    rig.run()
    assert second.text == "3 4 "


def test_aborting_twice_or_after_the_end_does_nothing() -> None:
    rig = Rig()
    generation, sink = rig.add([1], max_tokens=1)
    rig.run()
    rig.scheduler.abort(generation)
    rig.scheduler.abort(generation)
    assert sink.finished is not None
    assert rig.models.resident()[0].active == 0


def test_the_tokens_of_an_aborted_answer_are_counted() -> None:
    rig = Rig()
    assert (rig.scheduler.statistics.decoded_tokens, rig.scheduler.statistics.decoded_at) == (0, 0.0)
    generation, _ = rig.add([1], max_tokens=1000)
    rig.step_until(lambda: len(generation.sequences[0].tokens) == 5)
    stopped = rig.clock()
    rig.scheduler.abort(generation)
    rig.clock.advance(60.0)
    rig.scheduler.step()
    assert rig.scheduler.statistics.decoded_tokens == 5
    assert rig.scheduler.statistics.decoded_at == EPOCH + stopped


def test_aborting_during_a_load_cancels_the_load() -> None:
    rig = Rig(make=lambda info, prefixes: FakeBackend(load_steps=5))
    generation, _ = rig.add([1])
    rig.scheduler.step()
    rig.scheduler.abort(generation)
    assert rig.backends["fake"].is_closed
    assert not rig.scheduler.has_work


def test_two_models_alternate() -> None:
    rig = Rig()
    _, a = rig.add([1], max_tokens=30, info=fake_info("a"))
    _, b = rig.add([1], max_tokens=30, info=fake_info("b"))
    rig.step_until(lambda: len(a.deltas) > 10)
    assert abs(len(a.deltas) - len(b.deltas)) <= 3
    rig.run()


def test_a_running_model_answers_while_another_loads() -> None:
    rig = Rig(make=lambda info, prefixes: FakeBackend(load_steps=20 if info.name == "slow" else 1))
    _, quick = rig.add([1], max_tokens=100, info=fake_info("quick"))
    rig.step_until(lambda: bool(quick.text))
    before = len(quick.deltas)
    generation, _ = rig.add([1], info=fake_info("slow"))
    rig.step_until(lambda: generation.phase in ("prefill", "decode"))
    assert len(quick.deltas) - before >= 15


def test_a_request_of_a_loaded_model_overtakes_one_whose_model_is_loading() -> None:
    rig = Rig(make=lambda info, prefixes: FakeBackend(load_steps=50 if info.name == "slow" else 1))
    _, warm = rig.add([1], info=fake_info("quick"))
    rig.run()
    rig.add([1], info=fake_info("slow"))
    _, passing = rig.add([1], info=fake_info("quick"))
    rig.step_until(lambda: passing.finished is not None)
    assert rig.models.loading is not None
    assert warm.finished is not None


def test_a_waiting_request_gets_progress_each_second() -> None:
    rig = Rig(
        max_rows=1, prefill_step_size=1, make=lambda info, prefixes: FakeBackend(weights_nbytes=1000, load_steps=4)
    )
    _, first = rig.add([1] * 50)
    _, second = rig.add([2])
    for _ in range(20):
        rig.clock.advance(0.5)
        rig.scheduler.step()
    reports = [delta for delta in first.deltas if isinstance(delta, Progress)]
    assert reports[0].phase == "load"
    assert reports[0] == Progress("load", 500, 1000)
    assert reports[-1].phase == "prefill"
    assert 0 < reports[-1].done < reports[-1].total == 50
    assert len(reports) == 10
    assert any(delta == Progress("queue", 0, 1) for delta in second.deltas)


def test_timings_cover_load_prefill_and_decode() -> None:
    rig = Rig(prefill_step_size=1, make=lambda info, prefixes: FakeBackend(load_steps=3))
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
