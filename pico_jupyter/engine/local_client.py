"""LocalEngineClient: a client of an engine in this process. The first request that needs the engine starts it.

Importing the engine takes seconds and hundreds of megabytes, so questions about the catalog are answered without it.
This module therefore imports mlx and the engine only in functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never, cast

import psutil

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine.memory.pressure import add_pressure
from pico_jupyter.engine_reports import Embeddings, EngineStatistics, MemoryReport, ModelEvent
from pico_jupyter.errors import EngineUnavailable, PicoError
from pico_jupyter.questions import (
    A,
    AnyQuestion,
    DescribeMemory,
    DetokenizePrompt,
    Embed,
    FindModel,
    ListModels,
    ListResident,
    ListSkipped,
    LoadModel,
    Question,
    ReadStatistics,
    TokenizePrompt,
    UnloadModel,
)
from pico_jupyter.types import EngineOptions, GenerationRequest

if TYPE_CHECKING:
    from pico_jupyter.engine.engine import Engine


def device_capacity(options: EngineOptions) -> Capacity:
    """The memory for models on this device. Imports mlx, but not the engine, whose import is slow."""
    from pico_jupyter.engine.memory import device  # noqa: PLC0415  # imports mlx

    return device.device_capacity(options)


def start_engine(catalog: Catalog, options: EngineOptions) -> Engine:
    """Start an engine in this process. Takes seconds, because it imports mlx and transformers."""
    from pico_jupyter.engine.engine import Engine  # noqa: PLC0415  # imports mlx and transformers

    engine = Engine(catalog, options)
    engine.start()
    return engine


class LocalEngineClient:
    """An EngineClient that may be used from any number of event loops.

    `start` returns a running engine. It is called once, on a thread, and again if it raised an exception. `capacity`
    returns the memory for models. It is called only while no engine runs.
    """

    def __init__(
        self,
        catalog: Catalog,
        start: Callable[[], Engine],
        capacity: Callable[[], Capacity] = lambda: device_capacity(EngineOptions()),
    ) -> None:
        self._catalog = catalog
        self._start = start
        self._capacity = capacity
        # Guards _starting and _closed, which several event loops use.
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pico-start")
        self._starting: Future[Engine] | None = None
        self._engine: Engine | None = None
        self._closed = False
        self._notify: Callable[[ModelEvent], None] = lambda event: None

    def __repr__(self) -> str:
        if (engine := self._engine) is not None:
            return f"<LocalEngineClient {engine!r}>"
        return f"<LocalEngineClient {'starting' if self._is_starting else 'not started'}>"

    def prepare(self) -> Future[Engine]:
        """Start the engine in the background, if it is not started yet. Raises EngineUnavailable after aclose()."""
        with self._lock:
            if self._closed:
                raise EngineUnavailable("the engine is not running")
            if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
                self._starting = self._starter.submit(self._start_and_listen)
            return self._starting

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """See EngineClient.generate."""
        deltas = DeltaStream()
        if self._engine is not None:
            _submit(request, deltas, self._engine)
            return deltas
        try:
            starting = self.prepare()
        except EngineUnavailable as error:
            deltas.fail(error)
        else:
            _when_done(starting, partial(_submit_started, request, deltas, starting))
        return deltas

    async def ask(self, question: Question[A]) -> A:
        """See EngineClient.ask. LoadModel, Embed and the questions about tokens start the engine."""
        return cast(A, await self._answer(cast(AnyQuestion, question), self._engine))

    async def _answer(self, question: AnyQuestion, engine: Engine | None) -> object:
        match question:
            case ListModels():
                return await asyncio.to_thread(self._catalog.models)
            case ListSkipped():
                return await asyncio.to_thread(self._catalog.skipped)
            case FindModel():
                return await asyncio.to_thread(self._catalog.find, question.name)
            case ListResident():
                return () if engine is None else await _result(engine.resident())
            case DescribeMemory():
                return await self._describe_memory(engine)
            case Embed():
                return await self._embed(question)
            case LoadModel():
                engine = await self._wait_for_engine()
                await _result(engine.load(question.name, question.keep_alive))
            case UnloadModel():
                info = await asyncio.to_thread(self._catalog.find, question.name)
                if engine is not None:
                    await _result(engine.unload(info))
            case TokenizePrompt() | DetokenizePrompt():
                engine = await self._wait_for_engine()
                return await _result(engine.tokens(question))
            case ReadStatistics():
                return EngineStatistics() if engine is None else await _result(engine.statistics())
            case _:
                assert_never(question)
        return None

    async def _embed(self, question: Embed) -> Embeddings:
        engine = await self._wait_for_engine()
        sink = engine.embed(question)
        try:
            return await asyncio.wrap_future(sink.answer)
        except asyncio.CancelledError:
            engine.abort(sink)
            raise

    def listen(self, listener: Callable[[ModelEvent], None]) -> None:
        """See LocalEngine.listen. Does not start the engine."""
        loop = asyncio.get_running_loop()

        def notify(event: ModelEvent) -> None:
            with contextlib.suppress(RuntimeError):  # It is raised if the loop is closed.
                loop.call_soon_threadsafe(listener, event)

        self._notify = notify

    async def aclose(self) -> None:
        """See EngineClient.aclose. An engine that is still starting is closed after its start."""
        with self._lock:
            self._closed = True
        engine = self._engine
        if engine is not None:
            await asyncio.to_thread(engine.close)
        elif self._starting is not None:
            self._starting.add_done_callback(_close_started)
        self._starter.shutdown(wait=False)

    @property
    def _is_starting(self) -> bool:
        return self._starting is not None and not self._starting.done()

    def _start_and_listen(self) -> Engine:
        engine = self._start()
        engine.on_event = self._forward
        self._engine = engine
        return engine

    def _forward(self, event: ModelEvent) -> None:
        self._notify(event)

    async def _wait_for_engine(self) -> Engine:
        """Start the engine if it is not started yet, and wait for it. Raises EngineUnavailable."""
        starting = self.prepare()
        started = asyncio.Event()
        _when_done(starting, started.set)
        await started.wait()
        return _engine_of(starting)

    async def _describe_memory(self, engine: Engine | None) -> MemoryReport:
        free = psutil.virtual_memory().available
        if engine is not None:
            report = cast(MemoryReport, await _result(await asyncio.to_thread(engine.memory)))
            return add_pressure(report, await _result(engine.resident()), free)
        try:
            report = await asyncio.to_thread(self._report_empty, is_starting=self._is_starting)
            return add_pressure(report, (), free)
        except (ImportError, OSError, RuntimeError) as error:
            raise EngineUnavailable(f"the memory use cannot be determined: {type(error).__name__}: {error}") from error

    def _report_empty(self, *, is_starting: bool) -> MemoryReport:
        """The memory report while no engine runs."""
        capacity = self._capacity()
        needs = tuple(capacity.need(info, capacity.budget) for info in self._catalog.models())
        return MemoryReport(capacity.budget, 0, capacity.budget, is_starting, None, needs)


def client_of(engine: Engine) -> LocalEngineClient:
    """A client of a running engine."""
    client = LocalEngineClient(engine.catalog, lambda: engine)
    client.prepare().result()
    return client


def local_engine(options: EngineOptions) -> LocalEngineClient:
    """A client that starts its engine at the first generation or LoadModel."""
    catalog = Catalog(options)
    return LocalEngineClient(catalog, lambda: start_engine(catalog, options), lambda: device_capacity(options))


async def _result(future: Future[Any]) -> Any:
    return await asyncio.wrap_future(future)


def _engine_of(starting: Future[Engine]) -> Engine:
    if error := starting.exception():
        raise EngineUnavailable(f"the engine cannot start: {type(error).__name__}: {error}") from error
    return starting.result()


def _submit(request: GenerationRequest, deltas: DeltaStream, engine: Engine) -> None:
    try:
        stream = engine.submit(request, deltas)
    except PicoError as error:
        deltas.fail(error)
    else:
        deltas.on_close = partial(engine.abort, stream)


def _submit_started(request: GenerationRequest, deltas: DeltaStream, starting: Future[Engine]) -> None:
    if deltas.is_complete:
        return  # The reader closed the stream during the start.
    try:
        engine = _engine_of(starting)
    except EngineUnavailable as error:
        deltas.fail(error)
    else:
        _submit(request, deltas, engine)


def _when_done(starting: Future[Engine], callback: Callable[[], object]) -> None:
    """Call `callback` in the running event loop once `starting` is done."""
    loop = asyncio.get_running_loop()

    def notify(_: Future[Engine]) -> None:
        with contextlib.suppress(RuntimeError):  # It is raised if the loop is closed.
            loop.call_soon_threadsafe(callback)

    starting.add_done_callback(notify)


def _close_started(starting: Future[Engine]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().close()
