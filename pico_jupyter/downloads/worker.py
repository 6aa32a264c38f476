"""The child process of a manager: reads one job from standard input, and writes reports to standard output.

It ends when its standard input is closed, so it never outlives its parent. A download that is killed at any time
continues later where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import msgspec
from huggingface_hub import HfApi, ModelInfo

from pico_jupyter.downloads.cache_layout import CachedRepo, DownloadMarker, RepoFile
from pico_jupyter.downloads.file_transfer import MAX_DELAY_SECONDS, FileTransfer
from pico_jupyter.downloads.hub import describe_hub_model, read_downloaded, search_hub
from pico_jupyter.downloads.hub_errors import describe_failure, disk_full, is_transient, retry_after
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
from pico_jupyter.downloads.repo_files import choose_files
from pico_jupyter.engine.catalog.weights import BrokenModel, NotALanguageModel
from pico_jupyter.errors import InvalidRequest, PicoError

REPORT_SECONDS = 0.2
# Attempts to list the files. They are few, so that a wrong address or a missing network is reported soon.
FIRST_ATTEMPTS = 3
TIMEOUT = 20.0
# Bytes that a download leaves free on the disk for other programs.
SPARE_DISK_BYTES = 64 << 20


class _FetchRun:
    """Downloads the model of one job."""

    def __init__(self, job: FetchJob) -> None:
        self._job = job
        self._repo = CachedRepo(Path(job.cache), job.model)
        self._marker: DownloadMarker | None = None
        self._file = ""
        self._reported = 0.0

    def run(self) -> JobReport:
        """Download and return the last report."""
        try:
            with self._repo.locked():
                return self._download()
        except Exception as error:  # noqa: BLE001  the parent process reports every failure
            return self._fail(error)

    def _download(self) -> FetchComplete:
        job, repo = self._job, self._repo
        info = self._ask_hub()
        commit = str(info.sha)
        marker = DownloadMarker(
            job.model, job.revision, commit, choose_files(job.model, info.siblings or []), job.started
        )
        for folder in (repo.folder / "blobs", repo.snapshot(commit)):
            folder.mkdir(parents=True, exist_ok=True)
        self._remove_other_version(marker)
        repo.write_marker(marker)
        self._marker = marker
        self._report()
        self._check_disk(marker)
        self._receive([file for file in marker.files if not file.path.endswith(".safetensors")])
        self._check_model(commit, is_complete=False)
        self._receive(marker.files)
        self._check_model(commit, is_complete=True)
        repo.install(commit)
        return FetchComplete(marker.total)

    def _ask_hub(self) -> ModelInfo:
        failures = 0
        while True:
            try:
                return HfApi().model_info(
                    self._job.model, revision=self._job.revision or None, files_metadata=True, timeout=TIMEOUT
                )
            except Exception as error:
                failures += 1
                if failures >= FIRST_ATTEMPTS or not is_transient(error):
                    raise
                delay = retry_after(error) or self._job.retry_seconds * 2 ** (failures - 1)
                time.sleep(min(delay, MAX_DELAY_SECONDS))

    def _remove_other_version(self, marker: DownloadMarker) -> None:
        """Remove the partial files of a version that the hub has replaced since the last attempt."""
        wanted = {file.blob for file in marker.files}
        for partial in (self._repo.folder / "blobs").glob("*.incomplete"):
            if partial.name.partition(".")[0] not in wanted:
                partial.unlink(missing_ok=True)

    def _check_disk(self, marker: DownloadMarker) -> None:
        missing = marker.total - self._repo.completed(marker)
        if missing and shutil.disk_usage(self._repo.folder).free < missing + SPARE_DISK_BYTES:
            raise PicoError(disk_full(missing))

    def _receive(self, files: list[RepoFile] | tuple[RepoFile, ...]) -> None:
        assert self._marker is not None
        transfer = FileTransfer(self._job.model, self._marker.commit, self._job.retry_seconds, self._report)
        for file in files:
            self._file, self._reported = file.path, 0.0
            self._report()
            blob, partial = self._repo.blob(file.blob), self._repo.partial(file.blob)
            if not (blob.exists() and blob.stat().st_size == file.size):
                transfer.receive(file, partial)
                partial.replace(blob)
            self._repo.link(self._marker.commit, file)

    def _check_model(self, commit: str, *, is_complete: bool) -> None:
        """Raise InvalidRequest if this is not a language model, or if a complete model cannot be used."""
        try:
            read_downloaded(self._repo.snapshot(commit), self._job.model)
        except NotALanguageModel as error:
            raise InvalidRequest(f"{self._job.model} is not a language model ({error})") from None
        except BrokenModel as error:
            if is_complete:
                raise InvalidRequest(f"{self._job.model} cannot be used: {error}") from None

    def _report(self) -> None:
        if self._marker is None or time.monotonic() - self._reported < REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        _send(FetchProgress(self._repo.completed(self._marker), self._marker.total, self._file))

    def _fail(self, error: Exception) -> JobFailed:
        marker, missing = self._marker, 0
        if marker is not None:
            missing = marker.total - self._repo.completed(marker)
        failure = describe_failure(error, self._job.model, missing)
        if marker is not None:
            _send(FetchProgress(marker.total - missing, marker.total, self._file))
            with contextlib.suppress(OSError):  # The disk may be full. The manager has the text too.
                self._repo.write_marker(msgspec.structs.replace(marker, error=failure.message))
        return failure


def run_job(job: Job) -> JobReport:
    """Run a job and return its last report."""
    if isinstance(job, FetchJob):
        return _FetchRun(job).run()
    model = job.model if isinstance(job, DescribeJob) else ""
    try:
        return HubAnswer(
            search_hub(job.words, job.limit) if isinstance(job, SearchJob) else [describe_hub_model(model)]
        )
    except Exception as error:  # noqa: BLE001  the parent process reports every failure
        return describe_failure(error, model)


def main() -> None:
    """Run the job in the first line of standard input."""
    job: Job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _send(run_job(job))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _send(report: JobReport) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
