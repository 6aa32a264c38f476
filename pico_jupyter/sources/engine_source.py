"""EngineSource: a Source of answers from an engine, in this process or in a model kernel."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import assert_never
from uuid import uuid4

from pico_jupyter.client import EngineClient
from pico_jupyter.engine_reports import MemoryReport
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.questions import DescribeMemory, Embed, ListModels, ListResident, LoadModel, UnloadModel
from pico_jupyter.sizes import parameter_count
from pico_jupyter.sources.calls import (
    AnswerRequest,
    Attachment,
    FinishPiece,
    ListedModel,
    Piece,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    Turn,
    Usage,
    UsagePiece,
)
from pico_jupyter.types import (
    Accepted,
    ChatPrompt,
    Delta,
    Finished,
    GenerationRequest,
    ImagePart,
    Message,
    ModelInfo,
    Part,
    Progress,
    ReasoningDelta,
    SamplingParams,
    Structure,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    VideoPart,
)

SWITCH = {"default": None, "on": True, "off": False}


class EngineSource:
    """A Source that asks `engine`. Omitted sampling parameters have the same defaults as on the OpenAI endpoints."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<EngineSource {self._engine!r}>"

    async def chat(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """See Source.chat."""
        async with aclosing(self._engine.generate(_generation_request(request))) as deltas:
            async for delta in deltas:
                for piece in _pieces(delta):
                    yield piece

    async def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> list[bytes]:
        """See Source.embed."""
        return list((await self._engine.ask(Embed(model, tuple(texts), dimensions))).vectors)

    async def models(self) -> list[ListedModel]:
        """See Source.models."""
        resident = {loaded.info.name: loaded.size for loaded in await self._engine.ask(ListResident())}
        return [_listed(info, resident.get(info.name)) for info in await self._engine.ask(ListModels())]

    async def memory(self) -> MemoryReport:
        """See Source.memory."""
        return await self._engine.ask(DescribeMemory())

    async def load(self, name: str) -> None:
        """See Source.load."""
        await self._engine.ask(LoadModel(name))

    async def unload(self, name: str) -> None:
        """See Source.unload."""
        await self._engine.ask(UnloadModel(name))

    async def aclose(self) -> None:
        """Close the engine."""
        await self._engine.aclose()


def _generation_request(request: AnswerRequest) -> GenerationRequest:
    system = (Message("system", (TextPart(request.system),)),) if request.system else ()
    messages = tuple(_message(turn, f"messages[{index}]") for index, turn in enumerate(request.messages))
    return GenerationRequest(
        id=uuid4().hex,
        model=request.model,
        prompt=ChatPrompt(system + messages, continue_final_message=request.continues),
        sampling=SamplingParams(temperature=request.temperature, seed=request.seed),
        reasoning=SWITCH[request.reasoning],
        max_tokens=request.max_tokens,
        structure=Structure("json_schema", request.schema, "schema") if request.schema else None,
    )


def _message(turn: Turn, param: str) -> Message:
    """Convert `turn`. `param` is its path in the request. Each image or video needs a unique path."""
    media = tuple(
        _media(attachment, f"{param}.attachments[{index}]")
        for index, attachment in enumerate(turn.attachments)
        if attachment.kind != "text"
    )
    return Message(turn.role, (*media, TextPart(turn.text)))


def _media(attachment: Attachment, param: str) -> Part:
    if not attachment.data.startswith("data:"):
        reason = "the engine of this kernel does not fetch URLs: pass the path of the file or its bytes"
        raise InvalidRequest(f"{attachment.name}: {reason}", param=param)
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
        case Finished(usage=counts):
            usage = Usage(counts.prompt_tokens, counts.completion_tokens, counts.reasoning_tokens, counts.cached_tokens)
            return [FinishPiece(delta.finish_reasons[0]), UsagePiece(usage)]
        case Accepted() | ToolCallDelta() | ToolCallPart():
            return []
        case _:
            assert_never(delta)


def _listed(info: ModelInfo, resident: int | None) -> ListedModel:
    return ListedModel(
        name=info.name,
        size=info.size,
        quantization=info.quantization,
        parameters=parameter_count(info.parameter_count),
        capabilities=info.capabilities,
        context=info.context_length,
        resident=resident,
    )
