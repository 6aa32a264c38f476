"""collect: the fold from deltas to a whole answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from pico_jupyter.client import collect
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
)

USAGE = TokenUsage(prompt_tokens=3, completion_tokens=4)
TIMINGS = Timings(total_ns=4, load_ns=1, prefill_ns=1, decode_ns=2)


async def stream(*deltas: Delta | Exception) -> AsyncGenerator[Delta, None]:
    for delta in deltas:
        if isinstance(delta, Exception):
            raise delta
        yield delta


async def test_text_and_reasoning_are_joined_separately() -> None:
    deltas = stream(
        Accepted("m", 3, reasoning=True),
        Progress("prefill", 1, 3),
        ReasoningDelta("2 + "),
        ReasoningDelta("2"),
        TextDelta("fo"),
        TextDelta("ur"),
        Finished(("stop",), USAGE, TIMINGS),
    )
    completion = await collect(deltas)
    assert completion.choices[0].reasoning == "2 + 2"
    assert completion.choices[0].text == "four"
    assert completion.usage == USAGE


async def test_choices_are_collected_separately() -> None:
    deltas = stream(TextDelta("b", index=1), TextDelta("a"), Finished(("stop", "length"), USAGE, TIMINGS))
    completion = await collect(deltas, n=2)
    assert [(choice.text, choice.finish_reason) for choice in completion.choices] == [("a", "stop"), ("b", "length")]


async def test_each_choice_has_the_stop_string_that_ended_it() -> None:
    end = Finished(("stop", "length"), USAGE, TIMINGS, stop_strings=("END", ""))
    completion = await collect(stream(end), n=2)
    assert [choice.stop_string for choice in completion.choices] == ["END", ""]


async def test_logprobs_of_text_and_of_reasoning_are_kept_apart() -> None:
    first, second = TokenLogprob("a", -1.0, b"a"), TokenLogprob("b", -2.0, b"b")
    call = ToolCall("call_1", "f", "{}")
    deltas = stream(
        ReasoningDelta("a", logprobs=(first,)),
        TextDelta("b", logprobs=(second,)),
        ToolCallDelta(call),
        Finished(("tool_calls",), USAGE, TIMINGS),
    )
    [choice] = (await collect(deltas)).choices
    assert (choice.reasoning_logprobs, choice.logprobs) == ([first], [second])
    assert choice.tool_calls == [call]


async def test_the_parts_of_a_call_are_joined() -> None:
    parts = (ToolCallPart('{"a"', 0, "call_1", "f"), ToolCallPart(":1}"), ToolCallPart("{}", 0, "call_2", "g"))
    [choice] = (await collect(stream(*parts, Finished(("tool_calls",), USAGE, TIMINGS)))).choices
    assert choice.tool_calls == [ToolCall("call_1", "f", '{"a":1}'), ToolCall("call_2", "g", "{}")]


async def test_a_failure_in_the_stream_is_raised() -> None:
    with pytest.raises(EngineFailed):
        await collect(stream(TextDelta("a"), EngineFailed("boom")))
