"""One download with one injected fault, and what must hold after it: used by test_faults.py and campaign.py."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pico_jupyter.download_reports import Download
from pico_jupyter.downloads.cache_layout import CachedRepo
from pico_jupyter.downloads.manager import Downloads
from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR, Catalog
from pico_jupyter.errors import PicoError
from pico_jupyter.types import EngineOptions
from tests.fakes.hub import FakeHub, Fault, HubRepo, running_hub

MODEL = "mlx-community/small-4bit"
FOLDER = BUILTIN_DIR / "pico-tiny"
WORKER = "pico_jupyter.downloads.worker"
WEIGHTS = "/cdn/"
END_SECONDS = 90.0
KINDS = (
    *("slow", "reset", "truncate", "wrong", "wrong small file", "whole", "401", "403", "404", "429", "500", "list 500"),
    *("killed worker", "killed server", "full disk", "paused", "hub down"),
)
# The program of a server that is killed: it downloads MODEL to the folder in its first argument.
SERVER = """
import asyncio, sys
from pathlib import Path
from pico_jupyter.downloads.manager import Downloads
async def main():
    downloads = Downloads(Path(sys.argv[1]), retry_seconds=0.05)
    downloads.start(sys.argv[2])
    async for record in downloads.watch(sys.argv[2]):
        pass
asyncio.run(main())
"""


@dataclass
class Outcome:
    """What a case found. A case without faults of our own has 0 in all numbers, and no problems.

    wrong_models: how often an incomplete model was listed. lost_bytes: bytes on the disk that were requested again.
    hangs: downloads that did not end. resent: bytes that the hub sent and that a reset connection lost on the way.
    """

    kind: str
    wrong_models: int = 0
    lost_bytes: int = 0
    hangs: int = 0
    resent: int = 0
    problems: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Case:
    """A download into an empty cache below `folder`, with a fault of `kind` at a random point."""

    def __init__(self, kind: str, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.cache = folder / f"cache-{kind.replace(' ', '-')}-{seed}"
        self.hub = FakeHub(HubRepo(MODEL, FOLDER))
        self.repo = CachedRepo(self.cache, MODEL)
        self.outcome = Outcome(kind)
        self.size = (FOLDER / "model.safetensors").stat().st_size

    async def run(self) -> Outcome:
        """Download with the fault, resume until the model is complete, and check it."""
        begin = time.monotonic()
        with running_hub(self.hub):
            await self._run()
        shutil.rmtree(self.cache, ignore_errors=True)
        self.outcome.seconds = time.monotonic() - begin
        return self.outcome

    async def _run(self) -> None:
        environ = {**os.environ, "HF_ENDPOINT": self.hub.url, "HF_HUB_OFFLINE": "0"}
        self.downloads = Downloads(self.cache, environ=environ, retry_seconds=0.02)
        self._inject()
        with self._full_disk() if self.outcome.kind == "full disk" else contextlib.nullcontext():
            record = await self._first_attempt(environ)
        self._check_listed(record)
        self.hub.is_down = False
        self.hub.faults.clear()
        attempts = 0
        while (record is None or record.state != "complete") and attempts < 3:
            attempts += 1
            record = await self._resume()
        if record is None or record.state != "complete":
            self.outcome.problems.append(f"not complete after {attempts} attempts: {record}")
        self._check_listed(record)
        self._count_resent()
        await self.downloads.aclose()

    def _inject(self) -> None:
        after = self.random.randrange(1, self.size)
        match self.outcome.kind:
            case "slow":
                self.hub.faults = [Fault("slow", WEIGHTS, rate=4 * self.size)]
            case "reset" | "truncate" as kind:
                self.hub.faults = [Fault(kind, WEIGHTS, after=after, times=self.random.randint(1, 3))]
            case "wrong":
                self.hub.faults = [Fault("wrong", WEIGHTS)]
            case "wrong small file":
                self.hub.faults = [Fault("wrong", "config.json")]
            case "whole":
                self.hub.faults = [Fault("truncate", WEIGHTS, after=after), Fault("whole", WEIGHTS, times=2)]
            case "401" | "403" | "404" | "429" | "500" as status:
                self.hub.faults = [Fault("status", WEIGHTS, status=int(status), times=self.random.choice((1, 20)))]
            case "list 500":
                self.hub.faults = [Fault("status", "/api/models", times=self.random.choice((1, 20)))]
            case "killed worker" | "killed server" | "paused" | "hub down":
                self.hub.faults = [Fault("slow", WEIGHTS, rate=self.size)]

    async def _first_attempt(self, environ: dict[str, str]) -> Download | None:
        if self.outcome.kind == "killed server":
            await self._kill_server(environ)
            return None
        self.downloads.start(MODEL)
        until = self.random.randrange(1, self.size // 2)
        if self.outcome.kind == "killed worker":
            await self._has_written(until)
            for child in psutil.Process().children():
                if WORKER in child.cmdline():  # The servers of other tests are children too.
                    child.kill()
        elif self.outcome.kind == "paused":
            await self._has_written(until)
            return await self.downloads.pause(MODEL)
        elif self.outcome.kind == "hub down":
            await self._has_written(until)
            self.hub.is_down = True
        return await self._end()

    async def _kill_server(self, environ: dict[str, str]) -> None:
        command = [sys.executable, "-c", SERVER, str(self.cache), MODEL]
        process = await asyncio.create_subprocess_exec(*command, env=environ)
        await self._has_written(self.random.randrange(1, self.size // 2))
        workers = psutil.Process(process.pid).children()
        process.kill()
        await process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 10)
        if alive:
            self.outcome.problems.append("a worker outlived its server")

    async def _has_written(self, size: int) -> None:
        """Wait until the partial weights have `size` bytes."""
        deadline = time.monotonic() + END_SECONDS
        partial = self.repo.partial(self.hub.repos[MODEL].blobs["model.safetensors"])
        while not (partial.exists() and partial.stat().st_size >= size):
            if time.monotonic() > deadline:
                self.outcome.hangs += 1
                return
            await asyncio.sleep(0.005)

    async def _resume(self) -> Download | None:
        """Resume, and compare what is requested with what was on the disk."""
        blobs = set(self.hub.repos[MODEL].blobs.values())
        present = {blob: self._present(blob) for blob in blobs}
        begun = len(self.hub.transfers)
        self.downloads.start(MODEL)
        record = await self._end()
        for blob in blobs:
            starts = [transfer.start for transfer in self.hub.transfers[begun:] if transfer.blob == blob]
            if starts:
                self.outcome.lost_bytes += max(0, present[blob] - starts[0])
        return record

    def _present(self, blob: str) -> int:
        for path in (self.repo.blob(blob), self.repo.partial(blob)):
            if path.exists():
                return path.stat().st_size
        return 0

    async def _end(self) -> Download | None:
        """Wait until the download ends."""
        record = None
        try:
            async with asyncio.timeout(END_SECONDS):
                async for record in self.downloads.watch(MODEL):
                    self.outcome.wrong_models += self._is_listed_wrongly(record)
        except TimeoutError:
            self.outcome.hangs += 1
            await self.downloads.pause(MODEL)
        except PicoError as error:
            self.outcome.messages.append(error.message)
        return record

    def _check_listed(self, record: Download | None) -> None:
        self.outcome.wrong_models += self._is_listed_wrongly(record)
        if record is not None and record.state == "complete" and not self._is_whole():
            self.outcome.problems.append("complete, but a file is missing or wrong")

    def _is_listed_wrongly(self, record: Download | None) -> int:
        if record is not None and record.state == "complete":
            return 0 if self._listed() else 1
        return 1 if self._listed() and not self._is_whole() else 0

    def _listed(self) -> bool:
        models = Catalog(EngineOptions(), environ={}, hub_cache=self.cache).models()
        return any(info.repo == MODEL for info in models)

    def _is_whole(self) -> bool:
        if not self.repo.main.exists():
            return False
        snapshot = self.repo.snapshot(self.repo.main.read_text())
        source = self.hub.repos[MODEL]
        return all((snapshot / name).read_bytes() == path.read_bytes() for name, path in source.files.items())

    def _count_resent(self) -> None:
        for blob in set(self.hub.repos[MODEL].blobs.values()):
            sent = [transfer for transfer in self.hub.transfers if transfer.blob == blob and not transfer.faulty]
            for earlier, later in itertools.pairwise(sent):
                self.outcome.resent += max(0, earlier.start + earlier.sent - later.start)

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        """Limit the size of files that child processes may write. A write then fails as on a full disk."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.random.randrange(200_000, self.size), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
