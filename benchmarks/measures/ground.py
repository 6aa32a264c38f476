"""B15: the delay that chats cause in the Jupyter server, and the rate of the server compared with a bare loop."""

from __future__ import annotations

import asyncio
import functools
import time

from benchmarks.bare import bare_rate
from benchmarks.cases import PROMPT, Case, Figure, Figures, Visit
from benchmarks.servers import BARE
from benchmarks.spread import Bar, percentile, rate_together

CHATS = 32
POLL_SECONDS = 0.02


async def status_under_load(visit: Visit) -> Figures:
    """GET /api/status on one open connection, first while the server is idle, then while 32 chats stream."""
    count = visit.times(300, 120)
    idle = await _poll_status(visit, count)
    async with visit.streams(CHATS):
        busy = await _poll_status(visit, count)
    idle_p99, busy_p99 = percentile(idle, 0.99), percentile(busy, 0.99)
    return {"idle": idle_p99, "busy": busy_p99, "more": busy_p99 - idle_p99}


async def decode_rate(visit: Visit, *, clients: int) -> Figures:
    """Greedy tokens per second while all rows decode: through the server, and in a bare loop.

    The bare loop runs our backend in a separate process. It inserts the same number of prompts of the same length,
    prefills them, and decodes. It has no scheduler, no text decoding, and no communication between processes.
    """
    tokens = visit.times(256, 64)
    if visit.server.name == BARE:
        return {"rate": bare_rate(visit.folder / visit.checkpoint, clients, PROMPT, tokens, visit.blas)}
    chats = (visit.ask(visit.words.question(PROMPT), tokens) for _ in range(clients))
    answers = await asyncio.gather(*chats)
    return {"rate": rate_together([[(m, len(text.split())) for m, text in answer.pieces] for answer in answers])}


async def _poll_status(visit: Visit, count: int) -> list[float]:
    """Request /api/status `count` times. Returns the duration of each request in seconds."""
    reader, writer = await asyncio.open_connection(visit.address.host, visit.address.port)
    lines = ["GET /api/status HTTP/1.1", f"Host: {visit.address.host}:{visit.address.port}"]
    lines += [f"{name}: {value}" for name, value in visit.address.headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    seconds = []
    try:
        for _ in range(count):
            start = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - start)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        writer.close()
    return seconds


def _decode_rate_case(clients: int, *, is_quick: bool) -> Case:
    return Case(
        "B15",
        f"server against bare loop, {clients} row{'s' if clients > 1 else ''}",
        functools.partial(decode_rate, clients=clients),
        (Figure("rate", "tokens per second while all decode", "", Bar(">= 0.95", "ratio", at_least=0.95)),),
        rival=BARE,
        is_quick=is_quick,
    )


CASES = (
    Case(
        "B15",
        "GET /api/status while 32 chats stream",
        status_under_load,
        (
            Figure("idle", "p99, idle", "ms"),
            Figure("busy", "p99, busy", "ms"),
            Figure("more", "p99 over idle", "ms", Bar("<= 20 ms over idle", "ours", at_most=0.020)),
        ),
        rival="",
    ),
    _decode_rate_case(1, is_quick=False),
    _decode_rate_case(8, is_quick=False),
    _decode_rate_case(32, is_quick=True),
)
