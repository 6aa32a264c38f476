"""A Jupyter server for a kernel that none stands behind. Only this process knows its token, and it ends with it."""

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
from pico_jupyter.sources.address import ServerAddress, read_address
from pico_jupyter.sources.remote import ServerSource

START_SECONDS = 120.0
POLL_SECONDS = 0.05


@functools.cache
def own_server() -> ServerAddress:
    """The server of this process on a free port of loopback, started at the first call.

    Raises EngineUnavailable when it ends at once or does not answer within two minutes.
    """
    folder = Path(tempfile.mkdtemp(prefix="pico_jupyter-"))
    process = _start(folder)
    atexit.register(_end, process)
    address = _wait_for_address(process, folder)
    if address is None:
        _end(process)
        raise EngineUnavailable(f"the Jupyter server did not start; `{sys.executable} -m jupyter_server` may say why")
    return address


def _start(folder: Path) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "JUPYTER_RUNTIME_DIR": str(folder), "JUPYTER_TOKEN": secrets.token_hex(24)}
    command = [sys.executable, "-m", "pico_jupyter.server.child", str(folder)]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--no-browser", "--allow-root"]
    with (folder / "server.log").open("wb") as log:
        # Out of the kernel's process group, which an interrupted cell interrupts as a whole.
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
