"""EngineSource: answers of an engine in this process, for kernels that no Jupyter server of ours stands behind."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never
from uuid import uuid4

from pico_jupyter.client import EngineClient
from pico_jupyter.engine.deferred import deferred_engine
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.questions import DescribeMemory, ListModels, ListResident, LoadModel, UnloadModel
from pico_jupyter.sizes import parameter_count
from pico_jupyter.sources.calls import (
    Attachment,
    ChatCall,
    FinishPiece,
    Model,
    Piece,
    ProgressPiece,
    ReasoningPiece,
    Stats,
    TextPiece,
    Turn,
    UsagePiece,
)
from pico_jupyter.types import (
    Accepted,
    ChatPrompt,
    Delta,
    EngineOptions,
    Finished,
    GenerationRequest,
    ImagePart,
    MemoryReport,
    Message,
    ModelInfo,
    Part,
    Progress,
    ReasoningDelta,
    SamplingParams,
    TextDelta,
    TextPart,
    TokenUsage,
    ToolCallDelta,
    VideoPart,
)

SWITCH = {"default": None, "on": True, "off": False}


class EngineSource:
    """A Source that is an engine."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<EngineSource {self._engine!r}>"

    async def chat(self, call: ChatCall) -> AsyncGenerator[Piece, None]:
        """See Source.chat."""
        async with aclosing(self._engine.generate(_request(call))) as deltas:
            async for delta in deltas:
                for piece in _pieces(delta):
                    yield piece

    async def models(self) -> list[Model]:
        """See Source.models."""
        resident = {loaded.info.name: loaded.size for loaded in await self._engine.ask(ListResident())}
        return [_describe(info, resident.get(info.name)) for info in await self._engine.ask(ListModels())]

    async def memory(self) -> MemoryReport:
        """See Source.memory."""
        return await self._engine.ask(DescribeMemory())

    async def load(self, name: str) -> None:
        """See Source.load."""
        await self._engine.ask(LoadModel(name))

    async def unload(self, name: str) -> None:
        """See Source.unload."""
        await self._engine.ask(UnloadModel(name))


def local_source() -> EngineSource:
    """A source with an engine of its own, which starts at the first question."""
    return EngineSource(deferred_engine(EngineOptions()))


def _request(call: ChatCall) -> GenerationRequest:
    system = (Message("system", (TextPart(call.system),)),) if call.system else ()
    messages = tuple(_message(turn, f"messages[{index}]") for index, turn in enumerate(call.messages))
    return GenerationRequest(
        id=uuid4().hex,
        model=call.model,
        prompt=ChatPrompt(system + messages, continue_final_message=call.continues),
        sampling=SamplingParams(temperature=call.temperature, seed=call.seed),
        reasoning=SWITCH[call.reasoning],
        max_tokens=call.max_tokens,
    )


def _message(turn: Turn, param: str) -> Message:
    """An engine tells pictures apart by their params."""
    media = tuple(
        _media(attachment, f"{param}.attachments[{index}]")
        for index, attachment in enumerate(turn.attachments)
        if attachment.kind != "text"
    )
    return Message(turn.role, (*media, TextPart(turn.text)))


def _media(attachment: Attachment, param: str) -> Part:
    if not attachment.data.startswith("data:"):
        why = "the engine of this kernel fetches nothing: give the file's path or its bytes"
        raise InvalidRequest(f"{attachment.name}: {why}", param=param)
    _, _, encoded = attachment.data.partition(";base64,")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise InvalidRequest(f"invalid {attachment.kind} input", param=param) from None
    return ImagePart(param, data=data) if attachment.kind == "image" else VideoPart(param, data=data)


def _pieces(delta: Delta) -> list[Piece]:
    match delta:
        case TextDelta():
            return [TextPiece(delta.text)]
        case ReasoningDelta():
            return [ReasoningPiece(delta.text)]
        case Progress():
            return [ProgressPiece(delta.done, delta.total)] if delta.total else []
        case Finished():
            return [FinishPiece(delta.finish_reasons[0]), UsagePiece(_stats(delta.usage))]
        case Accepted() | ToolCallDelta():
            return []
        case _:
            assert_never(delta)


def _stats(usage: TokenUsage) -> Stats:
    return Stats(usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens, usage.cached_tokens)


def _describe(info: ModelInfo, resident: int | None) -> Model:
    return Model(
        name=info.name,
        size=info.size,
        quantization=info.quantization,
        parameters=parameter_count(info.parameter_count),
        capabilities=info.capabilities,
        context=info.context_length,
        resident=resident,
    )
