"""Measures the cost of pico_jupyter for a Jupyter server: `python -m benchmarks.server_cost`.

The command starts servers with and without the extension in turn (A B A B ...). It compares their start-up time, and
their memory before the first chat. Then it measures the time from a request to its first token in three states: before
the model kernel is started (cold), while it runs (warm), and after it was killed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request

import psutil

from benchmarks.servers import JupyterServer, running

WITH, WITHOUT = "with", "without"


def main() -> None:
    """Run the pairs, and print medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="number of pairs of servers (default: 7)")
    parser.add_argument("--chats", type=int, default=20, help="number of warm chats (default: 20)")
    options = parser.parse_args()
    started: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    memory: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    for _ in range(options.pairs):
        for kind in (WITH, WITHOUT):
            server = JupyterServer(enabled=kind == WITH)
            with running(server):
                started[kind].append(server.seconds)
                memory[kind].append(psutil.Process(server.pid).memory_info().rss / 1e6)
    report("start-up, s", started)
    report("memory, MB", memory)
    cold: list[float] = []
    warm: list[float] = []
    killed: list[float] = []
    for _ in range(3):
        server = JupyterServer()
        with running(server):
            cold.append(first_token_seconds(server))
            warm += [first_token_seconds(server) for _ in range(options.chats)]
            server.engine.kill()
            killed.append(first_token_seconds(server))
    print(f"first token, cold             {spread(cold)} s")
    print(f"first token, warm             {spread(warm)} s")
    print(f"first token, after a kill -9  {spread(killed)} s")


def report(title: str, values: dict[str, list[float]]) -> None:
    """Print one line: the spread of both kinds of server, and of the difference and the ratio in each pair."""
    pairs = list(zip(values[WITH], values[WITHOUT], strict=True))
    more = [a - b for a, b in pairs]
    ratios = [a / b for a, b in pairs]
    print(
        f"{title:<16}with {spread(values[WITH])}   without {spread(values[WITHOUT])}   "
        f"more {spread(more)}   ratio {spread(ratios)}"
    )


def spread(values: list[float]) -> str:
    """The median and the range as text."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def first_token_seconds(server: JupyterServer) -> float:
    """Time from sending a chat to the arrival of its first token."""
    body = {"model": "pico-tiny", "messages": [{"role": "user", "content": "What is 12 + 35?"}]}
    request = urllib.request.Request(server.url + "api/chat", json.dumps(body).encode(), server.headers)
    start = time.perf_counter()
    with urllib.request.urlopen(request) as response:
        response.readline()
        seconds = time.perf_counter() - start
        response.read()
    return seconds


if __name__ == "__main__":
    main()
