"""Downloads: runs the downloads of this process, and asks the hub about models. Belongs to one event loop.

Each download and each question runs in a child process, so this process never waits for the disk or the network, and a
failure of a download cannot end it. The state of a download is on the disk. After a restart, and in other processes, an
unfinished download is listed as paused and can be resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pico_jupyter.download_reports import Download, HubModel
from pico_jupyter.downloads.cache_layout import CachedRepo, begun_downloads, hub_cache
from pico_jupyter.downloads.jobs import (
    DescribeJob,
    FetchComplete,
    FetchJob,
    FetchProgress,
    HubAnswer,
    Job,
    JobFailed,
    JobReport,
    SearchJob,
)
from pico_jupyter.errors import Conflict, HubUnavailable, NotFound, PicoError

# -P: the working directory is not searched for modules.
WORKER_COMMAND = (sys.executable, "-P", "-m", "pico_jupyter.downloads.worker")
MAX_RUNNING = 2
# The rate is the average of this many seconds.
RATE_WINDOW = 5.0
QUESTION_SECONDS = 60.0
LINE_LIMIT = 16 << 20
ACTIVE = ("queued", "running")


class _Managed:
    """A download that was started or resumed in this process."""

    def __init__(self, record: Download, revision: str) -> None:
        self.record = record
        self.revision = revision
        self.task: asyncio.Task[None] | None = None
        self.failure: PicoError | None = None
        self.samples: deque[tuple[float, int]] = deque()
        self.changed = asyncio.Event()

    def update(self, **changes: object) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)
        self.changed.set()
        self.changed = asyncio.Event()

    def stop(self, state: str, failure: PicoError | None = None) -> None:
        """End with a `state` other than "running"."""
        self.failure = failure
        error = None if failure is None else failure.message
        self.update(state=state, rate=None, seconds_left=None, file=None, error=error)

    def note(self, report: JobReport) -> None:
        """Record a report of the child process, unless the download was stopped in the meantime."""
        if self.record.state != "running":
            return
        if isinstance(report, FetchProgress):
            self._note_progress(report)
        elif isinstance(report, FetchComplete):
            self.record = msgspec.structs.replace(self.record, completed=report.total, total=report.total)
            self.stop("complete")
        elif isinstance(report, JobFailed):
            self.stop("failed", report.error())

    def _note_progress(self, report: FetchProgress) -> None:
        now = time.monotonic()
        self.samples.append((now, report.completed))
        while now - self.samples[0][0] > RATE_WINDOW:
            self.samples.popleft()
        (first, begun), seconds = self.samples[0], now - self.samples[0][0]
        rate = max(0, report.completed - begun) / seconds if first != now else None
        self.update(
            completed=report.completed,
            total=report.total,
            file=report.file or None,
            rate=rate,
            seconds_left=(report.total - report.completed) / rate if rate else None,
        )


class Downloads:
    """Downloads models to the folder `cache`. At most two downloads run at once; others are queued.

    environ: the environment of the child processes, with HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE.
    retry_seconds: the first delay after a failure of the network.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        retry_seconds: float = 1.0,
    ) -> None:
        self._cache = cache or hub_cache(environ)
        self._environ = {**environ, "HF_HUB_CACHE": str(self._cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._retry_seconds = retry_seconds
        self._entries: dict[str, _Managed] = {}

    def __repr__(self) -> str:
        return f"<Downloads [{len(self._entries)} in this process]>"

    @property
    def is_running(self) -> bool:
        """Whether a download runs or is queued."""
        return any(entry.record.state in ACTIVE for entry in self._entries.values())

    def records(self) -> list[Download]:
        """The downloads of this process, and unfinished ones of earlier or other processes. Reads the disk.

        A download that runs in another process has no rate.
        """
        begun = {
            marker.model: Download(
                id=marker.model,
                model=marker.model,
                state="running" if repo.is_locked() else "failed" if marker.error else "paused",
                completed=repo.completed(marker),
                total=marker.total,
                error=marker.error or None,
                started=marker.started,
            )
            for repo, marker in begun_downloads(self._cache)
        }
        own = {model: entry.record for model, entry in self._entries.items()}
        return sorted([*(begun | own).values()], key=lambda download: download.started)

    def find(self, model: str) -> Download:
        """The download of a model. Raises NotFound."""
        for download in self.records():
            if download.model == model:
                return download
        raise NotFound(f"there is no download of {model}", param="model")

    def start(self, model: str, revision: str = "") -> Download:
        """Start a download, or resume it. Has no effect if it runs or is queued. `revision`: "" for main."""
        entry = self._entries.get(model)
        if entry is not None and entry.record.state in ACTIVE:
            return entry.record
        marker = CachedRepo(self._cache, model).read_marker()
        if marker is not None:
            revision = revision or marker.revision
        known = next((download for download in self.records() if download.model == model), None)
        if known is None or known.state == "complete":
            known = Download(id=model, model=model, state="queued", started=_now())
        entry = self._entries[model] = _Managed(msgspec.structs.replace(known, state="queued", error=None), revision)
        self._start_queued()
        return entry.record

    async def pause(self, model: str) -> Download:
        """Stop a download that runs or is queued.

        Raises NotFound, and Conflict if it is complete or runs in another process.
        """
        download = self.find(model)
        if download.state == "complete":
            raise Conflict(f"the download of {model} is complete")
        entry = self._entries.get(model)
        if entry is None:
            if download.state == "running":
                raise Conflict(f"another process is downloading or deleting {model}")
            return download
        if entry.record.state in ACTIVE:
            entry.stop("paused")
        await self._end(entry)
        return entry.record

    async def cancel(self, model: str) -> int:
        """Stop a download and delete its files. Returns the number of freed bytes.

        A complete download is only removed from the list.
        Raises NotFound, and Conflict if another process downloads the model.
        """
        is_complete = self.find(model).state == "complete"
        entry = self._entries.pop(model, None)
        if entry is not None:
            if entry.record.state in ACTIVE:
                entry.stop("paused")
            await self._end(entry)
        return 0 if is_complete else await asyncio.to_thread(CachedRepo(self._cache, model).cancel)

    def forget(self, model: str) -> None:
        """Remove a complete download from the list, because the model has been deleted."""
        entry = self._entries.get(model)
        if entry is not None and entry.record.state == "complete":
            del self._entries[model]

    async def watch(self, model: str, repeat_after: float | None = None) -> AsyncGenerator[Download, None]:
        """Yield the record of a download now and after each change, until the download neither runs nor is queued.

        repeat_after: the record is also yielded after this many seconds without a change. Raises NotFound, and the
        error of a download that fails.
        """
        entry = self._entries.get(model)
        if entry is None:
            raise NotFound(f"there is no download of {model}", param="model")
        while True:
            changed = entry.changed
            yield entry.record
            if entry.record.state not in ACTIVE:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), repeat_after)
        if entry.failure is not None:
            raise entry.failure

    async def search(self, words: str, limit: int) -> list[HubModel]:
        """Find models in MLX format on the hub. Raises PicoError."""
        return await self._ask(SearchJob(words, limit))

    async def describe(self, model: str) -> HubModel:
        """Describe a model of the hub exactly. Raises PicoError."""
        (described,) = await self._ask(DescribeJob(model))
        return described

    async def aclose(self) -> None:
        """Pause all downloads."""
        for entry in self._entries.values():
            if entry.record.state in ACTIVE:
                entry.stop("paused")
        for entry in self._entries.values():
            await self._end(entry)

    async def _end(self, entry: _Managed) -> None:
        if entry.task is not None:
            entry.task.cancel()
            await asyncio.wait([entry.task])
        self._start_queued()

    def _start_queued(self) -> None:
        running = sum(entry.record.state == "running" for entry in self._entries.values())
        queued = [entry for entry in self._entries.values() if entry.record.state == "queued"]
        for entry in queued[: max(0, MAX_RUNNING - running)]:
            entry.update(state="running")
            entry.task = asyncio.create_task(self._run(entry))

    async def _run(self, entry: _Managed) -> None:
        record = entry.record
        job = FetchJob(record.model, entry.revision, str(self._cache), record.started, self._retry_seconds)
        try:
            async with aclosing(self._reports(job)) as reports:
                async for report in reports:
                    entry.note(report)
        except OSError as error:
            entry.stop("failed", PicoError(f"the download process cannot be started: {error}"))
        if entry.record.state == "running":
            entry.stop("failed", PicoError("the download process ended unexpectedly. Resume to continue."))
        self._start_queued()

    async def _ask(self, job: Job) -> list[HubModel]:
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                async with aclosing(self._reports(job)) as reports:
                    async for report in reports:
                        if isinstance(report, JobFailed):
                            raise report.error()
                        if isinstance(report, HubAnswer):
                            return report.models
        except TimeoutError:
            raise HubUnavailable(f"the hub did not answer within {QUESTION_SECONDS:.0f} s") from None
        raise PicoError("the process that asks the hub ended unexpectedly")

    async def _reports(self, job: Job) -> AsyncGenerator[JobReport, None]:
        """Run a job in a child process, and yield its reports. Closing the generator ends the process."""
        process = await asyncio.create_subprocess_exec(
            *WORKER_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environ,
            limit=LINE_LIMIT,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            while (line := await process.stdout.readline()).endswith(b"\n"):
                yield msgspec.json.decode(line, type=JobReport)
            await process.wait()
        finally:
            # Popen.kill() competes with asyncio for the exit status of a process that has just ended.
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
