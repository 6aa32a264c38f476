"""Real Jupyter servers in separate processes, configured with only a token and a free port."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

START_SECONDS = 60.0
# No test asks the real hub.
NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class RunningServer:
    """A Jupyter server of this test run; `url` ends in a slash."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path
    environ: dict[str, str]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def http(self) -> httpx.Client:
        """An HTTP client with the token."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60)

    def model_kernels(self) -> list[psutil.Process]:
        """The model kernel's process, if it runs."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "pico_jupyter.model_kernel" in _command_line(child)]

    @contextlib.contextmanager
    def killing_kernels(self) -> Iterator[None]:
        """Kill each model kernel that runs inside the `with` block."""
        is_over = threading.Event()

        def kill() -> None:
            while not is_over.wait(0.05):
                for kernel in self.model_kernels():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        kernel.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _command_line(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition` holds. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@contextlib.contextmanager
def running_server(
    folder: Path,
    *arguments: str,
    port: int = 0,
    token: str = "",
    stdin: int | None = None,
    environ: Mapping[str, str] = NO_HUB,
) -> Iterator[RunningServer]:
    """Start a Jupyter server with more `arguments` and variables in `environ`, and stop it at the end."""
    token = token or secrets.token_hex(16)
    runtime = folder / "runtime"
    environ = {**os.environ, **environ, "JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_TOKEN": token}
    command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += [f"--ServerApp.root_dir={folder}", "--no-browser", "--allow-root", *arguments]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdin=stdin, stdout=output, stderr=subprocess.STDOUT)
    try:
        info = runtime / f"jpserver-{process.pid}.json"
        wait_for(lambda: _answering_url(info) or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, log.read_text()
        yield RunningServer(_answering_url(info), token, process, log, environ)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answering_url(info: Path) -> str:
    """The URL in the server's info file, which is written a moment before the server listens; "" until it answers."""
    with contextlib.suppress(OSError, ValueError, httpx.TransportError):
        url = str(json.loads(info.read_text())["url"])
        httpx.get(url + "api")
        return url
    return ""
