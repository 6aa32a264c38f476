"""LocalEngineClient: the EngineClient of an engine in this process. Knows no MLX and no scheduling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from pico_jupyter.engine.engine import Engine
from pico_jupyter.types import (
    Delta,
    EngineStatistics,
    GenerationRequest,
    MemoryReport,
    ModelEvent,
    ModelInfo,
    ResidentModel,
)


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

    async def models(self) -> tuple[ModelInfo, ...]:
        return await asyncio.to_thread(self._engine.catalog.models)

    async def model(self, name: str) -> ModelInfo:
        return await asyncio.to_thread(self._engine.catalog.find, name)

    async def resident(self) -> tuple[ResidentModel, ...]:
        return await asyncio.wrap_future(self._engine.resident())

    async def memory(self) -> MemoryReport:
        return await asyncio.wrap_future(await asyncio.to_thread(self._engine.memory))

    async def load(self, name: str, keep_alive: float | None = None) -> None:
        await asyncio.wrap_future(self._engine.load(name, keep_alive))

    async def unload(self, name: str) -> None:
        await asyncio.wrap_future(self._engine.unload(await self.model(name)))

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        loop = asyncio.get_running_loop()

        def tell(notice: ModelEvent) -> None:
            # A loop that was closed has nobody to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(listener, notice)

        self._engine.on_notice = tell

    async def statistics(self) -> EngineStatistics:
        return await asyncio.wrap_future(self._engine.statistics())

    async def aclose(self) -> None:
        await asyncio.to_thread(self._engine.close)
