"""Engine: runs all use of MLX on one thread, and accepts commands from other threads.

- The threads of callers only queue commands, and do not wait.
- Preparation threads turn requests into generations. Requests with images or videos, those with a grammar, and texts
  to embed have their own, because they take longer.
- The engine thread repeats: run the queued commands, run one step of the scheduler, deliver the new deltas.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.engine.backends.lm import release_thread
from pico_jupyter.engine.backends.loading import load
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.memory.device import device_capacity, limit_wired_memory
from pico_jupyter.engine.memory.model_manager import LoadBackend, ModelManager
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.engine.preparation.call_ids import make_call_id
from pico_jupyter.engine.preparation.preparation import Preparation
from pico_jupyter.engine.preparation.prompt import media_of
from pico_jupyter.engine.scheduling.backend_call import BackendCallFailed
from pico_jupyter.engine.scheduling.scheduler import Scheduler
from pico_jupyter.engine.scheduling.sequence import Generation, Sink
from pico_jupyter.engine.sinks import EmbeddingSink, LoadSink
from pico_jupyter.engine.stream import DeltaDispatcher, EngineStream
from pico_jupyter.engine_reports import EngineStatistics, MemoryReport, ModelEvent, ResidentModel
from pico_jupyter.errors import EngineFailed, EngineUnavailable, PicoError
from pico_jupyter.questions import DetokenizePrompt, Embed, PromptTokens, TokenizePrompt
from pico_jupyter.types import EngineOptions, GenerationRequest, ModelInfo

log = logging.getLogger(__name__)
T = TypeVar("T")

_MAX_SLEEP = 3600.0
# The limit of the prefix cache, as a share of the memory budget. Models that need memory shrink it further.
_PREFIX_CACHE_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Command:
    """A function for the engine thread to run. If that fails or the thread has ended, `refuse` gets the error."""

    run: Callable[[], None]
    refuse: Callable[[PicoError], None]


class Engine:
    """Owns the engine thread, the scheduler on it, and the models.

    `load_backend` opens a model's files; the default uses mlx-lm or mlx-vlm. `clock` is in monotonic seconds,
    `wall_clock` in seconds since the epoch. Other threads resolve the futures that methods return. These futures cannot
    be cancelled. `on_event` may be set at any time. The engine thread calls it when a model is loaded or unloaded, so
    it must not block.
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
        new_call_id: Callable[[], str] = make_call_id,
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
        self._preparation = Preparation(catalog, options, new_seed=new_seed, new_call_id=new_call_id, clock=clock)
        self._dispatcher = DeltaDispatcher()
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._preparing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pico-prepare")
        self._preparing_media = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pico-media")
        self._preparing_structured = ThreadPoolExecutor(max_workers=2, thread_name_prefix="pico-structured")
        self._preparing_texts = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pico-texts")
        self._thread = threading.Thread(target=self._run, name="pico-engine", daemon=True)
        # Guards _closing. Once it is set, new requests are refused, so no caller waits forever.
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
        # The process aborts if the interpreter exits while MLX computes on the engine thread.
        atexit.register(self.close)
        self._thread.start()

    def close(self) -> None:
        """Fail all requests with EngineUnavailable, unload all models, and wait until the threads have ended."""
        with self._lock:
            self._closing = True
        self._commands.put(_Command(lambda: None, lambda error: None))
        if self._thread.ident is None:
            for executor in self._preparation_executors:
                executor.shutdown()
        else:
            self._thread.join()
        atexit.unregister(self.close)

    def submit(self, request: GenerationRequest, deltas: DeltaStream) -> EngineStream:
        """Prepare and queue a request. Returns the stream, to be passed to abort(). Raises EngineUnavailable.

        `deltas` receives the deltas in the running event loop.
        """
        stream = EngineStream(deltas, asyncio.get_running_loop(), self._dispatcher)
        self._prepare(
            self._executor_of(request),
            partial(self._preparation.prepare, request, stream, submitted=self._clock()),
            partial(self._add, stream),
            stream,
        )
        return stream

    def _executor_of(self, request: GenerationRequest) -> ThreadPoolExecutor:
        if media_of(request.prompt):
            return self._preparing_media
        choice = request.tool_choice
        needs_grammar = request.structure or choice.required or choice.strict or not choice.parallel
        return self._preparing_structured if needs_grammar else self._preparing

    @property
    def _preparation_executors(self) -> tuple[ThreadPoolExecutor, ...]:
        return self._preparing, self._preparing_media, self._preparing_structured, self._preparing_texts

    def abort(self, stream: EngineStream | EmbeddingSink) -> None:
        """Abort a request in any phase. Does not block. The request ends before the next step."""
        stream.aborted = True
        self._commands.put(_Command(partial(self._abort, stream), lambda error: None))

    def load(self, name: str, keep_alive: float | None) -> Future[None]:
        """Load a model. The future is resolved after the load. `keep_alive` is in seconds; None: as configured."""
        loaded: Future[None] = Future()
        loaded.set_running_or_notify_cancel()
        sink = LoadSink(loaded)
        prepare = partial(self._preparation.prepare_load, name, keep_alive, sink)
        self._prepare(self._preparing, prepare, self._scheduler.add, sink)
        return loaded

    def embed(self, question: Embed) -> EmbeddingSink:
        """Compute embeddings. Returns a sink whose `answer` is resolved, and which may be passed to abort()."""
        sink = EmbeddingSink(question)
        prepare = partial(self._preparation.prepare_embedding, question, sink, submitted=self._clock())
        self._prepare(self._preparing_texts, prepare, partial(self._add, sink), sink)
        return sink

    def tokens(self, question: TokenizePrompt | DetokenizePrompt) -> Future[PromptTokens] | Future[str]:
        """The tokens of a prompt, or the text of tokens. Preparation threads compute them."""
        if isinstance(question, DetokenizePrompt):
            return self._on_preparation(self._preparing, partial(self._preparation.detokenize, question))
        executor = self._executor_of(question.request)
        return self._on_preparation(executor, partial(self._preparation.tokenize, question))

    def unload(self, info: ModelInfo) -> Future[None]:
        """Unload a model when its last request ends. The future may be resolved earlier."""
        return self._call(lambda: self._models.unload(info.name))

    def resident(self) -> Future[tuple[ResidentModel, ...]]:
        """The loaded models, in descending order of expiry."""

        def listed() -> tuple[ResidentModel, ...]:
            self._models.expire()
            return self._models.resident()

        return self._call(listed)

    def memory(self) -> Future[MemoryReport]:
        """The memory budget, its use, and the needs of all models. Blocks while it reads the catalog."""
        catalog = self._catalog.models()

        def report() -> MemoryReport:
            self._models.expire()
            return self._models.report(catalog)

        return self._call(report)

    def statistics(self) -> Future[EngineStatistics]:
        """The current load and the counts since the start."""
        return self._call(lambda: self._scheduler.statistics)

    def _prepare(
        self,
        executor: ThreadPoolExecutor,
        prepare: Callable[[], Generation],
        add: Callable[[Generation], None],
        sink: Sink,
    ) -> None:
        """Run `prepare` on `executor`, then `add` on the engine thread. The sink receives the errors of both."""

        def post_result(future: Future[Generation]) -> None:
            if future.cancelled():
                command = partial(sink.fail, _not_running())
            elif error := future.exception():
                command = partial(sink.fail, _to_pico_error(error))
            else:
                command = partial(add, future.result())
            self._commands.put(_Command(command, sink.fail))

        with self._lock:
            self._check_open()
            future = executor.submit(prepare)
        future.add_done_callback(post_result)

    def _on_preparation(self, executor: ThreadPoolExecutor, function: Callable[[], T]) -> Future[T]:
        """Run `function` on a preparation thread. The future receives its result, or a PicoError."""
        answer: Future[T] = Future()
        answer.set_running_or_notify_cancel()

        def post_result(future: Future[T]) -> None:
            if future.cancelled():
                answer.set_exception(_not_running())
            elif error := future.exception():
                answer.set_exception(_to_pico_error(error))
            else:
                answer.set_result(future.result())

        with self._lock:
            self._check_open()
            future = executor.submit(function)
        future.add_done_callback(post_result)
        return answer

    def _call(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` on the engine thread. The future receives its result."""
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
        """The main loop of the engine thread."""
        try:
            while not self._closing:
                self._iterate()
        finally:
            self._shut_down()

    def _iterate(self) -> None:
        """Run the queued commands, then one step of the scheduler. Deliver the deltas after each of the two."""
        commands = self._next_commands()
        for command in commands:
            self._attempt(command.run, command.refuse)
        if commands:
            self._dispatcher.flush(self.abort)
        # Without commands, the wait ended because a model expires. A step unloads it.
        if self._scheduler.has_work or not commands:
            self._attempt(self._scheduler.step)
        self._dispatcher.flush(self.abort)

    def _attempt(self, run: Callable[[], None], refuse: Callable[[PicoError], None] | None = None) -> None:
        """Run a command (with `refuse`) or a step (without it), and handle all exceptions."""
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
        """All queued commands. If the scheduler has no work, first wait for a command or for a model to expire."""
        commands: list[_Command] = []
        if not self._scheduler.has_work:
            expiry = self._models.next_expiry()
            with suppress(queue.Empty):
                timeout = _MAX_SLEEP if expiry is None else min(expiry, _MAX_SLEEP)
                commands.append(self._commands.get(timeout=timeout))
        # qsize() is read once, so that commands that arrive in this loop do not delay the next step.
        for _ in range(self._commands.qsize()):
            commands.append(self._commands.get_nowait())
        return commands

    def _handle_event(self, event: ModelEvent) -> None:
        limit_wired_memory(self._models.weights_nbytes)
        self.on_event(event)

    def _add(self, stream: EngineStream | EmbeddingSink, generation: Generation) -> None:
        if not stream.aborted:
            stream.attach(generation)
            self._scheduler.add(generation)

    def _abort(self, stream: EngineStream | EmbeddingSink) -> None:
        if stream.generation is not None:
            self._scheduler.abort(stream.generation)

    def _shut_down(self) -> None:
        """Fail all requests and commands, and unload all models. Once _closing is set, no new ones are accepted."""
        with self._lock:
            self._closing = True
        for executor in self._preparation_executors:
            executor.shutdown(wait=True, cancel_futures=True)
        self._scheduler.close(_not_running())
        while not self._commands.empty():
            self._commands.get().refuse(_not_running())
        self._dispatcher.flush(lambda stream: None)
        self._models.close()
        release_thread()


def _mlx_loader(options: EngineOptions, prefixes: PrefixCache) -> LoadBackend:
    return partial(load, prefixes=prefixes, kv_bits=options.kv_bits, float32_on_cpu=options.float32_on_cpu)


def _not_running() -> EngineUnavailable:
    return EngineUnavailable("the engine is not running")


def _to_pico_error(error: BaseException) -> PicoError:
    if isinstance(error, PicoError):
        return error
    log.error("an unexpected error failed a request: %s", type(error).__name__, exc_info=error)
    return EngineFailed(f"the engine failed: {type(error).__name__}")
