"""Every way to end a server also ends its model kernel, in any state and within bounded time."""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.running import RunningServer, running_server, wait_for

Moment = Callable[[RunningServer], AbstractContextManager[None]]
ENDING_SECONDS = 20.0
STREAMS = 6
ENDLESS = {
    "model": "pico-tiny",
    "messages": [{"role": "user", "content": "What is 12 + 35?"}],
    "temperature": 2.0,
    "logit_bias": {"2": -100, "0": -100},
    "stream": True,
}


@contextlib.contextmanager
def streaming(server: RunningServer) -> Iterator[None]:
    """Several requests are running."""
    with contextlib.ExitStack() as stack, server.http() as http:
        for _ in range(STREAMS):
            response = stack.enter_context(http.stream("POST", "v1/chat/completions", json=ENDLESS))
            next(response.iter_lines())
        yield


@contextlib.contextmanager
def starting(server: RunningServer) -> Iterator[None]:
    """The model kernel is starting and does not answer yet."""

    def ask() -> None:
        with contextlib.suppress(httpx.TransportError), server.http() as http:
            http.get("v1/models")

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(server.model_kernels)
    yield
    asking.join()


def has_ended(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


@pytest.mark.parametrize("moment", [streaming, starting])
@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGKILL]],
    ids=["SIGTERM", "SIGTERM twice", "SIGINT twice", "SIGKILL"],
)
def test_a_server_ends_with_its_kernel(tmp_path: Path, moment: Moment, signals: list[signal.Signals]) -> None:
    terminal, stdin = pty.openpty()
    with running_server(tmp_path, stdin=stdin) as server, moment(server):
        kernels = server.model_kernels()
        assert kernels
        for number in signals:
            server.process.send_signal(number)
            if number == signal.SIGINT:  # Signals in quick succession are merged: wait for the first question.
                wait_for(lambda: "Shut down this Jupyter server" in server.log.read_text())
        server.process.wait(ENDING_SECONDS)
        wait_for(lambda: has_ended(kernels), ENDING_SECONDS)
    os.close(terminal)
    os.close(stdin)


def test_closing_the_input_of_a_server_ends_it_and_its_kernel(tmp_path: Path) -> None:
    environ = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"), "JUPYTER_TOKEN": secrets.token_hex(8)}
    folder = tmp_path / "served"
    folder.mkdir()
    command = [sys.executable, "-m", "pico_jupyter.server.child", str(folder), "--ServerApp.port=0"]
    command += ["--no-browser", "--allow-root"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=output, stderr=output)
    info = tmp_path / "runtime" / f"jpserver-{child.pid}.json"
    wait_for(info.exists)
    url = ""

    def answers() -> bool:
        nonlocal url
        with contextlib.suppress(OSError, ValueError, httpx.TransportError):
            url = str(httpx.Response(200, content=info.read_bytes()).json()["url"])
            return httpx.get(url + "api").is_success
        return False

    wait_for(answers)
    server = RunningServer(url, environ["JUPYTER_TOKEN"], child, log, environ)
    with streaming(server):
        kernels = server.model_kernels()
        assert child.stdin is not None
        child.stdin.close()
        child.wait(ENDING_SECONDS)
        wait_for(lambda: has_ended(kernels), ENDING_SECONDS)
    assert not folder.exists()
