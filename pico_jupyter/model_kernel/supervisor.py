"""ModelKernel: the engine in the model kernel, which it starts when needed and again when it died. Knows no dialect."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from pico_jupyter.errors import EngineFailed, EngineUnavailable
from pico_jupyter.model_kernel.launcher import KERNEL_COMMAND, KernelProcess, Log
from pico_jupyter.model_kernel.news import KernelCrashed, KernelNews, KernelStarted
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

# Invariants: at most one kernel runs; all that wait for it wait for the same start, which no caller's cancellation
# ends; a request is tried twice at most, and only while its reader has seen no text.

START_SECONDS = 60.0
MOST_CRASHES = 2
REMEMBERED_CRASHES = 256
# An innocent request may have run beside the one that kills: nobody is refused for longer.
CRASH_MEMORY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Crashes:
    """How often the kernel died while a request ran, and when it last did, by the clock."""

    count: int
    latest: float


class ModelKernel:
    """An EngineClient whose engine is in a process of its own.

    `command` starts the kernel; `-f CONNECTION_FILE --options JSON` are added, and `--prepare` where the engine is sure
    to be needed. `silence_limit` is how many seconds a request may hear nothing from it. A kernel that dies within
    `stable_seconds` of its start is not started again until somebody needs it. `on_news` is called in the event loop.
    `find_openblas` is asked at each start for a library to preload.
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

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """See EngineClient.generate. Starts the kernel when none runs."""
        accepted = False
        while True:
            self._refuse_dangerous(request)
            process = await self._running(prepare=True)
            said = False
            try:
                async with aclosing(process.client.generate(request)) as deltas:
                    async for delta in deltas:
                        if isinstance(delta, Accepted) and accepted:
                            continue
                        accepted = True
                        said = said or not isinstance(delta, Accepted | Progress)
                        if isinstance(delta, Finished):
                            self._forgive(request)
                        yield delta
                return
            except EngineFailed:
                if process.exit_status is None:
                    raise
                self._blame(request)
                if said:
                    raise

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
        """End the kernel; what is under way fails with EngineUnavailable. Takes bounded time; may be called twice."""
        self._closed = True
        process, self._process = self._process, None
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if process is not None:
            process.client.fail(_shutting_down())
            await process.stop()
        await asyncio.gather(*self._stopping)

    async def _running(self, *, prepare: bool = False) -> KernelProcess:
        """The kernel, started if need be, with its engine where that is to `prepare`. Raises EngineUnavailable."""
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
            self._starting.add_done_callback(self._take_start)
        return self._starting

    async def _start(self, prepare: bool) -> KernelProcess:
        started_at = self._clock()
        command = (*self._command, "--prepare") if prepare else self._command
        openblas = self._find_openblas(self._environ)
        process = await self._launch(command, openblas)
        process.on_exit = self._take_exit
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
        """Start a process; once more without `openblas` where it dies at once with it."""
        process = KernelProcess(command, self._options, self._log, self._silence_limit)
        try:
            await process.start(self._environ, START_SECONDS, openblas)
        except BaseException as error:
            await process.stop()
            if openblas is None or not isinstance(error, EngineUnavailable) or process.exit_status is None:
                raise
            failure = error
        else:
            return process
        self._log.warning("pico_jupyter: with %s preloaded %s; trying without", openblas, failure)
        process = await self._launch(command, None)
        # It starts without: so the library was to blame, and will be the next time.
        self._find_openblas = lambda _: None
        return process

    def _take_start(self, starting: asyncio.Task[KernelProcess]) -> None:
        """Before anybody who waits for the start goes on: remember the process, or say why there is none."""
        self._starting = None
        if starting.cancelled():
            return
        if error := starting.exception():
            self._log.error("pico_jupyter: %s", error)
        elif starting.result().exit_status is None:
            self._process = starting.result()
            self._on_news(KernelStarted())

    def _take_exit(self, process: KernelProcess) -> None:
        """The kernel died. Requests under way hear of it, the remains are cleared away, and a new one is started."""
        if self._closed:
            return
        self._process = None
        stopping = asyncio.get_running_loop().create_task(process.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        how = process.describe_exit()
        process.client.fail(EngineFailed(f"the model kernel died in the middle of the request ({how})"))
        self._log.warning(
            "pico_jupyter: the model kernel died (%s). Its last lines:\n%s", how, process.tail or "(none)"
        )
        self._on_news(KernelCrashed(how))
        if self._clock() - self._started_at >= self._stable_seconds:
            self._start_soon(prepare=True)

    def _refuse_dangerous(self, request: GenerationRequest) -> None:
        crashes = self._crashes.get(_fingerprint(request)) if self._crashes else None
        if crashes is None or crashes.count < MOST_CRASHES:
            return
        left = crashes.latest + CRASH_MEMORY_SECONDS - self._clock()
        if left > 0:
            raise EngineFailed(
                "this request was running both times when the model kernel died; it is not tried again for "
                f"{math.ceil(left / 60)} min"
            )
        self._forgive(request)

    def _blame(self, request: GenerationRequest) -> None:
        fingerprint = _fingerprint(request)
        earlier = self._crashes.pop(fingerprint, None)
        self._crashes[fingerprint] = _Crashes(1 if earlier is None else earlier.count + 1, self._clock())
        while len(self._crashes) > REMEMBERED_CRASHES:
            self._crashes.popitem(last=False)

    def _forgive(self, request: GenerationRequest) -> None:
        if self._crashes:
            self._crashes.pop(_fingerprint(request), None)


def _needs_engine(question: Question[object]) -> bool:
    return isinstance(question, LoadModel)


def _starts_nothing(question: Question[object]) -> bool:
    return isinstance(question, ListResident | ReadStatistics)


def _answer_of_none(question: Question[A]) -> A:
    """What a question that starts nothing is answered while no kernel runs."""
    return cast(A, () if isinstance(question, ListResident) else EngineStatistics())


def _fingerprint(request: GenerationRequest) -> str:
    """What makes a request the same one when it is sent again: all but its id."""
    return hashlib.sha256(msgspec.msgpack.encode(msgspec.structs.replace(request, id=""))).hexdigest()


def _shutting_down() -> EngineUnavailable:
    return EngineUnavailable("the server is shutting down")
