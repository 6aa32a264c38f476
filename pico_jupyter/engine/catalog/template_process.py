"""TemplateProcess: tests chat templates in a child process, which limits their time and memory.

The files of a model are not trusted. Functions that a template calls can use much time and memory, and cannot be
interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Set
from typing import ClassVar

import msgspec
import psutil

from pico_jupyter.engine.catalog.template_features import TemplateFeatures
from pico_jupyter.engine.catalog.template_sandbox import LIMIT_EXCEEDED, SIZE_LIMIT
from pico_jupyter.engine.catalog.weights import BrokenModel

# -P: do not import modules from the current folder.
COMMAND = (sys.executable, "-P", "-m", "pico_jupyter.engine.catalog.template_worker")
# Bytes of memory that the child may use. It needs 30 MB.
MEMORY_LIMIT = 512 << 20
# Seconds between two checks of the memory.
CHECK_SECONDS = 0.05
# Seconds for one template. The child limits its own processor time, so only a child that is stuck needs more seconds.
ANSWER_SECONDS = 60.0


class TemplateProcess:
    """Detects the features of chat templates in a child process. The first new template starts it; close() ends it.

    The answers are kept for as long as this process runs. Not thread-safe.
    """

    # Maps the SHA-256 of a request to the features, or to the reason why the template is broken.
    _answers: ClassVar[dict[bytes, TemplateFeatures | str]] = {}

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<TemplateProcess {'without a child' if self._child is None else self._child.pid}>"

    def detect(self, text: str, special_tokens: Mapping[str, str], added_tokens: Set[str]) -> TemplateFeatures:
        """The result of detect_template_features(). Raises BrokenModel, and OSError if the child cannot be started."""
        if len(text) > SIZE_LIMIT:
            raise BrokenModel(LIMIT_EXCEEDED)
        request = json.dumps([text, special_tokens, sorted(added_tokens)]).encode() + b"\n"
        key = hashlib.sha256(request).digest()
        if key not in self._answers:
            self._answers[key] = self._ask(request)
        answer = self._answers[key]
        if isinstance(answer, str):
            raise BrokenModel(answer)
        return answer

    def close(self) -> None:
        """End the child. The next new template starts another one."""
        if self._child is not None:
            with self._child:  # Closes its pipes and waits for its end.
                self._child.kill()
            self._child = None

    def _ask(self, request: bytes) -> TemplateFeatures | str:
        if self._child is None:
            # Interrupting a cell sends SIGINT to the process group of the kernel, so the child has another group.
            self._child = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        answer = _exchange(self._child, request)
        if answer:
            return msgspec.json.decode(answer, type=TemplateFeatures | str)
        child = self._child
        self.close()
        return _reason(child.returncode)


def _exchange(child: subprocess.Popen[bytes], request: bytes) -> bytes:
    """Send a request, and return its answer, one line. Returns b"" if the child ends, exceeds a limit or is stuck."""
    assert child.stdin is not None
    assert child.stdout is not None
    remaining, answer = memoryview(request), b""
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        while remaining:
            remaining = remaining[os.write(child.stdin.fileno(), remaining) :]
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if selector.select(CHECK_SECONDS):
                    part = os.read(child.stdout.fileno(), 1 << 16)
                    if not part:
                        return b""
                    answer += part
                elif time.monotonic() > deadline or psutil.Process(child.pid).memory_info().rss > MEMORY_LIMIT:
                    return b""
    except (BrokenPipeError, psutil.Error):
        return b""
    return answer


def _reason(status: int) -> str:
    """Why the child ended while it tested a template. Raises OSError if no signal ended it."""
    if status >= 0:
        raise OSError(f"the process that tests chat templates ended with exit status {status}")
    if -status in (signal.SIGKILL, signal.SIGXCPU):
        return LIMIT_EXCEEDED
    return f"the chat template ends Python with {signal.Signals(-status).name}"
