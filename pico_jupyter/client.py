"""EngineClient: the interface of an engine, in this process or in the model kernel. collect() folds a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.questions import A, Question
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    FinishReason,
    GenerationRequest,
    ModelEvent,
    Progress,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
)


class EngineClient(Protocol):
    """An engine in this process (LocalEngineClient) or in the model kernel (ModelKernel)."""

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """Stream the answer: Accepted first, exactly one Finished last, or one PicoError raised.

        Call it in the event loop in which the stream is read. Closing the stream is the only abort:
        `async with aclosing(engine.generate(request)) as deltas: ...`.
        """
        ...

    async def ask(self, question: Question[A]) -> A:
        """The answer to one of the questions of questions.py. Raises PicoError."""
        ...

    async def aclose(self) -> None:
        """Release the engine. Running requests end. May be called twice."""
        ...


class LocalEngine(EngineClient, Protocol):
    """An EngineClient in the process of its engine."""

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        """Call `listener` in the running event loop whenever a model is loaded or unloaded. There is one listener."""
        ...


@dataclass(slots=True)
class Choice:
    """One completed answer."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason = "stop"


@dataclass(slots=True)
class Completion:
    """A whole answer, folded from its deltas."""

    choices: list[Choice]
    usage: TokenUsage
    timings: Timings
    context: tuple[int, ...] = ()


async def collect(
    deltas: AsyncIterator[Delta], n: int = 1, observe: Callable[[Delta], None] = lambda delta: None
) -> Completion:
    """Fold a stream of deltas into a Completion with `n` choices; `observe` is called with each delta.

    Answers that are not streamed are made with it.
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
                choices[delta.index].logprobs.extend(delta.logprobs)
            case ToolCallDelta():
                choices[delta.index].tool_calls.append(delta.call)
            case Finished():
                finished = delta
            case Accepted() | Progress():
                pass
            case _:
                assert_never(delta)
    assert finished is not None, "a stream of deltas ends with Finished"
    for choice, reason in zip(choices, finished.finish_reasons, strict=True):
        choice.finish_reason = reason
    return Completion(choices, finished.usage, finished.timings, finished.context)
