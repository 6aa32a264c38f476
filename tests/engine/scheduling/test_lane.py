"""How large a chunk may be, and who waits for whom within one model."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.memory.model_manager import Resident
from pico_jupyter.engine.scheduling.lane import Lane, Pace, Prefill
from pico_jupyter.engine.scheduling.sequence import Generation, Marks, Sequence
from tests.engine.scheduling.scheduler_rig import GREEDY
from tests.fakes import FakeBackend, FakeParser, FakeVocabulary, ListSink, fake_info


def paced(seconds_per_token: float, most: int = 2048) -> Pace:
    pace = Pace(most)
    pace.measure(1000, 1000 * seconds_per_token)
    return pace


def test_the_first_chunk_of_a_model_is_of_middle_size() -> None:
    assert Pace(2048).chunk(decoding=0, prefilling=1) == 256
    assert Pace(2048).chunk(decoding=1, prefilling=1) == 256
    assert Pace(100).chunk(decoding=1, prefilling=1) == 100


@pytest.mark.parametrize(
    ("seconds_per_token", "alone", "while_decoding"),
    [(0.001, 128, 64), (0.0005, 256, 192), (0.00001, 2048, 512), (1.0, 64, 64), (0.0, 2048, 512)],
)
def test_a_chunk_takes_a_tenth_of_a_second_while_others_decode_and_half_as_much_more_alone(
    seconds_per_token: float, alone: int, while_decoding: int
) -> None:
    pace = paced(seconds_per_token)
    assert pace.chunk(decoding=0, prefilling=1) == alone
    assert pace.chunk(decoding=1, prefilling=1) == while_decoding


def test_few_rows_wait_longer_for_many_prompts() -> None:
    pace = paced(0.001)
    sizes = [pace.chunk(decoding=4, prefilling=prefilling) for prefilling in (1, 4, 8, 100)]
    assert sizes == [64, 64, 192, 192]
    assert pace.chunk(decoding=0, prefilling=8) == 320


def test_no_chunk_is_larger_than_was_configured() -> None:
    assert paced(0.0, most=300).chunk(decoding=0, prefilling=1) == 300
    assert paced(1.0, most=10).chunk(decoding=1, prefilling=1) == 10


def test_the_pace_follows_a_model_that_grows_slower() -> None:
    pace = paced(0.0001)
    before = pace.chunk(decoding=1, prefilling=1)
    for _ in range(4):
        pace.measure(256, 0.256)
    assert pace.chunk(decoding=1, prefilling=1) < before


def test_a_few_tokens_tell_nothing_of_the_pace() -> None:
    pace = paced(0.001)
    pace.measure(3, 10.0)
    assert pace.chunk(decoding=0, prefilling=1) == 128


class Rig:
    """A lane over a fake model."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.lane = Lane(Resident(fake_info(), self.backend, 0, 0.0, 0.0, 0.0, 0.0), Pace(2048))
        self._rows = iter(range(1, 100))

    def enter(self, prompt: list[int]) -> Prefill:
        (prefill,) = self.lane.enter(
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
                marks=Marks(0.0),
            )
        )
        self.lane.place(prefill, None)
        return prefill

    def compute(self, prefill: Prefill, tokens: int) -> None:
        self.lane.advance(prefill, self.backend.prefill([prefill.row], tokens)[prefill.row])


LONG = list(range(1000, 1200))


def test_a_prompt_waits_for_one_before_it_that_begins_the_same() -> None:
    rig = Rig()
    leader, follower = rig.enter([*LONG, 1, 2]), rig.enter([*LONG, 3, 4])
    assert leader.is_inserted
    assert (follower.is_inserted, follower.leader, follower.shared) == (False, leader, 200)
    assert rig.lane.row_count == 2, "who waits has its row"


def test_who_waits_is_released_as_soon_as_the_shared_part_is_computed() -> None:
    rig = Rig()
    leader, follower = rig.enter([*LONG, *range(100)]), rig.enter([*LONG, 3, 4])
    rig.compute(leader, 199)
    assert rig.lane.released() == []
    rig.compute(leader, 1)
    assert rig.lane.released() == [follower]
    rig.lane.place(follower, None)
    assert follower.generation.cached_tokens == 200
    assert follower.left == 1


def test_who_waits_is_released_when_the_leader_leaves() -> None:
    rig = Rig()
    leader, follower = rig.enter([*LONG, 1]), rig.enter([*LONG, 2])
    rig.lane.forget(leader.generation)
    rig.backend.remove([leader.row], keep=False)
    assert rig.lane.released() == [follower]
    rig.lane.place(follower, None)
    assert follower.is_inserted
    assert follower.generation.cached_tokens == 0


def test_followers_may_lead_others() -> None:
    rig = Rig()
    first = rig.enter([*LONG, 1])
    second = rig.enter([*LONG, *LONG, 2])
    third = rig.enter([*LONG, *LONG, 3])
    assert (second.leader, third.leader, third.shared) == (first, second, 400)
    rig.compute(first, 1000)
    for prefill in rig.lane.released():
        rig.lane.place(prefill, None)
    assert second.is_inserted
    assert not third.is_inserted
    rig.compute(second, 1000)
    (released,) = rig.lane.released()
    rig.lane.place(released, None)
    assert third.generation.cached_tokens == 400


@pytest.mark.parametrize("shared", [0, 31])
def test_a_short_common_beginning_is_not_worth_waiting(shared: int) -> None:
    rig = Rig()
    rig.enter([*LONG[:shared], 1, *range(50)])
    assert rig.enter([*LONG[:shared], 2, *range(50)]).is_inserted


def test_what_is_cached_already_is_not_waited_for() -> None:
    rig = Rig()
    done = rig.enter([*LONG, 1])
    rig.compute(done, 1000)
    rig.backend.remove([done.row], keep=True)
    rig.enter([*LONG, 5, 6])
    follower = rig.enter([*LONG, 7, 8])
    assert follower.is_inserted
    assert follower.generation.cached_tokens == 200


def test_what_another_has_computed_already_is_taken_at_once() -> None:
    rig = Rig()
    ahead = rig.enter([*LONG, *range(500)])
    rig.compute(ahead, 250)
    late = rig.enter([*LONG, 7])
    assert late.is_inserted
    assert late.generation.cached_tokens == 200


def test_the_same_prompt_twice_leaves_each_its_last_token() -> None:
    rig = Rig()
    first, second = rig.enter(LONG), rig.enter(LONG)
    assert second.shared == 199
    rig.compute(first, 1000)
    (released,) = rig.lane.released()
    rig.lane.place(released, None)
    assert second.left == 0


def test_prompts_take_turns_and_waiting_ones_have_none() -> None:
    rig = Rig()
    leader, _, other = rig.enter([*LONG, 1]), rig.enter([*LONG, 2]), rig.enter([7] * 100)
    turns = []
    for _ in range(4):
        (prefill,) = rig.lane.prefills_in_turn(10)
        turns.append(prefill)
        rig.compute(prefill, 10)
    assert turns == [leader, other, leader, other]


def test_short_prompts_are_computed_together() -> None:
    rig = Rig()
    one, two, long = rig.enter([1] * 20), rig.enter([2] * 20), rig.enter(LONG)
    assert rig.lane.prefills_in_turn(64) == [one, two]
    rig.compute(one, 64)
    rig.compute(two, 64)
    assert rig.lane.prefills_in_turn(64) == [long]


def test_a_prompt_that_failed_before_is_computed_alone() -> None:
    rig = Rig()
    failed, other = rig.enter([1] * 20), rig.enter([2] * 20)
    failed.generation.failures = 1
    assert rig.lane.prefills_in_turn(64) == [failed]
    rig.compute(failed, 64)
    assert rig.lane.prefills_in_turn(64) == [other]


def test_a_draw_that_nobody_took_is_forgotten_with_its_row() -> None:
    rig = Rig()
    prefill = rig.enter([1, 2])
    rig.compute(prefill, 10)
    rig.lane.draws.extend(rig.backend.step())
    rig.lane.forget(prefill.generation)
    assert not rig.lane.draws
    assert repr(rig.lane) == "<Lane fake [0 prefilling | 0 decoding]>"
