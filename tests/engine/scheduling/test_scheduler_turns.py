"""Shares of the time: of models, of long and short prompts, and of prompts with the same beginning."""

from __future__ import annotations

from collections.abc import Callable

from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.types import ModelInfo, Progress
from tests.engine.scheduling.scheduler_rig import Rig
from tests.fakes.backend import FakeBackend, FakePrefixes, fake_info

SYSTEM = list(range(5000, 5400))


def timed(
    rig_of: Callable[[], Rig], *, prefill: float = 0.0, steps: dict[str, float] | None = None
) -> Callable[[ModelInfo, FakePrefixes], FakeBackend]:
    """Backends that need `prefill` seconds for a token, and the `steps` seconds of their model for a step."""

    def make(info: ModelInfo, prefixes: FakePrefixes) -> FakeBackend:
        return FakeBackend(
            prefixes=prefixes,
            on_prefill=lambda tokens: rig_of().clock.advance(prefill * tokens),
            on_step=lambda: rig_of().clock.advance((steps or {}).get(info.name, 0.01)),
        )

    return make


def test_models_get_equal_time_and_not_equal_turns() -> None:
    rig: Rig
    rig = Rig(make=timed(lambda: rig, steps={"slow": 0.05, "quick": 0.01}))
    slow, _ = rig.add([1], max_tokens=10_000, info=fake_info("slow"))
    quick, _ = rig.add([1], max_tokens=10_000, info=fake_info("quick"))
    rig.step_until(lambda: len(slow.sequences[0].tokens) >= 20)
    assert 80 <= len(quick.sequences[0].tokens) <= 120


def test_a_new_model_gets_turns_at_once_and_no_time_for_the_past() -> None:
    rig: Rig
    rig = Rig(make=timed(lambda: rig))
    old, _ = rig.add([1], max_tokens=10_000, info=fake_info("old"))
    rig.step_until(lambda: len(old.sequences[0].tokens) >= 100)
    new, _ = rig.add([1], max_tokens=10_000, info=fake_info("new"))
    rig.step_until(lambda: bool(new.sequences[0].tokens))
    before = len(old.sequences[0].tokens)
    assert before <= 110
    rig.step_until(lambda: len(new.sequences[0].tokens) >= 50)
    assert 40 <= len(old.sequences[0].tokens) - before <= 60


def test_one_slow_step_delays_the_next_turns_of_a_model_only_briefly() -> None:
    rig: Rig
    rig = Rig(make=timed(lambda: rig))
    first, _ = rig.add([1], max_tokens=10_000, info=fake_info("first"))
    other, _ = rig.add([1], max_tokens=10_000, info=fake_info("other"))
    rig.step_until(lambda: bool(first.sequences[0].tokens and other.sequences[0].tokens))
    rig.backends["first"]._on_step = lambda: rig.clock.advance(60.0)
    seen = len(first.sequences[0].tokens)
    rig.step_until(lambda: len(first.sequences[0].tokens) > seen)
    rig.backends["first"]._on_step = lambda: rig.clock.advance(0.01)
    before = len(other.sequences[0].tokens)
    rig.step_until(lambda: len(first.sequences[0].tokens) > seen + 1)
    assert len(other.sequences[0].tokens) - before <= 30


def test_a_long_prompt_never_delays_the_others_for_long() -> None:
    rig: Rig
    rig = Rig(prefill_step_size=2048, make=timed(lambda: rig, prefill=0.0005))
    stream, _ = rig.add([1], max_tokens=10_000)
    rig.step_until(lambda: bool(stream.sequences[0].tokens))
    long, _ = rig.add([2] * 9000, max_tokens=1)
    gaps = []
    while long.phase != "done":
        before = rig.clock()
        rig.scheduler.step()
        gaps.append(rig.clock() - before)
    assert max(gaps) <= 0.2
    assert len(gaps) <= 9000 * 0.0005 / 0.1 * 2


def test_a_short_request_is_answered_during_a_long_prefill() -> None:
    rig: Rig
    rig = Rig(prefill_step_size=2048, make=timed(lambda: rig, prefill=0.0005))
    long, _ = rig.add([2] * 9000, max_tokens=1)
    rig.step_until(lambda: long.prefilled > 1000)
    began = rig.clock()
    short, _ = rig.add([1] * 40, max_tokens=2)
    rig.step_until(lambda: bool(short.sequences[0].tokens))
    assert rig.clock() - began <= 0.6
    assert long.phase == "prefill"


def test_several_short_prompts_share_one_chunk() -> None:
    rig = Rig(prefill_step_size=2048, max_rows=8)
    stream, _ = rig.add([1], max_tokens=1000)
    rig.step_until(lambda: bool(stream.sequences[0].tokens))
    generations = [rig.add([number] * 20)[0] for number in range(2, 5)]
    rig.scheduler.step()
    assert [generation.phase for generation in generations] == ["decode"] * 3


def test_a_shared_beginning_is_prefilled_once() -> None:
    rig = Rig(prefill_step_size=2048, max_rows=8)
    sinks = [rig.add([*SYSTEM, number], max_tokens=2)[1] for number in range(1, 9)]
    rig.run()
    assert [sink.text for sink in sinks] == [f"{number + 1} {number + 2} " for number in range(1, 9)]
    assert rig.backends["fake"].computed <= len(SYSTEM) + 8
    cached = [sink.finished.usage.cached_tokens for sink in sinks if sink.finished]
    assert cached == [0, *[len(SYSTEM)] * 7]


def test_aborting_a_leader_changes_no_token_of_its_followers() -> None:
    rig = Rig(prefill_step_size=64)
    leader, _ = rig.add([*SYSTEM, 1])
    _, follower = rig.add([*SYSTEM, 2])
    rig.scheduler.step()
    rig.scheduler.step()
    rig.scheduler.abort(leader)
    rig.run()
    assert follower.text == "3 4 5 "
    assert follower.finished
    assert follower.finished.usage.cached_tokens >= 64, "the computed tokens of an aborted prompt are cached"


def test_a_follower_may_be_aborted_while_it_waits() -> None:
    rig = Rig(prefill_step_size=64)
    _, leader = rig.add([*SYSTEM, 1])
    follower, _ = rig.add([*SYSTEM, 2])
    _, last = rig.add([*SYSTEM, 3])
    rig.scheduler.step()
    rig.scheduler.step()
    rig.scheduler.abort(follower)
    rig.run()
    assert leader.text == "2 3 4 "
    assert last.text == "4 5 6 "


def test_the_next_turn_of_a_conversation_reuses_the_last_one() -> None:
    rig = Rig()
    _, first = rig.add([1, 2, 3, 4, 5], max_tokens=3, return_context=True)
    rig.run()
    assert first.finished
    _, second = rig.add([*first.finished.context, 9], max_tokens=1)
    rig.run()
    assert second.finished
    assert second.finished.usage.cached_tokens == 7


def test_cached_tokens_are_counted_once_for_several_choices() -> None:
    rig = Rig()
    rig.add([1, 2, 3, 4], max_tokens=1)
    rig.run()
    _, sink = rig.add([1, 2, 3, 9], n=3, max_tokens=1)
    rig.run()
    assert sink.finished
    assert sink.finished.usage.cached_tokens == 3


def test_progress_includes_cached_tokens() -> None:
    rig = Rig(prefill_step_size=1)
    rig.add([1] * 30, max_tokens=1)
    rig.run()
    _, sink = rig.add([*[1] * 30, *range(2, 60)], max_tokens=1)
    rig.scheduler.step()
    rig.clock.advance(1.5)
    rig.scheduler.step()
    (report,) = [delta for delta in sink.deltas if isinstance(delta, Progress)]
    assert report.phase == "prefill"
    assert 30 <= report.done < report.total == 88


def test_a_draft_model_is_used() -> None:
    rig = Rig()
    _, sink = rig.add([1], max_tokens=6, draft=fake_info("small"))
    rig.run()
    assert sink.text == "2 3 4 5 6 7 "
    assert rig.backends["fake"].steps == 2, "each step returns four tokens"
    assert sorted(rig.opened) == ["fake", "small"]
    assert [model.active for model in rig.models.resident()] == [0, 0]


def test_a_draft_model_is_not_unloaded_while_it_has_rows() -> None:
    rig = Rig(budget=2500)
    generation, _ = rig.add([1], max_tokens=100, draft=fake_info("small"))
    rig.step_until(lambda: bool(generation.sequences[0].tokens))
    rig.models.unload("small")
    _, other = rig.add([1], info=fake_info("other"))
    rig.scheduler.step()
    assert rig.backends["fake"].drafted
    assert not rig.backends["small"].is_closed
    rig.run()
    assert rig.backends["small"].is_closed, "the unload happens after the last row"
    assert other.finished


def test_a_row_uses_its_own_seed() -> None:
    rig = Rig()
    _, sink = rig.add([1], sampling=RowSampling(seed=10))
    rig.run()
    assert sink.text == "12 13 14 "
