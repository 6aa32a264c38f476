"""CachedRepo: the folder of one model in the Hugging Face cache, and the unfinished download in it.

Invariants:
- A model is in the catalog only if refs/main names one of its snapshots. A download writes refs/main last.
- The marker file exists from the start of a download until it is complete. It lists the files with their sizes, so the
  bytes on this machine are counted without a request to the hub.
- A partial file has the name of its blob and the suffix ".incomplete".
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from pico_jupyter.errors import Conflict

MARKER = ".pico-download.json"
PARTIAL_SUFFIX = ".incomplete"
LOCK_ATTEMPTS = 5
LOCK_SECONDS = 0.05


class RepoFile(msgspec.Struct, frozen=True):
    """A file to download. `blob` is its SHA-256, or its SHA-1 as git computes it, in hexadecimal digits."""

    path: str
    blob: str
    size: int


class DownloadMarker(msgspec.Struct, frozen=True):
    """An unfinished download. `started` is the time of its first attempt. `error` says why its last attempt failed."""

    model: str
    revision: str
    commit: str
    files: tuple[RepoFile, ...]
    started: str
    error: str = ""

    @property
    def total(self) -> int:
        """The bytes of all files. Files with the same content count once."""
        return sum({file.blob: file.size for file in self.files}.values())


@dataclass(frozen=True, slots=True)
class CachedRepo:
    """The folder of the model `owner/name` in the folder `cache`."""

    cache: Path
    model: str

    @property
    def folder_name(self) -> str:
        """The name of the folder, as huggingface_hub chooses it."""
        return f"models--{self.model.replace('/', '--')}"

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.cache / self.folder_name

    @property
    def main(self) -> Path:
        """The file that names the commit of the installed snapshot."""
        return self.folder / "refs" / "main"

    def blob(self, name: str) -> Path:
        """The file of the blob `name`."""
        return self.folder / "blobs" / name

    def partial(self, name: str) -> Path:
        """The file that contains the beginning of the blob `name`."""
        return self.folder / "blobs" / (name + PARTIAL_SUFFIX)

    def snapshot(self, commit: str) -> Path:
        """The folder with links to the files of a commit."""
        return self.folder / "snapshots" / commit

    def read_marker(self) -> DownloadMarker | None:
        """Return the unfinished download in this folder, or None."""
        try:
            return msgspec.json.decode((self.folder / MARKER).read_bytes(), type=DownloadMarker)
        except (OSError, msgspec.DecodeError):
            return None

    def write_marker(self, marker: DownloadMarker) -> None:
        """Write the marker. Readers see the old or the new one as a whole."""
        replace_file(self.folder / MARKER, msgspec.json.encode(marker))

    def remove_marker(self) -> None:
        """Remove the marker."""
        (self.folder / MARKER).unlink(missing_ok=True)

    def completed(self, marker: DownloadMarker) -> int:
        """Count the bytes of a download that are on this machine."""
        sizes = {file.blob: file.size for file in marker.files}
        return sum(min(size, self._present(blob)) for blob, size in sizes.items())

    def _present(self, blob: str) -> int:
        for path in (self.blob(blob), self.partial(blob)):
            with contextlib.suppress(OSError):
                return path.stat().st_size
        return 0

    def link(self, commit: str, file: RepoFile) -> None:
        """Add a file, whose blob exists, to the snapshot of a commit."""
        link = self.snapshot(commit) / file.path
        link.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(self.blob(file.blob), link.parent)
        if not (link.is_symlink() and os.readlink(link) == target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def install(self, commit: str) -> None:
        """Make the snapshot of a commit the model that the catalog lists."""
        self.main.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.main, commit.encode())
        self.remove_marker()

    def remove(self) -> int:
        """Delete the model, including partial files. Returns the number of freed bytes."""
        with self.locked():
            freed = _size(self.folder)
            # Without refs/main, the catalog does not list the model, even if the deletion stops in the middle.
            self.main.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
        return freed - _size(self.folder)

    def cancel(self) -> int:
        """Delete what a download has written, but no older version of the model. Returns the number of freed bytes."""
        marker = self.read_marker()
        if not self.main.exists():
            return self.remove() if self.folder.exists() else 0
        with self.locked():
            before = _size(self.folder)
            for partial in (self.folder / "blobs").glob(f"*{PARTIAL_SUFFIX}"):
                partial.unlink(missing_ok=True)
            if marker is not None and marker.commit != self.main.read_text(encoding="utf-8").strip():
                shutil.rmtree(self.snapshot(marker.commit), ignore_errors=True)
                self._remove_unused(marker)
            self.remove_marker()
        return before - _size(self.folder)

    def _remove_unused(self, marker: DownloadMarker) -> None:
        used = {
            os.path.basename(os.readlink(link)) for link in self.folder.rglob("snapshots/**/*") if link.is_symlink()
        }
        for file in marker.files:
            if file.blob not in used:
                self.blob(file.blob).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other processes. The lock ends with this process. Raises Conflict if another process holds it."""
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("w") as file:
            # Another process that calls is_locked() holds the lock for a moment.
            for _ in range(LOCK_ATTEMPTS):
                if _try_lock(file, fcntl.LOCK_EX):
                    break
                time.sleep(LOCK_SECONDS)
            else:
                raise Conflict(f"another process is downloading or deleting {self.model}")
            yield

    def is_locked(self) -> bool:
        """Whether a process is downloading or deleting the model."""
        try:
            with self._lock_file.open("r") as file:
                return not _try_lock(file, fcntl.LOCK_SH)
        except OSError:
            return False

    @property
    def _lock_file(self) -> Path:
        return self.cache / ".locks" / self.folder_name / "pico.lock"


def hub_cache(environ: Mapping[str, str]) -> Path:
    """The folder of the Hugging Face cache, as huggingface_hub computes it. The server does not import that package."""
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = environ.get("HF_HOME") or os.path.join(base, "huggingface")
    folder = environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(os.path.expanduser(folder)))


def begun_downloads(cache: Path) -> Iterator[tuple[CachedRepo, DownloadMarker]]:
    """The unfinished downloads in `cache`, each with its folder."""
    for path in sorted(cache.glob(f"models--*/{MARKER}")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            marker = msgspec.json.decode(path.read_bytes(), type=DownloadMarker)
            yield CachedRepo(cache, marker.model), marker


def repo_of_snapshot(snapshot: Path) -> CachedRepo:
    """The repository that contains the folder of a snapshot."""
    folder = snapshot.parents[1]
    return CachedRepo(folder.parent, folder.name.removeprefix("models--").replace("--", "/"))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file. Readers see the old or the new content as a whole."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _try_lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _size(folder: Path) -> int:
    """The bytes of all files below a folder. Links do not count."""
    paths = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_size for path in paths if not path.is_symlink())
