"""Engine: runs the one thread that uses MLX, and accepts commands from other threads.

There are three kinds of thread. Callers post commands and return at once. Preparation threads turn requests into
generations, because templates and tokenizers are slow Python; requests with media, which are slower, have a second one.
The engine thread runs the posted commands, then a step of the scheduler, and delivers the deltas of both.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import queue
import secrets
import string
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine.backend import Backend
from pico_jupyter.engine.backends.lm import release_thread
from pico_jupyter.engine.backends.loading import load
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.memory.device import device_capacity, limit_wired_memory
from pico_jupyter.engine.memory.model_manager import LoadBackend, ModelManager
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.engine.preparation.preparation import Preparation
from pico_jupyter.engine.preparation.prompt import media_of
from pico_jupyter.engine.scheduling.backend_call import BackendCallFailed
from pico_jupyter.engine.scheduling.scheduler import Scheduler
from pico_jupyter.engine.scheduling.sequence import Generation, Sink
from pico_jupyter.engine.stream import DeltaDispatcher, EngineStream
from pico_jupyter.errors import EngineFailed, EngineUnavailable, PicoError
from pico_jupyter.types import (
    Delta,
    EngineOptions,
    EngineStatistics,
    Finished,
    GenerationRequest,
    MemoryReport,
    ModelEvent,
    ModelInfo,
    ResidentModel,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

_CALL_ID_LETTERS = string.ascii_lowercase + string.digits
_MAX_SLEEP = 3600.0
# The largest share of the memory budget that the prefix cache uses while no model needs it.
_PREFIX_CACHE_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Command:
    """A function that the engine thread runs. `refuse` is called instead if the thread has ended."""

    run: Callable[[], None]
    refuse: Callable[[PicoError], None]


@dataclass(frozen=True, slots=True, eq=False)
class _LoadSink:
    """Resolves a future when a model is loaded."""

    loaded: Future[None]

    def put(self, delta: Delta) -> None:
        if isinstance(delta, Finished):
            self.loaded.set_result(None)

    def fail(self, error: PicoError) -> None:
        self.loaded.set_exception(error)


class Engine:
    """Owns the engine thread, the scheduler on it, and the models.

    `load_backend` opens a model's files (default: with mlx-lm or mlx-vlm); `clock` is in monotonic seconds,
    `wall_clock` in seconds since the epoch. Futures that methods return are resolved by other threads and cannot be
    cancelled. `on_event` is called on the engine thread when a model is loaded or unloaded. It may be set at any time.
    It must not block.
    """

    def __init__(
        self,
        catalog: Catalog,
        options: EngineOptions,
        *,
        load_backend: LoadBackend | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        new_seed: Callable[[], int] = lambda: secrets.randbits(63),
        new_call_id: Callable[[], str] = lambda: "call_" + "".join(secrets.choice(_CALL_ID_LETTERS) for _ in range(8)),
    ) -> None:
        self.on_event: Callable[[ModelEvent], None] = lambda event: None
        self._catalog = catalog
        self._clock = clock
        capacity = device_capacity(options)
        prefixes = PrefixCache(int(_PREFIX_CACHE_SHARE * capacity.budget))
        self._models = ModelManager(
            load_backend or _mlx_loader(options, prefixes),
            prefixes=prefixes,
            capacity=capacity,
            keep_alive=options.keep_alive,
            clock=clock,
            wall_clock=wall_clock,
            on_event=self._handle_event,
        )
        self._scheduler = Scheduler(
            self._models,
            max_rows=options.max_batch_size,
            max_queue=options.max_queue,
            queue_timeout=options.queue_timeout,
            prefill_step_size=options.prefill_step_size,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._preparation = Preparation(
            catalog,
            options,
            new_seed=new_seed,
            new_call_id=new_call_id,
            clock=clock,
        )
        self._dispatcher = DeltaDispatcher()
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._preparing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pico-prepare")
        self._preparing_media = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pico-media")
        self._thread = threading.Thread(target=self._run, name="pico-engine", daemon=True)
        # Guards _closing: after it is set, nothing is posted or prepared, so no caller waits forever.
        self._lock = threading.Lock()
        self._closing = False

    def __repr__(self) -> str:
        state = "running" if self._thread.is_alive() else "stopped"
        return f"<Engine {state} {self._scheduler!r} {self._models!r}>"

    @property
    def catalog(self) -> Catalog:
        """The models on disk. Thread-safe."""
        return self._catalog

    def start(self) -> None:
        """Start the engine thread."""
        # Ending the interpreter while MLX computes on this thread aborts the process.
        atexit.register(self.close)
        self._thread.start()

    def close(self) -> None:
        """Fail running requests with EngineUnavailable, unload all models and end the threads. Blocks until then."""
        with self._lock:
            self._closing = True
        self._commands.put(_Command(lambda: None, lambda error: None))
        if self._thread.ident is None:
            self._preparing.shutdown()
            self._preparing_media.shutdown()
        else:
            self._thread.join()
        atexit.unregister(self.close)

    def submit(self, request: GenerationRequest, deltas: DeltaStream) -> EngineStream:
        """Prepare a request and queue it. Its deltas are fed to `deltas` in the running event loop. Returns the stream
        for abort(). Raises EngineUnavailable.
        """
        stream = EngineStream(deltas, asyncio.get_running_loop(), self._dispatcher)
        self._prepare(
            self._preparing_media if media_of(request.prompt) else self._preparing,
            partial(self._preparation.prepare, request, stream, submitted=self._clock()),
            partial(self._add, stream),
            stream,
        )
        return stream

    def abort(self, stream: EngineStream) -> None:
        """Abort a stream's request in any phase. Returns at once; it takes effect before the next step."""
        stream.aborted = True
        self._commands.put(_Command(partial(self._abort, stream), lambda error: None))

    def load(self, name: str, keep_alive: float | None) -> Future[None]:
        """Load a model and start its keep_alive timer."""
        loaded: Future[None] = Future()
        loaded.set_running_or_notify_cancel()
        sink = _LoadSink(loaded)
        prepare = partial(self._preparation.prepare_load, name, keep_alive, sink)
        self._prepare(self._preparing, prepare, self._scheduler.add, sink)
        return loaded

    def unload(self, info: ModelInfo) -> Future[None]:
        """Unload a model once its requests have finished; the future does not wait for them."""
        return self._call(lambda: self._models.unload(info.name))

    def resident(self) -> Future[tuple[ResidentModel, ...]]:
        """The loaded models, latest expiry first."""

        def listed() -> tuple[ResidentModel, ...]:
            self._models.expire()
            return self._models.resident()

        return self._call(listed)

    def memory(self) -> Future[MemoryReport]:
        """The memory for models: budget, use and needs. Reads the catalog first, on the calling thread."""
        catalog = self._catalog.models()

        def report() -> MemoryReport:
            self._models.expire()
            return self._models.report(catalog)

        return self._call(report)

    def statistics(self) -> Future[EngineStatistics]:
        """The counts of sequences, tokens and bytes."""
        return self._call(lambda: self._scheduler.statistics)

    def _prepare(
        self,
        thread: ThreadPoolExecutor,
        prepare: Callable[[], Generation],
        add: Callable[[Generation], None],
        sink: Sink,
    ) -> None:
        """Run `prepare` on a preparation thread, then `add` on the engine thread; errors are passed to the sink."""

        def prepared(future: Future[Generation]) -> None:
            if future.cancelled():
                command = partial(sink.fail, _not_running())
            elif error := future.exception():
                command = partial(sink.fail, _to_pico_error(error))
            else:
                command = partial(add, future.result())
            self._commands.put(_Command(command, sink.fail))

        with self._lock:
            self._check_open()
            future = thread.submit(prepare)
        future.add_done_callback(prepared)

    def _call(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` on the engine thread."""
        answer: Future[T] = Future()
        answer.set_running_or_notify_cancel()
        with self._lock:
            self._check_open()
            self._commands.put(_Command(lambda: answer.set_result(function()), answer.set_exception))
        return answer

    def _check_open(self) -> None:
        if self._closing or not self._thread.is_alive():
            raise _not_running()

    def _run(self) -> None:
        """The engine thread."""
        try:
            while not self._closing:
                self._turn()
        finally:
            self._shut_down()

    def _turn(self) -> None:
        """Run the queued commands, then one step; deliver the deltas of each at once."""
        commands = self._next_commands()
        for command in commands:
            self._attempt(command.run, command.refuse)
        if commands:
            self._dispatcher.flush(self.abort)
        if self._scheduler.has_work or not commands:
            self._attempt(self._scheduler.step)
        self._dispatcher.flush(self.abort)

    def _attempt(self, run: Callable[[], None], refuse: Callable[[PicoError], None] | None = None) -> None:
        """Run a command or a step. Errors are passed to `refuse`, if given, and to the scheduler if they concern it."""
        try:
            run()
        except BackendCallFailed as failed:
            if refuse:
                refuse(_to_pico_error(failed.error))
            self._scheduler.recover(failed)
        except Exception as error:  # noqa: BLE001  # no exception may end the engine thread
            if refuse:
                refuse(_to_pico_error(error))
            else:
                self._scheduler.fail(error)

    def _next_commands(self) -> list[_Command]:
        """All queued commands. Without other work, wait for one, at most until a model expires."""
        due: list[_Command] = []
        if not self._scheduler.has_work:
            expiry = self._models.next_expiry()
            with suppress(queue.Empty):
                due.append(self._commands.get(timeout=_MAX_SLEEP if expiry is None else min(expiry, _MAX_SLEEP)))
        # Only the commands that are queued now, so that later ones do not delay the next step.
        for _ in range(self._commands.qsize()):
            due.append(self._commands.get_nowait())
        return due

    def _handle_event(self, event: ModelEvent) -> None:
        limit_wired_memory(self._models.weights_nbytes)
        self.on_event(event)

    def _add(self, stream: EngineStream, generation: Generation) -> None:
        if not stream.aborted:
            stream.generation = generation
            self._scheduler.add(generation)

    def _abort(self, stream: EngineStream) -> None:
        if stream.generation is not None:
            self._scheduler.abort(stream.generation)

    def _shut_down(self) -> None:
        """Fail all waiting callers. After _closing is set under the lock, nothing new is queued."""
        with self._lock:
            self._closing = True
        for thread in (self._preparing, self._preparing_media):
            thread.shutdown(wait=True, cancel_futures=True)
        self._scheduler.close(_not_running())
        while not self._commands.empty():
            self._commands.get().refuse(_not_running())
        self._dispatcher.flush(lambda stream: None)
        self._models.close()
        release_thread()


def _mlx_loader(options: EngineOptions, prefixes: PrefixCache) -> LoadBackend:
    def load_backend(info: ModelInfo, free: int) -> Backend:
        return load(info, free, prefixes=prefixes, kv_bits=options.kv_bits, float32_on_cpu=options.float32_on_cpu)

    return load_backend


def _not_running() -> EngineUnavailable:
    return EngineUnavailable("the engine is not running")


def _to_pico_error(error: BaseException) -> PicoError:
    if isinstance(error, PicoError):
        return error
    log.error("the engine refused a request: %s", type(error).__name__, exc_info=error)
    return EngineFailed(f"the engine failed: {type(error).__name__}")
