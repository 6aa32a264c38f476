"""own_server: a Jupyter server that ends with the process that started it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

OWNER = """
import http.client, urllib.parse
from pico_jupyter.sources.own_server import own_server

address = own_server()
assert own_server() is address
for headers in ({"Authorization": f"Bearer {address.token}"}, {}):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address.url).netloc)
    connection.request("GET", "/v1/models", headers=headers)
    print(connection.getresponse().status, flush=True)
input()
"""


@contextlib.contextmanager
def owner(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process with its own server, and with `folder` for temporary files."""
    command = [sys.executable, "-c", OWNER]
    environ = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == [b"200", b"401"]
        yield process


@pytest.mark.parametrize("end", [psutil.Process.terminate, psutil.Process.kill])
def test_it_answers_only_its_owner_and_ends_with_it(end: Callable[[psutil.Process], None], tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        servers = psutil.Process(process.pid).children()
        assert len(servers) == 1
        assert len(list(tmp_path.glob("pico_jupyter-*"))) == 1
        end(psutil.Process(process.pid))
        _, alive = psutil.wait_procs(servers, 30)
    assert alive == []
    assert list(tmp_path.glob("pico_jupyter-*")) == []


def test_an_interrupt_of_its_owner_does_not_reach_it(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        (server,) = psutil.Process(process.pid).children()
        assert os.getpgid(server.pid) != os.getpgid(process.pid)
        process.communicate(b"\n", timeout=60)


def test_it_ends_when_its_owner_exits(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        (server,) = psutil.Process(process.pid).children()
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert not server.is_running()
    assert list(tmp_path.glob("pico_jupyter-*")) == []
