"""The model kernel as a process: its start on demand, its restart after a crash, and its complete end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from pico_jupyter.client import collect
from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded
from pico_jupyter.errors import EngineFailed, EngineUnavailable, ModelNotFound
from pico_jupyter.model_kernel.blas import find_blas
from pico_jupyter.model_kernel.crashes import REFUSAL_SECONDS
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelEvent, KernelStarted
from pico_jupyter.model_kernel.supervisor import ModelKernel
from pico_jupyter.questions import DescribeMemory, FindModel, ListModels, ListResident, LoadModel, UnloadModel
from pico_jupyter.types import Accepted, Delta, EngineOptions, Finished, GenerationRequest, RawPrompt, TextDelta
from tests.fakes.backend import FakeClock
from tests.fakes.engine_client import MEMORY, MODEL
from tests.server.conftest import until

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = (sys.executable, "-m", "tests.fakes.model_kernel")
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}
# A library that the loader finds, and whose preloading has no effect.
LIBRARY = Path("libc.so.6")
LOG = logging.getLogger("pico_jupyter.test_model_kernel")

StartKernel = Callable[..., ModelKernel]


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files. The test fails if a file or a process remains.

    It is not below tmp_path, whose path may be too long for a socket. pytest must create tmp_path before that.
    """
    assert tmp_path.is_dir()
    folder = Path(tempfile.mkdtemp(prefix="t"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = set(psutil.Process().children(recursive=True))
    yield folder
    assert set(psutil.Process().children(recursive=True)) <= before
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.fixture
async def start_kernel(temporary_folder: Path) -> AsyncIterator[StartKernel]:
    """Makes ModelKernels that run the scripted kernel, and closes them."""
    kernels: list[ModelKernel] = []

    def make(*arguments: str, command: tuple[str, ...] = SCRIPTED, **kwargs: object) -> ModelKernel:
        kernel = ModelKernel(
            EngineOptions(),
            log=LOG,
            command=(*command, *arguments),
            environ=ENVIRON,
            **kwargs,  # type: ignore[arg-type]  # passed on
        )
        kernels.append(kernel)
        return kernel

    yield make
    for kernel in kernels:
        await asyncio.wait_for(kernel.aclose(), 20)


def request(prompt: str) -> GenerationRequest:
    return GenerationRequest(id=os.urandom(4).hex(), model="tiny", prompt=RawPrompt(prompt))


async def read(kernel: ModelKernel, prompt: str) -> list[Delta]:
    async with aclosing(kernel.generate(request(prompt))) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


async def test_no_process_runs_before_it_is_needed(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    assert await kernel.ask(ListResident()) == ()
    assert kernel.pid is None
    assert repr(kernel) == "<ModelKernel not running>"


async def test_questions_and_answers_reach_the_engine_in_the_kernel(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    assert await kernel.ask(ListModels()) == (MODEL,)
    assert await kernel.ask(FindModel("org/tiny")) == MODEL
    with pytest.raises(ModelNotFound):
        await kernel.ask(UnloadModel("none"))
    await kernel.ask(LoadModel("tiny", float("inf")))
    deltas = await read(kernel, "count 3")
    assert text_of(deltas) == "0 1 2 "
    assert isinstance(deltas[-1], Finished)
    assert repr(kernel) == "<ModelKernel <KernelProcess running <LinkClient [0 streams | 0 questions]>>>"


async def test_the_kernel_reports_the_memory(start_kernel: StartKernel) -> None:
    assert await start_kernel().ask(DescribeMemory()) == MEMORY


async def test_requests_that_wait_for_the_start_share_one_kernel(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    answers = await asyncio.gather(*(read(kernel, "count 2") for _ in range(5)))
    pids = {delta.prompt_tokens for answer in answers for delta in answer if isinstance(delta, Accepted)}
    assert pids == {kernel.pid}


async def test_cancelling_one_request_during_the_start_does_not_cancel_the_start(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    impatient, patient = asyncio.create_task(kernel.ask(ListModels())), asyncio.create_task(kernel.ask(ListModels()))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == (MODEL,)
    assert impatient.cancelled()


async def test_two_streams_run_side_by_side(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    endless = asyncio.create_task(read(kernel, "talk"))
    assert text_of(await read(kernel, "count 100 0.001")) == "".join(f"{i} " for i in range(100))
    assert not endless.done()
    endless.cancel()


async def test_fifty_thousand_deltas_reach_a_slow_reader_completely(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    text, count = "", 0
    async with aclosing(kernel.generate(request("count 50000"))) as deltas:
        async for delta in deltas:
            text += delta.text if isinstance(delta, TextDelta) else ""
            count += 1
            await asyncio.sleep(0.02)  # the reader is slow, so that deltas queue up
    assert text == "".join(f"{i} " for i in range(50_000))
    assert count < 5000


async def test_a_reader_with_a_blocked_event_loop_loses_nothing(start_kernel: StartKernel, tmp_path: Path) -> None:
    """A message per delta, more than zmq's default limit of 1000."""
    kernel = start_kernel("--window", "0")
    text = ""
    all_sent = tmp_path / "all sent"
    async with aclosing(kernel.generate(request(f"count 20000 0 {all_sent}"))) as deltas:
        await anext(deltas)
        while not all_sent.exists():
            time.sleep(0.01)  # noqa: ASYNC251  the test blocks the event loop
        async for delta in deltas:
            text += delta.text if isinstance(delta, TextDelta) else ""
    assert text == "".join(f"{i} " for i in range(20_000))


async def test_closing_a_stream_aborts_the_request_in_the_engine(start_kernel: StartKernel, tmp_path: Path) -> None:
    kernel = start_kernel()
    mark = tmp_path / "mark"
    async with aclosing(kernel.generate(request(f"mark {mark}"))) as deltas:
        await anext(deltas)
        assert await anext(deltas) == TextDelta("word")
        assert not mark.exists()
    await until(mark.exists)


async def test_a_kernel_killed_in_the_middle_ends_the_stream_with_an_error(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    async with aclosing(kernel.generate(request("talk"))) as deltas:
        await anext(deltas)
        await anext(deltas)
        assert kernel.pid is not None
        os.kill(kernel.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match=r"died in the middle of the request \(killed by SIGKILL\)"):
            await asyncio.wait_for(anext(deltas), 10)


async def test_the_next_request_after_a_kill_works(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    await kernel.ask(ListModels())
    killed = kernel.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert text_of(await read(kernel, "count 1")) == "0 "
    assert kernel.pid != killed


async def test_a_request_without_text_is_retried_after_a_crash(start_kernel: StartKernel, tmp_path: Path) -> None:
    deltas = await read(start_kernel(), f"die once {tmp_path / 'died'}")
    assert text_of(deltas) == "survived"
    assert sum(isinstance(delta, Accepted) for delta in deltas) == 1


async def test_a_running_question_is_retried_after_a_crash(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    await kernel.ask(ListModels())
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGSTOP)
    asking = asyncio.create_task(kernel.ask(ListModels()))
    await asyncio.sleep(0)
    os.kill(kernel.pid, signal.SIGKILL)
    assert await asking == (MODEL,)


async def test_a_request_with_text_is_not_retried(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    async with aclosing(kernel.generate(request("die late"))) as deltas:
        await anext(deltas)
        assert await anext(deltas) == TextDelta("last words")
        with pytest.raises(EngineFailed, match="died"):
            await anext(deltas)


def deaths(folder: Path, count: int) -> Path:
    """A file that lets the scripted kernel die `count` times."""
    file = folder / "deaths"
    file.write_text("die\n" * count)
    return file


@pytest.mark.parametrize("count", [1, 2])
async def test_an_answer_goes_on_in_the_next_kernel(start_kernel: StartKernel, tmp_path: Path, count: int) -> None:
    deltas = await read(start_kernel(), f"tokens 9 {deaths(tmp_path, count)}")
    assert text_of(deltas) == "0 1 2 3 4 5 6 7 8 "
    assert sum(isinstance(delta, Accepted) for delta in deltas) == 1
    assert sum(isinstance(delta, Finished) for delta in deltas) == 1


async def test_an_answer_ends_with_an_error_after_the_third_crash(start_kernel: StartKernel, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="refused for 5 min"):
        await read(start_kernel(), f"tokens 9 {deaths(tmp_path, 3)}")


async def test_requests_beside_a_killer_get_their_answers(start_kernel: StartKernel, tmp_path: Path) -> None:
    kernel = start_kernel()
    none = deaths(tmp_path, 0)
    reading = [asyncio.create_task(read(kernel, f"tokens 40{number} {none}")) for number in range(3)]
    with pytest.raises(EngineFailed, match="refused for 5 min"):
        await read(kernel, "die")
    for number, deltas in enumerate(await asyncio.gather(*reading)):
        assert text_of(deltas).split() == [str(i) for i in range(400 + number)]


async def test_closing_suspects_lets_the_next_one_run(start_kernel: StartKernel) -> None:
    crashes: list[KernelEvent] = []
    kernel = start_kernel(on_event=lambda event: crashes.append(event) if isinstance(event, KernelCrashed) else None)
    dying = [kernel.generate(request(f"die {number}")) for number in range(3)]
    await until(lambda: len(crashes) == 2)
    for stream in dying[:2]:
        stream.close()
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(collect(dying[2]), 20)
    assert text_of(await read(kernel, "count 1")) == "0 "


async def test_a_request_that_killed_two_kernels_is_refused_for_minutes(start_kernel: StartKernel) -> None:
    clock = FakeClock()
    kernel = start_kernel(clock=clock)
    with pytest.raises(EngineFailed, match="the request is refused for"):
        await read(kernel, "die")
    pid = (await kernel.ask(ListModels())) and kernel.pid
    with pytest.raises(EngineFailed, match="the request is refused for"):
        await read(kernel, "die")
    assert kernel.pid == pid
    assert text_of(await read(kernel, "count 1")) == "0 "
    clock.advance(REFUSAL_SECONDS)
    with pytest.raises(EngineFailed, match="the request is refused for"):
        await read(kernel, "die")
    assert kernel.pid != pid, "the request is tried again, and kills two more kernels"


async def test_events_of_the_engine_arrive(start_kernel: StartKernel) -> None:
    events: list[KernelEvent] = []
    await read(start_kernel(on_event=events.append), "load")
    await until(lambda: len(events) >= 3)
    assert events[:3] == [KernelStarted(), ModelLoaded("tiny", 1000, 0.5), EngineStatistics(resident_bytes=1000)]


async def test_starts_and_crashes_are_reported_but_a_requested_end_is_not(start_kernel: StartKernel) -> None:
    events: list[KernelEvent] = []
    kernel = start_kernel(on_event=lambda one: None if isinstance(one, EngineStatistics) else events.append(one))
    await kernel.ask(ListModels())
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGKILL)
    await until(lambda: kernel.pid is None)
    await kernel.ask(ListModels())
    await kernel.aclose()
    assert events == [KernelStarted(), KernelCrashed("killed by SIGKILL"), KernelStarted()]


async def test_a_stable_kernel_is_restarted_at_once_after_a_crash(start_kernel: StartKernel) -> None:
    kernel = start_kernel(stable_seconds=0.0)
    await kernel.ask(ListModels())
    killed = kernel.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await until(lambda: kernel.pid not in (None, killed))


async def test_a_kernel_that_crashes_early_is_restarted_on_demand_only(start_kernel: StartKernel) -> None:
    kernel = start_kernel(stable_seconds=3600.0)
    await kernel.ask(ListModels())
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGKILL)
    await until(lambda: repr(kernel) == "<ModelKernel not running>")


async def test_a_frozen_kernel_is_replaced_and_the_request_goes_on(start_kernel: StartKernel, tmp_path: Path) -> None:
    kernel = start_kernel(silence_limit=2.0)
    assert text_of(await read(kernel, f"freeze once {tmp_path / 'frozen'}")) == "survived"


async def test_a_request_that_freezes_every_kernel_ends_with_an_error(start_kernel: StartKernel) -> None:
    kernel = start_kernel(silence_limit=2.0)
    with pytest.raises(EngineFailed, match="refused for 5 min"):
        await read(kernel, "freeze")
    assert text_of(await read(kernel, "count 1")) == "0 "


async def test_a_kernel_that_cannot_start_reports_the_reason(start_kernel: StartKernel) -> None:
    kernel = start_kernel(command=(sys.executable, "-c", "raise SystemExit('no such thing as mlx')"))
    with pytest.raises(EngineUnavailable, match=r"did not start \(exit status 1\)\nno such thing as mlx"):
        await kernel.ask(ListModels())
    with pytest.raises(EngineUnavailable, match="no such thing as mlx"):
        await read(kernel, "count 1")


FAULTY = """
import os, runpy, signal, sys
if "PICO_JUPYTER_PRELOADED" in os.environ:
    print({says!r}, flush=True)
    {ends}
runpy.run_module("tests.fakes.model_kernel", run_name="__main__")
"""


def finds(library: Path, asked: list[Path]) -> Callable[[object], tuple[Path, ...]]:
    def find(environ: object) -> tuple[Path, ...]:
        asked.append(library)
        return (library,)

    return find


@pytest.mark.parametrize(
    ("says", "ends"),
    [
        ("python: symbol lookup error: libfaulty.so: undefined symbol: x", "sys.exit(127)"),
        ("ERROR: wrong results of the preloaded BLAS: libfaulty.so", "sys.exit(1)"),
        ("INFO: checking the preloaded BLAS: libfaulty.so", "os.kill(os.getpid(), signal.SIGILL)"),
    ],
    ids=["the loader says so", "its results are wrong", "it crashes"],
)
async def test_a_kernel_that_cannot_start_with_a_preloaded_library_starts_without_it(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture, says: str, ends: str, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO, logger=LOG.name)
    asked: list[Path] = []
    command = (sys.executable, "-c", FAULTY.format(says=says, ends=ends))
    kernel = start_kernel(command=command, find_blas=finds(LIBRARY, asked))
    assert await kernel.ask(ListModels()) == (MODEL,)
    assert f"starting again without {LIBRARY}: the model kernel did not start" in caplog.text
    assert "with mlx's own BLAS" in caplog.text
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGKILL)
    assert text_of(await read(kernel, "count 1")) == "0 "
    assert len(asked) == 2, "the next start tries it again"


FAULTY_FIRST = """
import os, runpy, sys
from pico_jupyter.model_kernel import wire
if os.environ.get(wire.PRELOADED_VARIABLE) == "libm.so.6":
    sys.exit("python: symbol lookup error: libm.so.6: undefined symbol: x")
runpy.run_module("tests.fakes.model_kernel", run_name="__main__")
"""


async def test_after_a_faulty_library_the_next_one_is_preloaded(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=LOG.name)
    libraries = (Path("libm.so.6"), LIBRARY)
    kernel = start_kernel(command=(sys.executable, "-c", FAULTY_FIRST), find_blas=lambda _: libraries)
    assert await kernel.ask(ListModels()) == (MODEL,)
    assert "starting again without libm.so.6" in caplog.text
    assert f"with {LIBRARY}" in caplog.text


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
async def test_a_kernel_killed_during_its_start_is_no_fault_of_the_library(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture, number: str
) -> None:
    caplog.set_level(logging.INFO, logger=LOG.name)
    asked: list[Path] = []
    says, ends = "INFO: checking the preloaded BLAS: libfine.so", f"os.kill(os.getpid(), signal.{number})"
    command = (sys.executable, "-c", FAULTY.format(says=says, ends=ends))
    kernel = start_kernel(command=command, find_blas=finds(LIBRARY, asked))
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=f"killed by {number}"):
            await kernel.ask(ListModels())
    assert len(asked) == 2, "the next start tries it again"
    assert "own BLAS" not in caplog.text


KILLED_ONCE = """
import os, pathlib, runpy, signal
marker = pathlib.Path({marker!r})
if not marker.exists():
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
runpy.run_module("tests.fakes.model_kernel", run_name="__main__")
"""


async def test_a_kernel_killed_during_its_start_is_started_once_more(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    command = (sys.executable, "-c", KILLED_ONCE.format(marker=str(tmp_path / "killed")))
    kernel = start_kernel(command=command)
    assert text_of(await read(kernel, "count 1")) == "0 "
    assert "starting again: the model kernel did not start (killed by SIGKILL)" in caplog.text


async def test_the_library_is_tried_again_after_a_failed_start(start_kernel: StartKernel) -> None:
    asked: list[Path] = []

    kernel = start_kernel(command=(sys.executable, "-c", "raise SystemExit('no mlx')"), find_blas=finds(LIBRARY, asked))
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="no mlx"):
            await kernel.ask(ListModels())
    assert len(asked) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="preloading is for Linux")
async def test_a_found_library_is_loaded_into_the_kernel_and_logged(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=LOG.name)
    library = find_blas(os.environ)[0]
    kernel = start_kernel(find_blas=find_blas)
    await kernel.ask(ListModels())
    assert f"with {library}" in caplog.text
    assert str(library) in {mapped.path for mapped in psutil.Process(kernel.pid).memory_maps()}


async def test_a_missing_program_is_reported(start_kernel: StartKernel) -> None:
    with pytest.raises(EngineUnavailable, match=r"cannot be started.*no-such-python"):
        await start_kernel(command=("no-such-python",)).ask(ListModels())


async def test_closing_ends_the_streams_and_refuses_new_ones(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    async with aclosing(kernel.generate(request("talk"))) as deltas:
        await anext(deltas)
        await anext(deltas)
        await kernel.aclose()
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await anext(deltas)
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await kernel.ask(ListModels())
    assert await kernel.ask(ListResident()) == ()


class OnRecord(logging.Handler):
    """Calls `action` at the first log record that holds `text`."""

    def __init__(self, text: str, action: Callable[[], object]) -> None:
        super().__init__()
        self._text = text
        self._action: Callable[[], object] | None = action

    def emit(self, record: logging.LogRecord) -> None:
        if self._action is not None and self._text in record.getMessage():
            action, self._action = self._action, None
            action()


@pytest.fixture
def on_record() -> Iterator[Callable[[str, Callable[[], object]], None]]:
    LOG.setLevel(logging.DEBUG)
    handlers: list[logging.Handler] = []

    def add(text: str, action: Callable[[], object]) -> None:
        handlers.append(OnRecord(text, action))
        LOG.addHandler(handlers[-1])

    yield add
    for handler in handlers:
        LOG.removeHandler(handler)
    LOG.setLevel(logging.NOTSET)


@pytest.mark.parametrize("text", ["a word on stdout", "a word of warning", "the model kernel started"])
async def test_closing_at_any_moment_of_the_start_leaves_no_process(
    start_kernel: StartKernel, on_record: Callable[[str, Callable[[], object]], None], text: str
) -> None:
    """The last moment is the one in which the start completes."""
    kernel = start_kernel()
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[None]] = []
    on_record(text, lambda: loop.call_soon_threadsafe(lambda: closing.append(loop.create_task(kernel.aclose()))))
    waiting = asyncio.create_task(kernel.ask(ListModels()))
    await asyncio.wait({waiting})
    await until(lambda: closing)
    await asyncio.wait_for(closing[0], 10)
    if text != "the model kernel started":
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await waiting
    assert kernel.pid is None


@pytest.mark.parametrize("turns", range(4))
async def test_closing_in_the_first_turns_of_the_start_leaves_no_process(start_kernel: StartKernel, turns: int) -> None:
    kernel = start_kernel()
    waiting = asyncio.create_task(kernel.ask(ListModels()))
    streaming = asyncio.create_task(read(kernel, "count 1"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(kernel.aclose(), kernel.aclose()), 10)
    for task in (waiting, streaming):
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await task


async def test_closing_before_the_start_refuses_later_requests(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    await kernel.aclose()
    with pytest.raises(EngineUnavailable, match="shutting down"):
        await read(kernel, "count 1")


async def test_cancelled_closing_leaves_no_process(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    await kernel.ask(ListModels())
    process = psutil.Process(kernel.pid)
    process.suspend()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kernel.aclose(), 0.05)
    await until(lambda: not process.is_running())


async def test_closing_waits_for_the_cleanup_of_a_crashed_kernel(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    await kernel.ask(ListModels())
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGKILL)
    await until(lambda: kernel.pid is None)
    await asyncio.wait_for(kernel.aclose(), 10)


async def test_closing_a_frozen_kernel_takes_bounded_time(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    await kernel.ask(ListModels())
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGSTOP)
    await asyncio.wait_for(kernel.aclose(), 10)


async def test_the_kernels_output_is_in_the_servers_log(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=LOG.name)
    await start_kernel().ask(ListModels())
    records = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("DEBUG", "model kernel: a word on stdout") in records
    assert ("WARNING", "model kernel: a word of warning") in records


async def test_the_engine_is_prepared_for_an_answer_but_not_for_a_list(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=LOG.name)
    await start_kernel().ask(ListModels())
    assert "prepares" not in caplog.text
    await read(start_kernel(), "count 1")
    assert "prepares" in caplog.text


async def test_the_engine_is_prepared_after_a_crash(
    start_kernel: StartKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=LOG.name)
    kernel = start_kernel(stable_seconds=0.0)
    await kernel.ask(ListModels())
    assert kernel.pid is not None
    os.kill(kernel.pid, signal.SIGKILL)
    await until(lambda: "prepares" in caplog.text)


@pytest.mark.skipif(sys.platform == "win32", reason="sleep is a command elsewhere")
async def test_a_crash_is_noticed_while_a_child_of_the_kernel_runs_on(start_kernel: StartKernel) -> None:
    kernel = start_kernel()
    orphan = psutil.Process(int(text_of(await read(kernel, "orphan 600"))))
    async with aclosing(kernel.generate(request("talk"))) as deltas:
        await anext(deltas)
        await anext(deltas)
        assert kernel.pid is not None
        os.kill(kernel.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="died"):
            await asyncio.wait_for(anext(deltas), 10)
    orphan.kill()
