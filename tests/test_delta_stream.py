"""DeltaStream: batches, joined deltas for slow readers, and aborts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pico_jupyter.delta_stream import JOIN_LENGTH, DeltaStream, estimate_bytes, join
from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    Progress,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
    ToolCallPart,
    TopLogprob,
)

ACCEPTED = Accepted("m", 3, False)
FINISHED = Finished(("stop",), TokenUsage(1, 1), Timings(1, 0, 0, 0))
CALL = ToolCallDelta(ToolCall("call_1", "f", "{}"))


def fed(*deltas: Delta) -> DeltaStream:
    stream = DeltaStream()
    stream.feed(deltas)
    return stream


async def test_deltas_that_are_ready_are_in_one_batch() -> None:
    stream = fed(ACCEPTED, TextDelta("a"), TextDelta("b"), FINISHED)
    assert await stream.batch(5) == [ACCEPTED, TextDelta("a"), TextDelta("b"), FINISHED]


async def test_a_batch_ends_where_the_next_delta_is_not_ready() -> None:
    stream = fed(TextDelta("a"))
    assert await stream.batch(5) == [TextDelta("a")]
    asyncio.get_running_loop().call_soon(stream.feed, [TextDelta("b")])
    assert await stream.batch(5) == [TextDelta("b")]


async def test_a_timeout_ends_the_wait_and_loses_nothing() -> None:
    stream = DeltaStream()
    assert await stream.batch(0.01) == []
    assert repr(stream) == "<DeltaStream open [0 unread]>"
    stream.feed([TextDelta("a"), FINISHED])
    assert repr(stream) == "<DeltaStream complete [2 unread]>"
    assert await stream.batch(5) == [TextDelta("a"), FINISHED]


async def test_cancelling_a_batch_loses_nothing() -> None:
    stream = DeltaStream()
    waiting = asyncio.create_task(stream.batch(5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    stream.feed([TextDelta("a")])
    assert await stream.batch(5) == [TextDelta("a")]


async def test_a_failure_is_raised_after_the_deltas_before_it() -> None:
    stream = fed(TextDelta("a"))
    stream.fail(EngineFailed("boom"))
    assert await stream.batch(5) == [TextDelta("a")]
    with pytest.raises(EngineFailed, match="boom"):
        await stream.batch(5)


async def test_iterating_ends_after_finished() -> None:
    assert [delta async for delta in fed(ACCEPTED, FINISHED)] == [ACCEPTED, FINISHED]


async def test_deltas_after_the_end_are_ignored() -> None:
    stream = fed(FINISHED)
    stream.feed([TextDelta("late")])
    stream.fail(EngineFailed("late"))
    assert [delta async for delta in stream] == [FINISHED]


async def test_closing_aborts_once_and_only_before_the_end() -> None:
    aborts: list[str] = []
    open_, complete = DeltaStream(lambda: aborts.append("open")), DeltaStream(lambda: aborts.append("complete"))
    complete.feed([FINISHED])
    for stream in (open_, open_, complete):
        await stream.aclose()
    assert aborts == ["open"]


async def test_cancelling_a_waiting_iteration_aborts_the_request() -> None:
    aborted = asyncio.Event()
    stream = DeltaStream(aborted.set)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert aborted.is_set()


async def test_unread_deltas_are_joined() -> None:
    stream = DeltaStream()
    for number in range(10 * JOIN_LENGTH):
        stream.feed([TextDelta(f"{number} ")])
    batch = await stream.batch(5)
    assert len(batch) <= JOIN_LENGTH
    assert "".join(delta.text for delta in batch if isinstance(delta, TextDelta)) == "".join(
        f"{number} " for number in range(10 * JOIN_LENGTH)
    )


async def test_too_many_unread_bytes_fail_and_abort_the_request() -> None:
    aborts: list[int] = []
    stream = DeltaStream(lambda: aborts.append(1), limit=10_000)
    for _ in range(1000):
        stream.feed([TextDelta("x" * 100)])
    assert aborts == [1]
    assert len(await stream.batch(5)) == 1
    with pytest.raises(EngineFailed, match="too slowly"):
        await stream.batch(5)


@pytest.mark.parametrize(
    ("deltas", "joined"),
    [
        ([TextDelta("a")], [TextDelta("a")]),
        ([TextDelta("a"), TextDelta("b"), TextDelta("c")], [TextDelta("abc")]),
        ([ReasoningDelta("a"), ReasoningDelta("b"), TextDelta("c")], [ReasoningDelta("ab"), TextDelta("c")]),
        ([TextDelta("a", 0), TextDelta("b", 1), TextDelta("c", 0)], [TextDelta("ac", 0), TextDelta("b", 1)]),
        ([TextDelta("a"), CALL, TextDelta("b")], [TextDelta("a"), CALL, TextDelta("b")]),
        (
            [ToolCallPart("", 0, "c", "f"), ToolCallPart("{"), ToolCallPart("}"), ToolCallPart("", 0, "d", "g")],
            [ToolCallPart("{}", 0, "c", "f"), ToolCallPart("", 0, "d", "g")],
        ),
        ([ToolCallPart("{"), TextDelta("a", 1), ToolCallPart("}")], [ToolCallPart("{}"), TextDelta("a", 1)]),
        ([Progress("load", 1, 9), Progress("load", 2, 9), TextDelta("a")], [Progress("load", 2, 9), TextDelta("a")]),
        ([ACCEPTED, TextDelta("a"), FINISHED], [ACCEPTED, TextDelta("a"), FINISHED]),
        ([], []),
    ],
)
def test_joining_keeps_the_order_within_each_choice(deltas: Sequence[Delta], joined: Sequence[Delta]) -> None:
    assert join(deltas) == joined


def test_log_probabilities_are_joined_with_their_text() -> None:
    first, second = TokenLogprob("a", -1.0, b"a"), TokenLogprob("b", -2.0, b"b")
    assert join([TextDelta("a", 0, (first,)), TextDelta("b", 0, (second,))]) == [TextDelta("ab", 0, (first, second))]


def test_text_log_probabilities_and_calls_have_a_size() -> None:
    top = tuple(TopLogprob("x", -1.0, b"x") for _ in range(20))
    assert estimate_bytes(TextDelta("x" * 1000)) > 1000
    assert estimate_bytes(TextDelta("x", 0, (TokenLogprob("x", -1.0, b"x", top),))) > 20 * 64
    assert estimate_bytes(ToolCallDelta(ToolCall("c", "f", "x" * 1000))) > 1000
    assert estimate_bytes(ToolCallPart("x" * 1000)) > 1000
    assert estimate_bytes(FINISHED) == estimate_bytes(ACCEPTED)
