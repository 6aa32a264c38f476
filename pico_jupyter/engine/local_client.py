"""LocalEngineClient: the EngineClient of an engine in this process. Knows no MLX and no scheduling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import assert_never, cast

from pico_jupyter.engine.engine import Engine
from pico_jupyter.questions import (
    A,
    AnyQuestion,
    DescribeMemory,
    FindModel,
    ListModels,
    ListResident,
    LoadModel,
    Question,
    ReadStatistics,
    UnloadModel,
)
from pico_jupyter.types import Delta, GenerationRequest, ModelEvent


class LocalEngineClient:
    """Talks to an Engine from any number of event loops. Started engines only; aclose() closes the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __repr__(self) -> str:
        return f"<LocalEngineClient {self._engine!r}>"

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        stream = self._engine.open_stream(asyncio.get_running_loop())
        self._engine.submit(request, stream)
        try:
            while not stream.ended:
                yield await stream.get()
        finally:
            if not stream.ended:
                self._engine.abort(stream)

    async def ask(self, question: Question[A]) -> A:
        return cast(A, await self._answer(cast(AnyQuestion, question)))

    async def _answer(self, question: AnyQuestion) -> object:
        match question:
            case ListModels():
                return await asyncio.to_thread(self._engine.catalog.models)
            case FindModel():
                return await asyncio.to_thread(self._engine.catalog.find, question.name)
            case ListResident():
                return await asyncio.wrap_future(self._engine.resident())
            case DescribeMemory():
                return await asyncio.wrap_future(await asyncio.to_thread(self._engine.memory))
            case LoadModel():
                await asyncio.wrap_future(self._engine.load(question.name, question.keep_alive))
            case UnloadModel():
                await asyncio.wrap_future(self._engine.unload(await self.ask(FindModel(question.name))))
            case ReadStatistics():
                return await asyncio.wrap_future(self._engine.statistics())
            case _:
                assert_never(question)
        return None

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        loop = asyncio.get_running_loop()

        def tell(notice: ModelEvent) -> None:
            # A loop that was closed has nobody to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(listener, notice)

        self._engine.on_notice = tell

    async def aclose(self) -> None:
        await asyncio.to_thread(self._engine.close)
