"""DeferredEngineClient: answers for the catalog at once and starts the engine when it is needed. Imports no mlx by
itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import assert_never, cast

from pico_jupyter.client import NearEngine
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.errors import EngineUnavailable
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
from pico_jupyter.types import (
    Delta,
    EngineOptions,
    EngineStatistics,
    GenerationRequest,
    MemoryReport,
    ModelEvent,
)


class DeferredEngineClient:
    """The EngineClient that `start` gives, started on a thread by the first request that computes.

    Importing all that an engine needs takes seconds and hundreds of megabytes; listing models needs none of that.
    `capacity` says, on a thread, what models may take here.
    """

    def __init__(self, catalog: Catalog, start: Callable[[], NearEngine], capacity: Callable[[], Capacity]) -> None:
        self._catalog = catalog
        self._start = start
        self._capacity = capacity
        self._starting: asyncio.Future[NearEngine] | None = None
        self._listener: Callable[[ModelEvent], None] | None = None

    def __repr__(self) -> str:
        if self._started is None:
            return f"<DeferredEngineClient {'not started' if self._starting is None else 'starting'}>"
        return f"<DeferredEngineClient {self._started!r}>"

    def prepare(self) -> None:
        """Start the engine in the background, for a first request that is sure to come. Needs a running event loop."""
        self._begin()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """See EngineClient.generate."""
        engine = await self._engine()
        async with aclosing(engine.generate(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def ask(self, question: Question[A]) -> A:
        """See EngineClient.ask. Only LoadModel starts the engine."""
        engine = await self._engine() if _needs_engine(question) else self._started
        if engine is not None:
            return await engine.ask(question)
        return cast(A, await self._answer(cast(AnyQuestion, question)))

    async def _answer(self, question: AnyQuestion) -> object:
        """Answer without an engine."""
        match question:
            case ListModels():
                return await asyncio.to_thread(self._catalog.models)
            case FindModel():
                return await asyncio.to_thread(self._catalog.find, question.name)
            case DescribeMemory():
                return await self._memory()
            case UnloadModel():
                await asyncio.to_thread(self._catalog.find, question.name)
            case ListResident():
                return ()
            case ReadStatistics():
                return EngineStatistics()
            case LoadModel():
                raise AssertionError("loading needs an engine")
            case _:
                assert_never(question)
        return None

    async def _memory(self) -> MemoryReport:
        try:
            return await asyncio.to_thread(self._report, is_starting=self._starting is not None)
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineUnavailable(f"the memory is not known: {type(error).__name__}: {error}") from error

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        """See NearEngine.listen. Starts nothing; an engine that is started later is listened to from then on."""
        self._listener = listener
        if self._started is not None:
            self._started.listen(listener)

    async def aclose(self) -> None:
        """See EngineClient.aclose."""
        if self._started is not None:
            await self._started.aclose()

    @property
    def _started(self) -> NearEngine | None:
        starting = self._starting
        if starting is None or not starting.done() or _has_failed(starting):
            return None
        return starting.result()

    def _report(self, *, is_starting: bool) -> MemoryReport:
        """The memory while nothing is loaded."""
        capacity = self._capacity()
        needs = tuple(capacity.need(info, capacity.budget) for info in self._catalog.models())
        return MemoryReport(capacity.budget, 0, capacity.budget, is_starting, None, needs)

    async def _engine(self) -> NearEngine:
        """The engine; requests that come while it starts wait for the same start."""
        try:
            return await asyncio.shield(self._begin())
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineUnavailable(f"the engine cannot start: {type(error).__name__}: {error}") from error

    def _begin(self) -> asyncio.Future[NearEngine]:
        if self._starting is None:
            self._starting = asyncio.ensure_future(asyncio.to_thread(self._start))
            self._starting.add_done_callback(self._take_start)
        return self._starting

    def _take_start(self, starting: asyncio.Future[NearEngine]) -> None:
        """Before anybody who waits for the start goes on: listen to the engine, or let the next request try again."""
        if _has_failed(starting):
            self._starting = None
        elif self._listener is not None:
            starting.result().listen(self._listener)


def _needs_engine(question: Question[object]) -> bool:
    return isinstance(question, LoadModel)


def _has_failed(starting: asyncio.Future[NearEngine]) -> bool:
    return starting.cancelled() or starting.exception() is not None


def deferred_engine(options: EngineOptions) -> DeferredEngineClient:
    """An engine in this process, which starts when it is needed."""
    catalog = Catalog(options)
    return DeferredEngineClient(catalog, lambda: start_engine(catalog, options), lambda: device_capacity(options))


def device_capacity(options: EngineOptions) -> Capacity:
    """What models may take here. Of all that an engine needs, mlx alone is imported, which is quick."""
    from pico_jupyter.engine.memory import device  # noqa: PLC0415  # mlx comes along

    return device.device_capacity(options)


def start_engine(catalog: Catalog, options: EngineOptions) -> NearEngine:
    """Start an engine in this process. Importing it takes seconds, which only who computes should pay."""
    from pico_jupyter.engine.engine import Engine  # noqa: PLC0415  # mlx and transformers come along
    from pico_jupyter.engine.local_client import LocalEngineClient  # noqa: PLC0415  # mlx and transformers come along

    engine = Engine(catalog, options)
    engine.start()
    return LocalEngineClient(engine)
