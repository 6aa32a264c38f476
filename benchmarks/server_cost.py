"""What pico_jupyter costs a Jupyter server, and how soon it answers: `python -m benchmarks.server_cost`.

Starts servers with and without the extension in turn (A B A B ...) and compares start-up time and resident memory
before the first chat. Then measures the time from a request to its first token: cold (no model kernel yet), warm, and
after the model kernel was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

WITH, WITHOUT = "with", "without"


def main() -> None:
    """Run the pairs and print medians with their spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="servers started with and without (default: 7 each)")
    parser.add_argument("--chats", type=int, default=20, help="warm chats (default: 20)")
    options = parser.parse_args()
    started: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    memory: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for _ in range(options.pairs):
        for kind in (WITH, WITHOUT):
            with jupyter_server(enabled=kind == WITH) as server:
                started[kind].append(server["seconds"])
                memory[kind].append(psutil.Process(server["pid"]).memory_info().rss / 1e6)
    report("start-up, s", started)
    report("memory, MB", memory)
    cold: list[float] = []
    warm: list[float] = []
    killed: list[float] = []
    for _ in range(3):
        with jupyter_server(enabled=True) as server:
            cold.append(first_token_seconds(server))
            warm += [first_token_seconds(server) for _ in range(options.chats)]
            kill_model_kernel(server)
            killed.append(first_token_seconds(server))
    print(f"first token, cold             {spread(cold)} s")
    print(f"first token, warm             {spread(warm)} s")
    print(f"first token, after a kill -9  {spread(killed)} s")


def report(title: str, values: dict[str, list[float]]) -> None:
    """One line: both medians, their difference and ratio pair by pair."""
    pairs = list(zip(values[WITH], values[WITHOUT], strict=True))
    more = [a - b for a, b in pairs]
    ratios = [a / b for a, b in pairs]
    print(
        f"{title:<16}with {spread(values[WITH])}   without {spread(values[WITHOUT])}   "
        f"more {spread(more)}   ratio {spread(ratios)}"
    )


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


@contextlib.contextmanager
def jupyter_server(*, enabled: bool) -> Iterator[dict[str, Any]]:
    """A Jupyter server; `seconds` is the time until it answered its first request."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        runtime = Path(folder) / "runtime"
        environ = {**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_TOKEN": token}
        command = [sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
        command += ["--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}"]
        command += [f"--ServerApp.jpserver_extensions=pico_jupyter={enabled}"]
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = wait_until_it_answers(process, runtime / f"jpserver-{process.pid}.json", token, start + 120)
            yield {"pid": process.pid, "url": url, "token": token, "seconds": time.perf_counter() - start}
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_it_answers(process: subprocess.Popen[bytes], info: Path, token: str, deadline: float) -> str:
    """The URL of the server, once it has answered a request."""
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            url = str(json.loads(info.read_text())["url"])
            request = urllib.request.Request(url + "api/status", headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request):
                return url
        time.sleep(0.01)
    sys.exit("the server did not start")


def first_token_seconds(server: dict[str, Any]) -> float:
    """Time from sending a chat to the arrival of its first token."""
    body = {"model": "pico-tiny", "messages": [{"role": "user", "content": "What is 12 + 35?"}]}
    headers = {"Authorization": f"Bearer {server['token']}"}
    request = urllib.request.Request(server["url"] + "api/chat", json.dumps(body).encode(), headers)
    start = time.perf_counter()
    with urllib.request.urlopen(request) as response:
        response.readline()
        seconds = time.perf_counter() - start
        response.read()
    return seconds


def kill_model_kernel(server: dict[str, Any]) -> None:
    """SIGKILL, as an out-of-memory killer does it."""
    for child in psutil.Process(server["pid"]).children(recursive=True):
        if "pico_jupyter.kernel" in child.cmdline():
            child.kill()


if __name__ == "__main__":
    main()
