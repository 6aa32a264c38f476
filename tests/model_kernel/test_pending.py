"""Deltas wait joined and in order; frames that arrive in any order come out in theirs."""

from hypothesis import given
from hypothesis import strategies as st

from pico_jupyter.model_kernel.pending import Assembly, PendingDeltas
from pico_jupyter.types import (
    Delta,
    Progress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from tests.server.scripted import ACCEPTED, FINISHED

A, B = TokenLogprob("a", -1.0, b"a"), TokenLogprob("b", -2.0, b"b")


def joined(*deltas: Delta) -> tuple[Delta, ...]:
    pending = PendingDeltas()
    for delta in deltas:
        pending.add(delta)
    return pending.drain()


def test_text_that_waits_is_joined() -> None:
    assert joined(ACCEPTED, TextDelta("a"), TextDelta("b"), FINISHED) == (ACCEPTED, TextDelta("ab"), FINISHED)


def test_reasoning_and_text_stay_apart() -> None:
    deltas = (ReasoningDelta("a"), TextDelta("b"), ReasoningDelta("c"))
    assert joined(*deltas) == deltas


def test_choices_that_alternate_are_joined_each_for_itself() -> None:
    assert joined(TextDelta("a", 0), TextDelta("x", 1), TextDelta("b", 0), TextDelta("y", 1)) == (
        TextDelta("ab", 0),
        TextDelta("xy", 1),
    )


def test_log_probabilities_are_joined_with_their_text() -> None:
    assert joined(TextDelta("a", 0, (A,)), TextDelta("b", 0, (B,))) == (TextDelta("ab", 0, (A, B)),)


def test_text_is_not_joined_over_a_tool_call_of_its_choice() -> None:
    deltas = (TextDelta("a"), ToolCallDelta(ToolCall("c", "f", "{}")), TextDelta("b"))
    assert joined(*deltas) == deltas


def test_only_the_latest_progress_waits() -> None:
    assert joined(Progress("load", 1, 9), Progress("load", 2, 9)) == (Progress("load", 2, 9),)


def test_what_was_taken_does_not_grow() -> None:
    pending = PendingDeltas()
    pending.add(TextDelta("a"))
    assert pending.pop() == TextDelta("a")
    pending.add(TextDelta("b"))
    assert pending.pop() == TextDelta("b")
    assert pending.pop() is None


def test_weight_counts_what_waits() -> None:
    pending = PendingDeltas()
    for _ in range(1000):
        pending.add(TextDelta("abcd"))
    assert 4000 <= pending.weight < 4200
    pending.add(TextDelta("x", 0, (A, B)))
    pending.add(FINISHED)
    with_logprobs = pending.weight
    assert with_logprobs > 4200
    pending.pop()
    assert pending.weight < with_logprobs - 4000
    pending.drain()
    assert pending.weight == 0


texts = st.builds(TextDelta, st.text(max_size=3), st.integers(0, 2))
reasonings = st.builds(ReasoningDelta, st.text(max_size=3), st.integers(0, 2))


@given(st.lists(st.one_of(texts, reasonings, st.none())))
def test_joining_changes_no_choice(script: list[Delta | None]) -> None:
    """None in the script: somebody takes a delta."""
    pending = PendingDeltas()
    taken: list[Delta] = []
    for delta in script:
        if delta is not None:
            pending.add(delta)
        elif (first := pending.pop()) is not None:
            taken.append(first)
    taken += pending.drain()
    for index in range(3):
        for kind in (TextDelta, ReasoningDelta):
            before = "".join(d.text for d in script if isinstance(d, kind) and d.index == index)
            after = "".join(d.text for d in taken if isinstance(d, kind) and d.index == index)
            assert after == before
    assert pending.weight == 0


FRAMES: list[Delta] = [TextDelta(str(number)) for number in range(1, 31)]


@given(st.data())
def test_frames_in_any_order_come_out_once_and_in_order(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, 29))))
    batches = [(a + 1, tuple(FRAMES[a:b])) for a, b in zip([0, *cuts], [*cuts, 30], strict=True)]
    arriving = data.draw(st.permutations(batches + data.draw(st.lists(st.sampled_from(batches)))))
    assembly = Assembly()
    assert [delta for batch in arriving for delta in assembly.accept(*batch)] == FRAMES
    assert assembly.received == 30
    assert not assembly.has_gap


def test_frames_that_overlap_what_was_received_add_only_what_is_new() -> None:
    assembly = Assembly()
    assembly.accept(1, tuple(FRAMES[:5]))
    assert assembly.accept(3, tuple(FRAMES[2:8])) == FRAMES[5:8]


def test_a_gap_is_seen() -> None:
    assembly = Assembly()
    assert assembly.accept(3, tuple(FRAMES[2:4])) == []
    assert assembly.has_gap
    assert repr(assembly) == "<Assembly [0 received | 1 early]>"


def test_a_flood_of_early_frames_is_not_kept_without_bound() -> None:
    assembly = Assembly()
    for number in range(2, 5000):
        assembly.accept(number, (TextDelta("x"),))
    assert repr(assembly) == "<Assembly [0 received | 1024 early]>"
