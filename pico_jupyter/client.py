"""EngineClient: what everything above the engine talks to. Knows neither where the engine runs nor any dialect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from pico_jupyter.types import (
    Accepted,
    Delta,
    EngineStatistics,
    Finished,
    FinishReason,
    GenerationRequest,
    MemoryReport,
    ModelEvent,
    ModelInfo,
    Progress,
    ReasoningDelta,
    ResidentModel,
    TextDelta,
    Timings,
    TokenLogprob,
    TokenUsage,
    ToolCall,
    ToolCallDelta,
)


class EngineClient(Protocol):
    """An engine, near (LocalEngineClient) or in the model kernel (CommEngineClient). All methods raise PicoError."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Stream the answer: Accepted first, exactly one Finished last, or one PicoError raised.

        Closing the iterator is the only abort: `async with aclosing(engine.generate(request)) as deltas: ...`.
        """
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """The catalog, in the order in which it is listed."""
        ...

    async def model(self, name: str) -> ModelInfo:
        """The model that `name` means, in any of its spellings. Raises ModelNotFound or InvalidRequest."""
        ...

    async def resident(self) -> tuple[ResidentModel, ...]:
        """The loaded models, latest expiry first."""
        ...

    async def memory(self) -> MemoryReport:
        """How the memory for models stands, which of them fit, and which one is loading."""
        ...

    async def load(self, name: str, keep_alive: float | None = None) -> None:
        """Load a model now and keep it for `keep_alive` seconds (None: the default; inf: for ever)."""
        ...

    async def unload(self, name: str) -> None:
        """Unload a model once its running requests have finished. Not loaded is fine; unknown raises ModelNotFound."""
        ...

    async def aclose(self) -> None:
        """Let go of the engine. Running requests end."""
        ...


class NearEngine(EngineClient, Protocol):
    """An EngineClient in the process of its engine, which can also be asked how it stands."""

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        """Have `listener` called, in the running event loop, whenever a model comes or goes. There is one listener."""
        ...

    async def statistics(self) -> EngineStatistics:
        """The engine's figures."""
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


async def collect(deltas: AsyncGenerator[Delta, None], n: int = 1) -> Completion:
    """Fold a stream of deltas into a Completion with `n` choices. Non-streaming answers are this and nothing else."""
    choices = [Choice() for _ in range(n)]
    finished: Finished | None = None
    async for delta in deltas:
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
