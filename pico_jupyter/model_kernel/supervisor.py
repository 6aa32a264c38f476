"""ModelKernel: the engine in the model kernel, which is started when it is needed and again when it died.

At most one kernel runs. All requests that need it wait for the same start, which no caller's cancellation ends. A
request is tried at most twice, and only while its reader has seen no text. Nothing outlives aclose().
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from pico_jupyter.delta_stream import DeltaStream
from pico_jupyter.errors import EngineFailed, EngineUnavailable, PicoError
from pico_jupyter.model_kernel.launcher import KERNEL_COMMAND, KernelProcess, Log
from pico_jupyter.model_kernel.news import KernelCrashed, KernelNews, KernelStarted
from pico_jupyter.model_kernel.openblas import is_library_fault
from pico_jupyter.questions import A, ListResident, LoadModel, Question, ReadStatistics
from pico_jupyter.types import (
    Accepted,
    Delta,
    EngineOptions,
    EngineStatistics,
    Finished,
    GenerationRequest,
    Progress,
)

START_SECONDS = 60.0
MOST_CRASHES = 2
REMEMBERED_CRASHES = 256
# A harmless request may have run beside the one that crashes the kernel: no request is refused for longer.
CRASH_MEMORY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Crashes:
    """How often the kernel died while a request ran, and when it last did, by the clock."""

    count: int
    latest: float


@dataclass(slots=True, eq=False)
class _Attempt:
    """A request on its way to a kernel, and the sink of its deltas there. Outlives that kernel's death."""

    kernel: ModelKernel
    request: GenerationRequest
    stream: DeltaStream
    process: KernelProcess | None = None
    is_accepted: bool = False
    has_text: bool = False

    def feed(self, deltas: Sequence[Delta]) -> None:
        if isinstance(deltas[0], Accepted) and self.is_accepted:
            deltas = deltas[1:]
        self.is_accepted = True
        self.has_text = self.has_text or any(not isinstance(delta, Accepted | Progress) for delta in deltas)
        if deltas:
            if isinstance(deltas[-1], Finished):
                self.kernel.forgive(self.request)
            self.stream.feed(deltas)

    def fail(self, error: PicoError) -> None:
        self.kernel.retry(self, error)


class ModelKernel:
    """An EngineClient whose engine is in a process of its own.

    `command` starts the kernel; `-f CONNECTION_FILE --options JSON` are added, and `--prepare` when the request needs
    the engine. `silence_limit` is how many seconds a request may hear nothing from the kernel. A kernel that dies
    within `stable_seconds` of its start is not started again before a request needs it. `on_news` is called in the
    event loop. `find_openblas` returns the library to preload; it is called at each start.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        log: Log,
        command: Sequence[str] = KERNEL_COMMAND,
        environ: Mapping[str, str] = os.environ,
        silence_limit: float = 20.0,
        stable_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        on_news: Callable[[KernelNews], None] = lambda _: None,
        find_openblas: Callable[[Mapping[str, str]], Path | None] = lambda _: None,
    ) -> None:
        folders = tuple(os.path.abspath(os.path.expanduser(folder)) for folder in options.model_dirs)
        self._options = msgspec.structs.replace(options, model_dirs=folders)
        self._log = log
        self._command = command
        self._environ = environ
        self._silence_limit = silence_limit
        self._stable_seconds = stable_seconds
        self._process: KernelProcess | None = None
        self._started_at = 0.0
        self._starting: asyncio.Task[KernelProcess] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._clock = clock
        self._on_news = on_news
        self._find_openblas = find_openblas
        self._crashes: OrderedDict[str, _Crashes] = OrderedDict()
        self._closed = False

    def __repr__(self) -> str:
        if self._process is not None:
            return f"<ModelKernel {self._process!r}>"
        return "<ModelKernel starting>" if self._starting is not None else "<ModelKernel not running>"

    @property
    def pid(self) -> int | None:
        """The kernel's process id, None while none runs."""
        return self._process.pid if self._process is not None else None

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """See EngineClient.generate. Starts the kernel when none runs."""
        stream = DeltaStream()
        self._dispatch(_Attempt(self, request, stream))
        return stream

    async def ask(self, question: Question[A]) -> A:
        """See EngineClient.ask. Starts the kernel when none runs, except where the answer is that none does."""
        if self._process is None and _starts_nothing(question):
            return _answer_of_none(question)
        prepare = _needs_engine(question)
        process = await self._running(prepare=prepare)
        try:
            return await process.client.ask(question)
        except EngineFailed:
            if process.exit_status is None:
                raise
        # The kernel died meanwhile.
        if _starts_nothing(question):
            return _answer_of_none(question)
        return await (await self._running(prepare=prepare)).client.ask(question)

    async def aclose(self) -> None:
        """End the kernel; running requests fail with EngineUnavailable. Takes bounded time; may be called twice."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        # After the wait: a start that completed meanwhile has set the process.
        if (process := self._process) is not None:
            process.client.fail(_shutting_down())
            self._stop_soon(process)
            self._process = None
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def retry(self, attempt: _Attempt, error: PicoError) -> None:
        """Send a request again when the kernel died before any text, or end its stream."""
        process = attempt.process
        if isinstance(error, EngineFailed) and process is not None and process.exit_status is not None:
            self._blame(attempt.request)
            if not attempt.has_text:
                self._dispatch(attempt)
                return
        attempt.stream.fail(error)

    def forgive(self, request: GenerationRequest) -> None:
        """Forget the crashes of a request that has finished."""
        if self._crashes:
            self._crashes.pop(_fingerprint(request), None)

    def _dispatch(self, attempt: _Attempt) -> None:
        """Send a request to the kernel, once it runs."""
        try:
            self._refuse_dangerous(attempt.request)
        except EngineFailed as error:
            attempt.stream.fail(error)
            return
        if self._closed:
            attempt.stream.fail(_shutting_down())
        elif self._process is not None:
            self._open_stream(attempt, self._process)
        else:
            self._start_soon(prepare=True).add_done_callback(partial(self._dispatch_started, attempt))

    def _dispatch_started(self, attempt: _Attempt, starting: asyncio.Task[KernelProcess]) -> None:
        if attempt.stream.is_complete:
            return
        if starting.cancelled() or self._closed:
            attempt.stream.fail(_shutting_down())
        elif error := starting.exception():
            attempt.stream.fail(_as_start_failure(error))
        else:
            self._open_stream(attempt, starting.result())

    def _open_stream(self, attempt: _Attempt, process: KernelProcess) -> None:
        attempt.process = process
        attempt.stream.on_close = process.client.open_stream(attempt.request, attempt)

    async def _running(self, *, prepare: bool = False) -> KernelProcess:
        """The kernel, started if need be; `prepare` starts its engine too. Raises EngineUnavailable."""
        if self._closed:
            raise _shutting_down()
        if self._process is not None:
            return self._process
        try:
            return await asyncio.shield(self._start_soon(prepare=prepare))
        except asyncio.CancelledError:
            if self._closed:
                raise _shutting_down() from None
            raise

    def _start_soon(self, *, prepare: bool) -> asyncio.Task[KernelProcess]:
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start(prepare))
            self._starting.add_done_callback(self._note_start)
        return self._starting

    async def _start(self, prepare: bool) -> KernelProcess:
        started_at = self._clock()
        command = (*self._command, "--prepare") if prepare else self._command
        process = await self._launch(command, self._find_openblas(self._environ))
        process.on_exit = self._note_exit
        process.client.on_news = self._on_news
        self._started_at = self._clock()
        self._log.info(
            "pico_jupyter: the model kernel started in %.1f s (pid %d, %s)",
            self._started_at - started_at,
            process.pid,
            f"with {process.openblas}" if process.openblas else "with mlx's own BLAS",
        )
        return process

    async def _launch(self, command: Sequence[str], openblas: Path | None) -> KernelProcess:
        """Start a process; once more without `openblas` when that library is at fault. Later starts try it again."""
        process = KernelProcess(command, self._options, self._log, self._silence_limit)
        try:
            await process.start(self._environ, START_SECONDS, openblas)
        except BaseException as error:
            await asyncio.shield(self._stop_soon(process))
            is_at_fault = openblas is not None and is_library_fault(process.tail, process.exit_status)
            if not is_at_fault or not isinstance(error, EngineUnavailable):
                raise
            failure = error
        else:
            return process
        self._log.warning("pico_jupyter: with %s preloaded %s; trying without", openblas, failure)
        return await self._launch(command, None)

    def _note_start(self, starting: asyncio.Task[KernelProcess]) -> None:
        """Runs before the requests that wait for the start continue."""
        self._starting = None
        if starting.cancelled():
            return
        if error := starting.exception():
            self._log.error("pico_jupyter: %s", error)
        elif self._closed:
            self._stop_soon(starting.result())
        elif starting.result().exit_status is None:
            self._process = starting.result()
            self._on_news(KernelStarted())

    def _stop_soon(self, process: KernelProcess) -> asyncio.Task[None]:
        """Stop a process in a task of its own, which nothing but the end of the loop cancels."""
        stopping = asyncio.get_running_loop().create_task(process.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        return stopping

    def _note_exit(self, process: KernelProcess) -> None:
        """The kernel died: fail its requests, clean up, and start a new one if it had been stable."""
        if self._closed:
            return
        self._process = None
        self._stop_soon(process)
        how = process.describe_exit()
        self._log.warning(
            "pico_jupyter: the model kernel died (%s). Its last lines:\n%s", how, process.tail or "(none)"
        )
        self._on_news(KernelCrashed(how))
        process.client.fail(EngineFailed(f"the model kernel died in the middle of the request ({how})"))
        if self._clock() - self._started_at >= self._stable_seconds:
            self._start_soon(prepare=True)

    def _refuse_dangerous(self, request: GenerationRequest) -> None:
        crashes = self._crashes.get(_fingerprint(request)) if self._crashes else None
        if crashes is None or crashes.count < MOST_CRASHES:
            return
        left = crashes.latest + CRASH_MEMORY_SECONDS - self._clock()
        if left > 0:
            raise EngineFailed(
                "the model kernel died twice during this request; the request is refused for "
                f"{math.ceil(left / 60)} min"
            )
        self.forgive(request)

    def _blame(self, request: GenerationRequest) -> None:
        fingerprint = _fingerprint(request)
        earlier = self._crashes.pop(fingerprint, None)
        self._crashes[fingerprint] = _Crashes(1 if earlier is None else earlier.count + 1, self._clock())
        while len(self._crashes) > REMEMBERED_CRASHES:
            self._crashes.popitem(last=False)


def _needs_engine(question: Question[object]) -> bool:
    return isinstance(question, LoadModel)


def _starts_nothing(question: Question[object]) -> bool:
    return isinstance(question, ListResident | ReadStatistics)


def _answer_of_none(question: Question[A]) -> A:
    """The answer to a question that starts nothing, while no kernel runs."""
    return cast(A, () if isinstance(question, ListResident) else EngineStatistics())


def _fingerprint(request: GenerationRequest) -> str:
    """The hash of a request without its id: the same when it is sent again."""
    return hashlib.sha256(msgspec.msgpack.encode(msgspec.structs.replace(request, id=""))).hexdigest()


def _as_start_failure(error: BaseException) -> PicoError:
    if isinstance(error, PicoError):
        return type(error)(error.message)
    return EngineUnavailable(f"the model kernel cannot be started: {type(error).__name__}: {error}")


def _shutting_down() -> EngineUnavailable:
    return EngineUnavailable("the server is shutting down")
