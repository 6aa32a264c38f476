"""FileTransfer: receives one file of the hub. It continues where an earlier attempt stopped, and verifies the content.

A partial file contains the first bytes of the content, as the hub sent them. A byte is requested again only if the hub
ignores the range of a request, or if the content is wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # imported lazily

from pico_jupyter.downloads.cache_layout import RepoFile
from pico_jupyter.downloads.hub_errors import WrongFile, is_transient, retry_after

# The limit for consecutive attempts that receive no byte.
MAX_ATTEMPTS = 6
MAX_DELAY_SECONDS = 60.0
READ_TIMEOUT = 30.0
SHA1_DIGITS = 40


class _NotEnoughBytes(Exception):
    """The hub closed the connection before the end of the file, and reported no error."""


@dataclass(frozen=True, slots=True)
class FileTransfer:
    """Receives files of one commit of `model`. `on_bytes` is called after bytes have been written.

    retry_seconds: the delay after a first failure. It doubles with each consecutive failure.
    """

    model: str
    commit: str
    retry_seconds: float
    on_bytes: Callable[[], None]

    def receive(self, file: RepoFile, path: Path) -> None:
        """Complete `path`, verify its content and flush it to the disk.

        Raises WrongFile, OSError, and the errors of huggingface_hub and its HTTP client. A wrong file is deleted.
        """
        with path.open("ab", buffering=0) as output:
            if output.tell() > file.size:
                output.truncate(0)
            self._complete(file, output)
            os.fsync(output.fileno())
        if not matches(path, file):
            path.unlink()
            raise WrongFile(
                f"the content of {file.path} does not match its checksum and was deleted. Resume to download it again."
            )

    def _complete(self, file: RepoFile, output: BinaryIO) -> None:
        failures = 0
        while (start := output.seek(0, os.SEEK_END)) < file.size:
            try:
                self._continue(file, output, start)
            except Exception as error:
                failures = 1 if output.tell() != start else failures + 1
                if failures >= MAX_ATTEMPTS or not (is_transient(error) or isinstance(error, _NotEnoughBytes)):
                    raise
                delay = retry_after(error) or self.retry_seconds * 2 ** (failures - 1)
                time.sleep(min(delay, MAX_DELAY_SECONDS))

    def _continue(self, file: RepoFile, output: BinaryIO, start: int) -> None:
        """Append the content of one response to `output`, which has `start` bytes."""
        url = hf_hub_url(self.model, file.path, revision=self.commit)
        with open_range(url, start) as response:
            if start and response.status_code != 206:
                output.truncate(0)
                output.seek(0)
            for piece in response.iter_raw():
                if output.tell() + len(piece) > file.size:
                    raise WrongFile(f"the hub sends more than the announced {file.size} bytes of {file.path}")
                _write(output, piece)
                self.on_bytes()
        if output.tell() < file.size:
            raise _NotEnoughBytes


@contextlib.contextmanager
def open_range(url: str, start: int, end: int | None = None) -> Iterator[Any]:
    """Open a response with the bytes of `url` from `start` to `end`, inclusive. Raises errors of huggingface_hub."""
    wanted = f"bytes={start}-" if end is None else f"bytes={start}-{end}"
    headers = {**build_hf_headers(library_name="pico_jupyter"), "Range": wanted, "Accept-Encoding": "identity"}
    session = get_session()
    with session.stream("GET", url, headers=headers, follow_redirects=True, timeout=READ_TIMEOUT) as response:
        hf_raise_for_status(response)
        yield response


def matches(path: Path, file: RepoFile) -> bool:
    """Whether `path` has the content of `file`."""
    if path.stat().st_size != file.size:
        return False
    is_git = len(file.blob) == SHA1_DIGITS
    digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False) if is_git else hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() == file.blob


def _write(output: BinaryIO, piece: bytes) -> None:
    """Write all of `piece`. One call of write() of an unbuffered file may write only a part."""
    view = memoryview(piece)
    while view:
        view = view[output.write(view) :]
