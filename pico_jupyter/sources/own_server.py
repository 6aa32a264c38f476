"""Starts a Jupyter server for a kernel without one. The server's token stays in this process. Both end together."""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.sources.server_address import ServerAddress, read_address
from pico_jupyter.sources.server_source import ServerSource

START_SECONDS = 120.0
POLL_SECONDS = 0.05


@functools.cache
def own_server() -> ServerAddress:
    """Return the server of this process, on a free port of loopback. The first call starts it.

    Raises EngineUnavailable if the server exits, or does not answer within two minutes.
    """
    folder = Path(tempfile.mkdtemp(prefix="pico_jupyter-"))
    process = _start(folder)
    atexit.register(_end, process)
    address = _wait_for_address(process, folder)
    if address is None:
        _end(process)
        raise EngineUnavailable(
            f"the Jupyter server did not start; run `{sys.executable} -m jupyter_server` to see why"
        )
    return address


def _start(folder: Path) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "JUPYTER_RUNTIME_DIR": str(folder), "JUPYTER_TOKEN": secrets.token_hex(24)}
    command = [sys.executable, "-m", "pico_jupyter.server.child", str(folder)]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--no-browser", "--allow-root"]
    with (folder / "server.log").open("wb") as log:
        # An interrupt of a cell sends SIGINT to the kernel's process group, so the server must not be in it.
        return subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )


def _wait_for_address(process: subprocess.Popen[bytes], folder: Path) -> ServerAddress | None:
    info = folder / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        address = read_address(info)
        if address is not None and ServerSource(address).answers():
            return address
        time.sleep(POLL_SECONDS)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait()
