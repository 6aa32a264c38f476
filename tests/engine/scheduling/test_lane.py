"""The prompts of one model: leaders, followers and turns."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.memory.model_manager import ManagedModel
from pico_jupyter.engine.scheduling.chunk_sizer import ChunkSizer
from pico_jupyter.engine.scheduling.lane import Lane, PrefillTask
from pico_jupyter.engine.scheduling.sequence import Generation, Sequence, Timestamps
from tests.engine.scheduling.scheduler_rig import GREEDY
from tests.fakes.backend import FakeBackend, FakeParser, FakeVocabulary, ListSink, fake_info


class Rig:
    """A lane with a fake model."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.lane = Lane(ManagedModel(fake_info(), self.backend, 0, 0.0, 0.0, 0.0, 0.0), ChunkSizer(2048))
        self._rows = iter(range(1, 100))

    def add(self, prompt: list[int]) -> PrefillTask:
        (task,) = self.lane.add(
            Generation(
                id="g",
                info=fake_info(),
                prompt=prompt,
                max_tokens=9,
                reasoning=False,
                sequences=[Sequence(next(self._rows), 0, GREEDY, FakeParser())],
                vocabulary=FakeVocabulary(),
                keep_alive=0.0,
                sink=ListSink(),
                times=Timestamps(0.0),
            )
        )
        self.lane.insert(task, None)
        return task

    def compute(self, task: PrefillTask, tokens: int) -> None:
        self.lane.advance(task, self.backend.prefill([task.row], tokens)[task.row])


LONG = list(range(1000, 1200))


def test_a_prompt_waits_for_an_earlier_one_with_the_same_beginning() -> None:
    rig = Rig()
    leader, follower = rig.add([*LONG, 1, 2]), rig.add([*LONG, 3, 4])
    assert leader.is_inserted
    assert (follower.is_inserted, follower.leader, follower.shared) == (False, leader, 200)
    assert rig.lane.row_count == 2, "a follower has its row"


def test_a_follower_is_ready_when_the_shared_tokens_are_computed() -> None:
    rig = Rig()
    leader, follower = rig.add([*LONG, *range(100)]), rig.add([*LONG, 3, 4])
    rig.compute(leader, 199)
    assert rig.lane.ready_followers() == []
    rig.compute(leader, 1)
    assert rig.lane.ready_followers() == [follower]
    rig.lane.insert(follower, None)
    assert follower.generation.cached_tokens == 200
    assert follower.remaining == 1


def test_a_follower_is_ready_when_its_leader_is_removed() -> None:
    rig = Rig()
    leader, follower = rig.add([*LONG, 1]), rig.add([*LONG, 2])
    rig.lane.remove(leader.generation)
    rig.backend.remove([leader.row], keep=False)
    assert rig.lane.ready_followers() == [follower]
    rig.lane.insert(follower, None)
    assert follower.is_inserted
    assert follower.generation.cached_tokens == 0


def test_a_follower_may_lead_another() -> None:
    rig = Rig()
    first = rig.add([*LONG, 1])
    second = rig.add([*LONG, *LONG, 2])
    third = rig.add([*LONG, *LONG, 3])
    assert (second.leader, third.leader, third.shared) == (first, second, 400)
    rig.compute(first, 1000)
    for task in rig.lane.ready_followers():
        rig.lane.insert(task, None)
    assert second.is_inserted
    assert not third.is_inserted
    rig.compute(second, 1000)
    (ready,) = rig.lane.ready_followers()
    rig.lane.insert(ready, None)
    assert third.generation.cached_tokens == 400


@pytest.mark.parametrize("shared", [0, 31])
def test_no_prompt_waits_for_a_short_common_beginning(shared: int) -> None:
    rig = Rig()
    rig.add([*LONG[:shared], 1, *range(50)])
    assert rig.add([*LONG[:shared], 2, *range(50)]).is_inserted


def test_no_prompt_waits_for_cached_tokens() -> None:
    rig = Rig()
    first = rig.add([*LONG, 1])
    rig.compute(first, 1000)
    rig.backend.remove([first.row], keep=True)
    rig.add([*LONG, 5, 6])
    follower = rig.add([*LONG, 7, 8])
    assert follower.is_inserted
    assert follower.generation.cached_tokens == 200


def test_tokens_that_an_earlier_prompt_has_computed_are_used_at_once() -> None:
    rig = Rig()
    ahead = rig.add([*LONG, *range(500)])
    rig.compute(ahead, 250)
    late = rig.add([*LONG, 7])
    assert late.is_inserted
    assert late.generation.cached_tokens == 200


def test_equal_prompts_each_compute_their_last_token() -> None:
    rig = Rig()
    first, second = rig.add(LONG), rig.add(LONG)
    assert second.shared == 199
    rig.compute(first, 1000)
    (ready,) = rig.lane.ready_followers()
    rig.lane.insert(ready, None)
    assert second.remaining == 0


def test_prompts_alternate_and_followers_have_no_turn() -> None:
    rig = Rig()
    leader, _, other = rig.add([*LONG, 1]), rig.add([*LONG, 2]), rig.add([7] * 100)
    turns = []
    for _ in range(4):
        (task,) = rig.lane.next_prefills(10)
        turns.append(task)
        rig.compute(task, 10)
    assert turns == [leader, other, leader, other]


def test_short_prompts_are_computed_together() -> None:
    rig = Rig()
    one, two, long = rig.add([1] * 20), rig.add([2] * 20), rig.add(LONG)
    assert rig.lane.next_prefills(64) == [one, two]
    rig.compute(one, 64)
    rig.compute(two, 64)
    assert rig.lane.next_prefills(64) == [long]


def test_a_prompt_that_failed_before_is_computed_alone() -> None:
    rig = Rig()
    failed, other = rig.add([1] * 20), rig.add([2] * 20)
    failed.generation.failures = 1
    assert rig.lane.next_prefills(64) == [failed]
    rig.compute(failed, 64)
    assert rig.lane.next_prefills(64) == [other]


def test_undelivered_tokens_are_dropped_with_their_row() -> None:
    rig = Rig()
    task = rig.add([1, 2])
    rig.compute(task, 10)
    rig.lane.sampled.extend(rig.backend.step())
    rig.lane.remove(task.generation)
    assert not rig.lane.sampled
    assert repr(rig.lane) == "<Lane fake [0 prefilling | 0 decoding]>"
