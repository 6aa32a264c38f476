"""Admission and preemption by memory: the scheduler evicts, waits, refuses, and preempts the newest request."""

from __future__ import annotations

import pytest

from pico_jupyter.errors import OutOfMemory, QueueFull
from pico_jupyter.types import ModelInfo, Progress
from tests.engine.scheduling.scheduler_rig import Rig
from tests.fakes.backend import FakeBackend, FakePrefixes, fake_info


def growing(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
    """A model that underestimates the memory of its rows, so that they outgrow what was reserved."""

    class Growing(FakeBackend):
        def estimate_cache(self, tokens: int) -> int:
            return 10

    return Growing(weights_nbytes=info.size, bytes_per_token=10, prefixes=prefixes)


def test_a_model_without_memory_waits_for_the_running_one() -> None:
    rig = Rig(budget=1500)
    _, running = rig.add([1], max_tokens=5, info=fake_info("a"))
    _, waiting = rig.add([1], max_tokens=1, info=fake_info("b"))
    _, later = rig.add([1], max_tokens=1, info=fake_info("a"))
    rig.step_until(lambda: running.finished is not None)
    assert rig.opened == ["a"]
    assert later.text == "", "a later request does not keep the model busy"
    rig.run()
    assert rig.opened == ["a", "b", "a"]
    assert waiting.finished is not None
    assert later.finished is not None


def test_no_request_is_admitted_while_running_caches_use_most_of_the_memory() -> None:
    rig = Rig(budget=1220, prefill_step_size=1000)
    _, long = rig.add([1] * 200, max_tokens=20)
    rig.step_until(lambda: bool(long.text))
    generation, waiting = rig.add([1], max_tokens=1)
    rig.scheduler.step()
    assert generation.phase == "queue"
    rig.run()
    assert long.finished is not None
    assert waiting.finished is not None


def test_the_error_for_a_model_that_never_fits_names_the_sizes() -> None:
    rig = Rig(budget=1500)
    _, sink = rig.add([1], info=fake_info("huge", size=2_000_000_000))
    rig.run()
    assert isinstance(sink.error, OutOfMemory)
    assert "huge needs 2.0 GB, and the memory budget is 1.5 kB" in sink.error.message
    assert "memory_budget" in sink.error.message


def test_a_request_waits_for_memory_for_its_prompt() -> None:
    rig = Rig(budget=1000 + 1000, prefill_step_size=1000)
    first, _ = rig.add([1] * 500, max_tokens=20)
    second, _ = rig.add([2] * 500, max_tokens=20)
    rig.step_until(lambda: first.phase == "decode")
    assert second.phase == "queue"
    rig.run()
    assert second.phase == "done"
    assert second.cached_tokens is not None


def test_memory_is_reserved_for_all_admitted_prompts() -> None:
    rig = Rig(budget=1000 + 1000, prefill_step_size=1)
    generations = [rig.add([number] * 300, max_tokens=10)[0] for number in range(1, 5)]
    rig.step_until(lambda: generations[0].phase == "prefill")
    assert [one.phase for one in generations] == ["prefill", "prefill", "queue", "queue"]


def test_prefixes_are_evicted_for_a_request() -> None:
    rig = Rig(budget=1000 + 1000, prefill_step_size=1000)
    rig.add([1] * 600, max_tokens=1)
    rig.run()
    assert rig.prefixes.nbytes >= 600
    _, sink = rig.add([2] * 700, max_tokens=1)
    rig.run()
    assert sink.finished
    assert rig.models.used_bytes <= 2000


def test_idle_models_are_unloaded_for_a_request() -> None:
    rig = Rig(budget=1000 + 1000 + 300)
    rig.add([1], info=fake_info("idle"), max_tokens=1)
    rig.run()
    _, sink = rig.add([2] * 700, max_tokens=1)
    rig.run()
    assert sink.finished
    assert rig.backends["idle"].is_closed


def test_a_request_that_can_never_fit_fails_at_once() -> None:
    rig = Rig(budget=1000 + 1000)
    _, running = rig.add([1], max_tokens=30)
    rig.step_until(lambda: bool(running.text))
    _, sink = rig.add([2] * 1200, max_tokens=10)
    rig.scheduler.step()
    assert isinstance(sink.error, OutOfMemory)
    assert "this request needs" in sink.error.message
    assert "memory_budget" in sink.error.message
    rig.run()
    assert running.finished


def test_a_request_that_runs_alone_may_use_all_the_memory() -> None:
    rig = Rig(budget=1000 + 1000, prefill_step_size=1000)
    _, sink = rig.add([1] * 950, max_tokens=10)
    rig.run()
    assert sink.finished


def test_prefixes_are_evicted_before_a_request_is_preempted() -> None:
    rig = Rig(budget=2000, make=growing)
    rig.add([1] * 30, max_tokens=1)
    rig.run()
    _, sink = rig.add([2], max_tokens=70)
    rig.run()
    assert sink.finished
    assert rig.scheduler.statistics.preemptions == 0
    assert rig.models.used_bytes <= 2000


def test_the_newest_request_is_preempted_and_continues_later() -> None:
    rig = Rig(budget=2000, make=growing)
    old, _ = rig.add([1], max_tokens=80)
    new, _ = rig.add([1000], max_tokens=80)
    rig.step_until(lambda: new.phase == "queue" and bool(new.sequences[0].tokens))
    assert old.phase == "decode"
    assert rig.scheduler.statistics.preemptions == 1
    assert repr(rig.scheduler._admission) == "<Admission paused>"
    assert repr(rig.scheduler._lifecycle) == "<Lifecycle [1 running | 1 waiting]>"
    assert repr(rig.scheduler._recovery) == "<Recovery <Lifecycle [1 running | 1 waiting]>>"
    assert not set(new.rows) & set(rig.backends["fake"].rows)
    rig.run(1000)
    assert old.sequences[0].tokens == list(range(2, 82))
    assert new.sequences[0].tokens == list(range(1001, 1081))


def test_a_preempted_request_receives_nothing_about_it() -> None:
    rig = Rig(budget=2000, make=growing, queue_timeout=5.0)
    rig.add([1], max_tokens=80)
    new, sink = rig.add([1000], max_tokens=80)
    rig.step_until(lambda: new.phase == "queue" and bool(new.sequences[0].tokens))
    for _ in range(10):
        rig.clock.advance(1.0)
        rig.scheduler.step()
    assert sink.count(Progress) == 0
    rig.run(1000)
    assert sink.finished
    assert sink.finished.usage.completion_tokens == 80
    assert sink.finished.usage.cached_tokens == 0


def test_each_choice_of_a_preempted_request_continues() -> None:
    rig = Rig(budget=2000, make=growing)
    rig.add([1], max_tokens=70)
    pair, sink = rig.add([1000], n=2, max_tokens=40)
    rig.step_until(lambda: pair.phase == "queue" and bool(pair.sequences[0].tokens))
    rig.run(1000)
    assert [sequence.tokens for sequence in pair.sequences] == [list(range(1001, 1041))] * 2
    assert sink.finished


def test_a_request_that_runs_alone_is_never_preempted() -> None:
    rig = Rig(budget=1500, make=growing)
    _, sink = rig.add([1], max_tokens=100)
    rig.run()
    assert sink.finished
    assert rig.scheduler.statistics.preemptions == 0


def test_a_request_runs_without_a_draft_model_that_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(budget=1800)
    _, sink = rig.add([1], max_tokens=3, draft=fake_info("small"))
    rig.run()
    assert sink.text == "2 3 4 "
    assert rig.opened == ["fake"]
    assert "fake runs without its draft model small" in caplog.text
    assert [model.active for model in rig.models.resident()] == [0]


def test_a_request_that_waits_too_long_fails_with_a_retry_time() -> None:
    rig = Rig(max_rows=1, queue_timeout=30.0)
    rig.add([1], max_tokens=1000)
    _, sink = rig.add([2])
    rig.scheduler.step()
    rig.clock.advance(31)
    rig.scheduler.step()
    assert isinstance(sink.error, QueueFull)
    assert sink.error.retry_after >= 1


def test_the_statistics_show_the_load_of_the_engine() -> None:
    rig = Rig(max_rows=2)
    rig.add([7, 8, 9], max_tokens=1)
    rig.run()
    rig.add([1], n=2, max_tokens=100)
    rig.add([2])
    rig.scheduler.step()
    statistics = rig.scheduler.statistics
    assert (statistics.running, statistics.waiting) == (2, 1)
    assert statistics.prefix_cache_bytes == 3
    assert statistics.resident_bytes == rig.models.used_bytes >= 1000
