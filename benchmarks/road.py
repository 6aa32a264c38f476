"""Counts the Python calls of this package for one request and for one delta, in the server and in the model kernel.

    python -m benchmarks.road [--names]

- Down: the calls for a request, from the handler's `post` to `Scheduler.add` in the engine thread.
- Up: the calls for a delta, from the return of the backend's `step` to the write of the HTTP frame.

A call means that a function of pico_jupyter is entered, or that a coroutine or generator of pico_jupyter continues. A
sitecustomize module profiles both processes, so the package is not changed. It delays each step of the backend, so that
a delta arrives before the next delta is computed. --names lists the calls.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx

PROFILER = """
import os, sys, threading, time

folder = os.environ.get("PICO_ROAD_FOLDER")
if folder:
    command = " ".join(sys.orig_argv)
    is_kernel = "pico_jupyter" in command and "-f" in sys.orig_argv
    process = "kernel" if is_kernel else "server" if "jupyter_server" in command else ""
    if process:
        output = open(os.path.join(folder, process), "a", buffering=1)

        def is_backend(frame):
            return frame is not None and "/engine/backends/" in frame.f_code.co_filename

        def profile(frame, event, argument):
            file = frame.f_code.co_filename
            if event not in ("call", "return") or "/pico_jupyter/" not in file:
                return
            name = frame.f_code.co_qualname
            is_step = name.endswith(".step") and is_backend(frame) and not is_backend(frame.f_back)
            if event == "return":
                if is_step:
                    print(time.monotonic_ns(), "return", file.rpartition("/pico_jupyter/")[2], name, file=output)
                return
            if is_step:
                time.sleep(0.2)
            if not name.endswith(("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")):
                print(time.monotonic_ns(), "call", file.rpartition("/pico_jupyter/")[2], name, file=output)

        sys.setprofile(profile)
        threading.setprofile(profile)
"""

# Functions that add a delta to a buffer, and the buffer.
BUFFERS = {
    "EngineStream.put": "kernel: the outbox of one iteration of the engine thread",
    "LinkServer._queue": "kernel: the queue of the stream, until the window has passed",
    "KernelProcess._listen": "between: the sockets",
    "LinkClient._feed": "server: the queue of the stream, which the writer reads",
}
# Files of the engine that only forward requests and deltas.
FORWARDING_FILES = ("engine/engine.py", "engine/stream.py", "engine/local_client.py")
TOKENS = 12


@dataclass(frozen=True, slots=True)
class Call:
    """A call, or a return, in the server or in the model kernel. `at` is its time in nanoseconds."""

    at: int
    process: str
    kind: str
    file: str
    name: str


@contextmanager
def traced_server(folder: Path) -> Iterator[httpx.Client]:
    """Start a Jupyter server that writes its calls into `folder`. Yields an HTTP client of the server."""
    (folder / "sitecustomize.py").write_text(PROFILER)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", os.getcwd())])
    environ = {**os.environ, "PICO_ROAD_FOLDER": str(folder), "PYTHONPATH": path, "JUPYTER_TOKEN": "road"}
    environ["JUPYTER_RUNTIME_DIR"] = str(folder / "runtime")
    port = 18765
    command = [sys.executable, "-m", "jupyter_server", f"--ServerApp.port={port}", "--no-browser", "--allow-root"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folder}"], env=environ, stdout=log, stderr=log, cwd=folder
        )
    headers = {"Authorization": "Bearer road"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/", headers=headers, timeout=300) as client:
        try:
            _wait_for(client)
            yield client
        finally:
            process.terminate()
            process.wait()


def _wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("api").raise_for_status()
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def chat(client: httpx.Client, tokens: int) -> None:
    """Stream an answer of the built-in model."""
    body = {
        "model": "pico-tiny",
        "messages": [{"role": "user", "content": "What is 12 + 35?"}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        # The model cannot sample the tokens that end an answer, so every step has a token.
        "logit_bias": {"0": -100, "2": -100},
    }
    with client.stream("POST", "v1/chat/completions", json=body) as response:
        response.read()


def read_calls(folder: Path) -> list[Call]:
    """All calls of both processes, in order of time."""
    calls = []
    for process in ("server", "kernel"):
        for line in (folder / process).read_text().splitlines():
            at, kind, file, name = line.split(" ", 3)
            calls.append(Call(int(at), process, kind, file, name))
    return sorted(calls, key=lambda call: call.at)


def between(calls: list[Call], start: int, end: int) -> list[Call]:
    """The calls between two times. Leaves out returns."""
    return [call for call in calls if start <= call.at <= end and call.kind == "call"]


def is_transport(call: Call) -> bool:
    """Whether a call forwards the request or the delta. Other calls are work of a dialect or of the engine."""
    if call.file.startswith("engine/"):
        return call.file in FORWARDING_FILES
    return not call.file.startswith("dialects/")


def report(title: str, calls: list[Call], *, names: bool) -> None:
    """Print the number of calls. With `names`, list the calls, and mark those of the transport with a star."""
    transport = Counter(call.process for call in calls if is_transport(call))
    by_process = f"server {transport['server']}, kernel {transport['kernel']}"
    print(f"{title}: {transport.total()} calls of the transport ({by_process}), {len(calls)} calls in all")
    if names:
        for call in calls:
            print(f"    {'*' if is_transport(call) else ' '} {call.process} {call.file}: {call.name}")


def main() -> None:
    """Measure a chat, and print the calls for its request and for its median delta."""
    names = "--names" in sys.argv
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with traced_server(folder) as client:
            chat(client, 1)
            time.sleep(1.5)
            began = time.monotonic_ns()
            chat(client, TOKENS)
        calls = [call for call in read_calls(folder) if call.at >= began]
    posts = [call for call in calls if call.name.endswith(".post") and call.file.startswith("server/")]
    adds = [call for call in calls if call.name == "Scheduler.add"]
    report("down, one request", between(calls, posts[0].at, adds[0].at), names=names)
    returns = [call.at for call in calls if call.kind == "return"]
    sends = [call.at for call in calls if call.name == "GenerationHandler._send"]
    trips = [
        between(calls, start, end)
        for start, following in pairwise(returns)
        if (end := next((at for at in sends if start < at < following), None)) is not None
    ]
    median = statistics.median_low(len(trip) for trip in trips)
    trip = next(trip for trip in trips if len(trip) == median)
    report(f"up, one delta (median of {len(trips)})", trip, names=names)
    reached = {call.name for call in trip}
    buffers = [buffer for function, buffer in BUFFERS.items() if function in reached]
    print(f"buffers: {len(buffers)}", *buffers, sep="\n    ")


if __name__ == "__main__":
    main()
