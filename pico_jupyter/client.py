"""Defines EngineClient, the interface to an engine, and collect(), which joins a stream into one answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine_reports import ModelEvent
from pico_jupyter.questions import A, Question
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    GenerationRequest,
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


class EngineClient(Protocol):
    """The interface to an engine: in this process (LocalEngineClient) or in the model kernel (ModelKernel)."""

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """Start a request and return the stream of its deltas: Accepted first, exactly one Finished last.

        The stream raises one PicoError if the request fails. Call generate() in the event loop that reads the stream.
        Only closing the stream aborts the request: `async with aclosing(engine.generate(request)) as deltas: ...`.
        """
        ...

    async def ask(self, question: Question[A]) -> A:
        """Ask one of the questions in questions.py and return its answer. Raises PicoError."""
        ...

    async def aclose(self) -> None:
        """Release the engine. Running requests fail. May be called twice."""
        ...


class LocalEngine(EngineClient, Protocol):
    """An EngineClient whose engine runs in the same process."""

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        """Call `listener` in the running event loop after each load or unload. A second call replaces the listener."""
        ...


@dataclass(slots=True)
class Choice:
    """One of the `n` completed answers to a request. `reasoning_logprobs` are those of the reasoning and its tags.

    stop_string: the stop string that ended the answer; "" if none did.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reasoning_logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason = "stop"
    stop_string: str = ""


@dataclass(slots=True)
class Completion:
    """All answers to a request. `context`: all token ids, if the request has `return_context`."""

    choices: list[Choice]
    usage: TokenUsage
    timings: Timings
    context: tuple[int, ...] = ()


async def collect(
    deltas: AsyncIterator[Delta], n: int = 1, observe: Callable[[Delta], None] = lambda delta: None
) -> Completion:
    """Read a stream to its end and join its deltas into a Completion with `n` choices.

    `observe` is called with each delta before it is joined.
    """
    choices = [Choice() for _ in range(n)]
    finished: Finished | None = None
    async for delta in deltas:
        observe(delta)
        match delta:
            case TextDelta():
                choices[delta.index].text += delta.text
                choices[delta.index].logprobs.extend(delta.logprobs)
            case ReasoningDelta():
                choices[delta.index].reasoning += delta.text
                choices[delta.index].reasoning_logprobs.extend(delta.logprobs)
            case ToolCallDelta():
                choices[delta.index].tool_calls.append(delta.call)
            case ToolCallPart():
                add_call_part(choices[delta.index].tool_calls, delta)
            case Finished():
                finished = delta
            case Accepted() | Progress():
                pass
            case _:
                assert_never(delta)
    assert finished is not None, "a stream of deltas ends with Finished"
    for choice, reason in zip(choices, finished.finish_reasons, strict=True):
        choice.finish_reason = reason
    for choice, stop in zip(choices, finished.stop_strings, strict=False):
        choice.stop_string = stop
    return Completion(choices, finished.usage, finished.timings, finished.context)


def add_call_part(calls: list[ToolCall], part: ToolCallPart) -> None:
    """Add a part to the last of a choice's `calls`, or begin the next call with it."""
    if part.id:
        calls.append(ToolCall(part.id, part.name, part.arguments))
    else:
        call = calls[-1]
        calls[-1] = ToolCall(call.id, call.name, call.arguments + part.arguments)
