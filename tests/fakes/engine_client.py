"""An engine that plays a script, for tests of the layers above an engine."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeAlias, assert_never

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine_reports import (
    Embeddings,
    EngineStatistics,
    MemoryReport,
    ModelEvent,
    ModelLoading,
    ModelNeed,
    ResidentModel,
    SkippedFolder,
)
from pico_jupyter.errors import ModelNotFound, PicoError
from pico_jupyter.questions import (
    AnyQuestion,
    DescribeMemory,
    DetokenizePrompt,
    Embed,
    FindModel,
    ListModels,
    ListResident,
    ListSkipped,
    LoadModel,
    PromptTokens,
    ReadStatistics,
    TokenizePrompt,
    UnloadModel,
)
from pico_jupyter.template_switch import TemplateSwitch
from pico_jupyter.types import (
    Accepted,
    Delta,
    Finished,
    GenerationRequest,
    ModelInfo,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenUsage,
)
from tests.fakes.backend import played

Step: TypeAlias = Delta | Exception | asyncio.Event

MODEL = ModelInfo(
    name="tiny",
    path="models/tiny",
    repo="org/tiny",
    source="folder",
    size=1000,
    weights_size=900,
    float32_size=0,
    modified=1_760_000_000.0,
    digest="ab" * 32,
    family="qwen3",
    parameter_count=600_000,
    quantization="4bit",
    context_length=2048,
    embedding_length=64,
    block_count=4,
    capabilities=("completion", "thinking", "tools"),
    reasoning_switch=TemplateSwitch(off={"enable_thinking": False}),
    reasoning_default=True,
    stop=("<|im_end|>",),
    template="{{ messages }}",
    license="apache-2.0",
)
MEMORY = MemoryReport(
    budget=10_000,
    used=1_000,
    available=9_000,
    is_starting=False,
    loading=ModelLoading("tiny", 300, 900),
    needs=(ModelNeed("tiny", 900, "fits"),),
)
PROMPT_TOKENS = PromptTokens("hello", (1, 2, 3), 2048, ("he", "l", "lo"))
ACCEPTED = Accepted(model="tiny", prompt_tokens=3, reasoning=True)
FINISHED = Finished(
    finish_reasons=("stop",),
    usage=TokenUsage(prompt_tokens=3, completion_tokens=4, reasoning_tokens=2),
    timings=Timings(total_ns=1000, load_ns=1, prefill_ns=2, decode_ns=3),
    context=(1, 2, 3),
)
ANSWER: tuple[Step, ...] = (ACCEPTED, ReasoningDelta("hm"), TextDelta("4"), TextDelta("7"), FINISHED)


QUARTERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


class ScriptedEngine:
    """Plays `script` for every request: yields its deltas, raises its exceptions, waits for its events."""

    def __init__(self, script: Sequence[Step] = ANSWER) -> None:
        self.script = script
        self.catalog: tuple[ModelInfo, ...] = (MODEL,)
        self.skipped: tuple[SkippedFolder, ...] = ()
        self.loaded: tuple[ResidentModel, ...] = ()
        self.embedded: list[Embed] = []
        self.requests: list[GenerationRequest] = []
        self.calls: list[tuple[str, str, float | None]] = []
        self.reached = asyncio.Event()
        self.aborted = asyncio.Event()
        self.closed = False
        self.closing: Step | None = None
        self.notify: Callable[[ModelEvent], None] = lambda _: None
        self.statistics = EngineStatistics()
        self.report = MEMORY

    def __repr__(self) -> str:
        return f"<ScriptedEngine [{len(self.requests)} asked]>"

    def generate(self, request: GenerationRequest) -> DeltaStream:
        self.requests.append(request)
        return played(self.play(request))

    async def play(self, request: GenerationRequest | None) -> AsyncGenerator[Delta, None]:
        has_ended = False
        try:
            for step in self.script:
                if isinstance(step, asyncio.Event):
                    self.reached.set()
                    await step.wait()
                elif isinstance(step, Exception):
                    has_ended = True
                    raise step
                else:
                    yield step
            has_ended = True
        finally:
            if not has_ended:
                self.aborted.set()

    async def ask(self, question: AnyQuestion) -> Any:
        match question:
            case ListModels():
                return self.catalog
            case ListSkipped():
                return self.skipped
            case FindModel():
                return self._find(question.name)
            case ListResident():
                return self.loaded
            case DescribeMemory():
                return self.report
            case Embed():
                return await self._embed(question)
            case LoadModel():
                self._find(question.name)
                self.calls.append(("load", question.name, question.keep_alive))
            case UnloadModel():
                self._find(question.name)
                self.calls.append(("unload", question.name, None))
            case TokenizePrompt():
                self._find(question.request.model)
                self.requests.append(question.request)
                return PROMPT_TOKENS
            case DetokenizePrompt():
                self._find(question.model)
                return "".join(f"<{token}>" for token in question.tokens)
            case ReadStatistics():
                return self.statistics
            case _:
                assert_never(question)
        return None

    async def _embed(self, question: Embed) -> Embeddings:
        """Play the script, then answer with the vectors (1, 0), (0, 1), (-1, 0), (0, -1), and so on."""
        self._find(question.model)
        self.embedded.append(question)
        async for _ in self.play(None):
            pass
        vectors = tuple(struct.pack("2f", *QUARTERS[index % 4]) for index in range(len(question.inputs)))
        return Embeddings("tiny", vectors, 3 * len(vectors), FINISHED.timings)

    def _find(self, name: str) -> ModelInfo:
        for info in self.catalog:
            if name.removesuffix(":latest").lower() in (info.name, info.repo):
                return info
        raise ModelNotFound(f"The model '{name}' does not exist", param="model", model=name)

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        self.notify = listener

    async def aclose(self) -> None:
        """Close. If `closing` is an event, wait for it first. If it is an exception, raise it instead."""
        if isinstance(self.closing, asyncio.Event):
            await self.closing.wait()
        elif isinstance(self.closing, Exception):
            raise self.closing
        self.closed = True


def failing(error: PicoError) -> ScriptedEngine:
    return ScriptedEngine((error,))
