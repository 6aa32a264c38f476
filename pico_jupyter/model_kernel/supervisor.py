"""ModelKernel: an EngineClient that starts the model kernel on demand and restarts it after a crash.

At most one kernel runs. Requests that arrive during a start wait for its end. Cancelling a request does not cancel the
start. If the kernel crashes, the running requests continue in the next kernel, after the tokens that were received:
their readers notice only a pause. crashes.py decides when a request fails instead. aclose() ends all processes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import msgspec

from pico_jupyter.delta_stream import DeltaStream, extend_tokens
from pico_jupyter.engine_reports import EngineStatistics
from pico_jupyter.errors import EngineFailed, EngineUnavailable, PicoError
from pico_jupyter.model_kernel.blas_check import KILLS, is_library_fault
from pico_jupyter.model_kernel.crashes import Refusals, fate_after_crash, with_seed
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelEvent, KernelStarted
from pico_jupyter.model_kernel.launcher import KERNEL_COMMAND, KernelProcess, Log
from pico_jupyter.questions import (
    A,
    DetokenizePrompt,
    ListResident,
    LoadModel,
    Question,
    ReadStatistics,
    TokenizePrompt,
)
from pico_jupyter.types import Accepted, Delta, EngineOptions, Finished, GenerationRequest, Progress

START_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class _Attempt:
    """A request, the stream of its answer, and the process that runs it. After a crash, another process continues it.

    `tokens` are the tokens of each choice whose deltas were received. `crashes` counts the crashes while it ran.
    """

    kernel: ModelKernel
    request: GenerationRequest
    stream: DeltaStream
    process: KernelProcess | None = None
    is_accepted: bool = False
    has_output: bool = False  # whether a text, reasoning or tool call was sent
    tokens: list[list[int]] = field(default_factory=list)
    crashes: int = 0
    dispatched_tokens: int = 0

    @property
    def token_count(self) -> int:
        """The number of received tokens."""
        return sum(map(len, self.tokens))

    @property
    def can_continue(self) -> bool:
        """Whether another process can continue the answer without repeating a part of it."""
        return not self.has_output or self.token_count > 0

    def remaining_request(self) -> GenerationRequest:
        """The request for the rest of the answer."""
        self.dispatched_tokens = self.token_count
        return msgspec.structs.replace(self.request, sampled=tuple(map(tuple, self.tokens)))

    def add_tokens(self, tokens: Sequence[Sequence[int]]) -> None:
        extend_tokens(self.tokens, tokens)

    def feed(self, deltas: Sequence[Delta]) -> None:
        if isinstance(deltas[0], Accepted) and self.is_accepted:
            deltas = deltas[1:]  # The first kernel has already sent Accepted.
        self.is_accepted = True
        self.has_output = self.has_output or any(not isinstance(delta, Accepted | Progress) for delta in deltas)
        if deltas:
            self.stream.feed(deltas)
            if isinstance(deltas[-1], Finished):
                self.kernel.end(self)

    def fail(self, error: PicoError) -> None:
        self.kernel.retry(self, error)


class ModelKernel:
    """An EngineClient whose engine runs in a separate process.

    `command` starts the kernel; `-f CONNECTION_FILE --options JSON` is appended, and `--prepare` if a request needs the
    engine. For `silence_limit`, see LinkClient. A kernel that crashes within `stable_seconds` of its start is restarted
    only when a request needs it. `on_event` is called in the event loop. `find_blas` is called at each start and
    returns the libraries to try, the best first. Only one is preloaded.
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
        on_event: Callable[[KernelEvent], None] = lambda _: None,
        find_blas: Callable[[Mapping[str, str]], Sequence[Path]] = lambda _: (),
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
        self._on_event = on_event
        self._find_blas = find_blas
        self._refusals = Refusals(clock)
        self._waiting: deque[_Attempt] = deque()  # suspects of two crashes, which run one after the other
        self._suspect: _Attempt | None = None  # the one that runs
        self._crashed_streams = 0  # the number of streams that ran when the latest kernel crashed
        self._closed = False

    def __repr__(self) -> str:
        if self._process is not None:
            return f"<ModelKernel {self._process!r}>"
        return "<ModelKernel starting>" if self._starting is not None else "<ModelKernel not running>"

    @property
    def pid(self) -> int | None:
        """The kernel's process id; None if no kernel is running."""
        return self._process.pid if self._process is not None else None

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """See EngineClient.generate. Starts the kernel if it does not run."""
        stream = DeltaStream()
        if refusal := self._refusals.of(request):
            stream.fail(refusal)
        else:
            self._dispatch(_Attempt(self, with_seed(request), stream))
        return stream

    async def ask(self, question: Question[A]) -> A:
        """See EngineClient.ask. Starts the kernel if the answer needs it."""
        if self._process is None and _needs_no_kernel(question):
            return _answer_without_kernel(question)
        prepare = isinstance(question, LoadModel | TokenizePrompt | DetokenizePrompt)
        process = await self._running(prepare=prepare)
        try:
            return await process.client.ask(question)
        except EngineFailed:
            if process.exit_status is None:
                raise
        # The kernel has died.
        if _needs_no_kernel(question):
            return _answer_without_kernel(question)
        process = await self._running(prepare=prepare)
        return await process.client.ask(question)

    async def aclose(self) -> None:
        """End the kernel. Running requests fail with EngineUnavailable. May be called twice."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        # Read the process after the wait, because a start that completed during the wait has set it.
        if (process := self._process) is not None:
            process.client.fail(_shutting_down())
            self._stop_soon(process)
            self._process = None
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def retry(self, attempt: _Attempt, error: PicoError) -> None:
        """Continue a request in the next kernel if the kernel died. Otherwise fail the stream."""
        process = attempt.process
        if not isinstance(error, EngineFailed) or process is None or process.exit_status is None:
            self._fail(attempt, error)
            return
        attempt.crashes += 1
        has_progress = attempt.token_count > attempt.dispatched_tokens
        fate = fate_after_crash(attempt.crashes, is_alone=self._crashed_streams == 1, has_progress=has_progress)
        if fate == "end":
            self._fail(attempt, self._refusals.add(attempt.request))
        elif not attempt.can_continue:
            self._fail(attempt, error)
        elif fate == "isolate":
            self.end(attempt)
            self._waiting.append(attempt)
            attempt.stream.on_close = partial(self._forget, attempt)
            self._run_next_suspect()
        else:
            self._dispatch(attempt)

    def end(self, attempt: _Attempt) -> None:
        """Handle the end of an attempt: the next suspect may run."""
        if attempt is self._suspect:
            self._suspect = None
            self._run_next_suspect()

    def _fail(self, attempt: _Attempt, error: PicoError) -> None:
        attempt.stream.fail(error)
        self.end(attempt)

    def _run_next_suspect(self) -> None:
        """Run the next of the requests that ran in two crashes, if none of them runs."""
        while self._waiting and self._suspect is None:
            attempt = self._waiting.popleft()
            if not attempt.stream.is_complete:
                self._suspect = attempt
                self._dispatch(attempt)

    def _forget(self, attempt: _Attempt) -> None:
        """Handle that the reader closed the stream of a suspect."""
        if attempt in self._waiting:
            self._waiting.remove(attempt)
        self.end(attempt)

    def _dispatch(self, attempt: _Attempt) -> None:
        """Send a request to the kernel. Starts the kernel first if it is not running."""
        if self._closed:
            self._fail(attempt, _shutting_down())
        elif self._process is not None:
            self._open_stream(attempt, self._process)
        else:
            self._start_soon(prepare=True).add_done_callback(partial(self._dispatch_started, attempt))

    def _dispatch_started(self, attempt: _Attempt, starting: asyncio.Task[KernelProcess]) -> None:
        if attempt.stream.is_complete:
            self.end(attempt)
        elif starting.cancelled() or self._closed:
            self._fail(attempt, _shutting_down())
        elif error := starting.exception():
            self._fail(attempt, _as_start_failure(error))
        else:
            self._open_stream(attempt, starting.result())

    def _open_stream(self, attempt: _Attempt, process: KernelProcess) -> None:
        attempt.process = process
        abort = process.client.open_stream(attempt.remaining_request(), attempt)

        def close() -> None:
            abort()
            self.end(attempt)

        attempt.stream.on_close = close

    async def _running(self, *, prepare: bool = False) -> KernelProcess:
        """Return the running kernel, or start one. `prepare` also starts the engine. Raises EngineUnavailable."""
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
            self._starting.add_done_callback(self._handle_start)
        return self._starting

    async def _start(self, prepare: bool) -> KernelProcess:
        started_at = self._clock()
        command = (*self._command, "--prepare") if prepare else self._command
        process = await self._launch(command, self._find_blas(self._environ))
        process.on_exit = self._handle_exit
        process.client.on_event = self._on_event
        self._started_at = self._clock()
        self._log.info(
            "pico_jupyter: the model kernel started in %.1f s (pid %d, %s)",
            self._started_at - started_at,
            process.pid,
            f"with {process.blas}" if process.blas else "with mlx's own BLAS",
        )
        return process

    async def _launch(
        self, command: Sequence[str], libraries: Sequence[Path], *, is_retry: bool = False
    ) -> KernelProcess:
        """Start a process with the first of `libraries`. If that is at fault, try the next one, and at last none.

        If the process is killed, try once more.
        """
        blas = libraries[0] if libraries else None
        process = KernelProcess(command, self._options, self._log, self._silence_limit)
        try:
            await process.start(self._environ, START_SECONDS, blas)
        except BaseException as error:
            await asyncio.shield(self._stop_soon(process))
            is_at_fault = blas is not None and is_library_fault(process.tail, process.exit_status)
            is_killed = process.exit_status in KILLS and not is_retry
            if not isinstance(error, EngineUnavailable) or not (is_at_fault or is_killed):
                raise
            failure = error
        else:
            return process
        if is_at_fault:
            self._log.warning("pico_jupyter: starting again without %s: %s", blas, failure)
            return await self._launch(command, libraries[1:])
        self._log.warning("pico_jupyter: starting again: %s", failure)
        return await self._launch(command, libraries, is_retry=True)

    def _handle_start(self, starting: asyncio.Task[KernelProcess]) -> None:
        """Handle the end of a start. Called before the callbacks of the requests that wait for the start."""
        self._starting = None
        if starting.cancelled():
            return
        if error := starting.exception():
            self._log.error("pico_jupyter: %s", error)
        elif self._closed:
            self._stop_soon(starting.result())
        elif starting.result().exit_status is None:
            self._process = starting.result()
            self._on_event(KernelStarted())

    def _stop_soon(self, process: KernelProcess) -> asyncio.Task[None]:
        """Start a task that stops a process. Cancelling the caller does not cancel the task."""
        stopping = asyncio.get_running_loop().create_task(process.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        return stopping

    def _handle_exit(self, process: KernelProcess) -> None:
        """Clean up after a crash and fail the running requests. Start a new kernel if the old one ran long enough."""
        if self._closed:
            return
        self._process = None
        self._stop_soon(process)
        how, tail = process.describe_exit(), process.tail or "(none)"
        self._log.warning("pico_jupyter: the model kernel died (%s). Its last lines:\n%s", how, tail)
        self._on_event(KernelCrashed(how))
        self._crashed_streams = process.client.stream_count
        process.client.fail(EngineFailed(f"the model kernel died in the middle of the request ({how})"))
        if self._clock() - self._started_at >= self._stable_seconds:
            self._start_soon(prepare=True)


def _needs_no_kernel(question: Question[object]) -> bool:
    return isinstance(question, ListResident | ReadStatistics)


def _answer_without_kernel(question: Question[A]) -> A:
    """Return the answer while no kernel is running: no resident models, or statistics that are all zero."""
    return cast(A, () if isinstance(question, ListResident) else EngineStatistics())


def _as_start_failure(error: BaseException) -> PicoError:
    if isinstance(error, PicoError):
        return type(error)(error.message)
    return EngineUnavailable(f"the model kernel cannot be started: {type(error).__name__}: {error}")


def _shutting_down() -> EngineUnavailable:
    return EngineUnavailable("the server is shutting down")
