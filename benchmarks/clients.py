"""A small HTTP client that records the arrival time of each piece of an answer.

The client shares the CPU with the server that it measures. Therefore it only records times and bytes while an answer
arrives, and parses them afterwards. Every request uses a new connection.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

# Matches non-empty text of an answer in both dialects.
_TEXT = re.compile(rb'"(?:content|reasoning|reasoning_content|text|response)": ?"[^"]')
_RETRY_SECONDS = 0.05
_MOST_RETRIES = 100


class Refused(Exception):
    """The server answered with an error status."""


class Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Address:
    """The address of a server, and the headers of each request."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    """A finished answer. Times come from time.perf_counter().

    `pieces` are (time, text). One piece can contain several tokens. `failures` counts the attempts that were repeated
    because the connection was lost before the answer began.
    """

    sent: float
    ended: float
    pieces: list[tuple[float, str]]
    finish_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    failures: int = 0

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)

    @property
    def ttft(self) -> float:
        """Seconds from sending to the first visible text."""
        return self.pieces[0][0] - self.sent

    @property
    def prompt_tokens(self) -> int:
        return int(self.usage["prompt_tokens"])

    @property
    def completion_tokens(self) -> int:
        return int(self.usage["completion_tokens"])

    @property
    def cached_tokens(self) -> int:
        return int((self.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


class _Reads(asyncio.Protocol):
    """Records received bytes and their times."""

    def __init__(self) -> None:
        self.reads: list[tuple[float, bytes]] = []
        self.began = asyncio.Event()
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.reads.append((time.perf_counter(), data))
        if not self.began.is_set() and _TEXT.search(data):
            self.began.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(time.perf_counter())
        self.began.set()


class Exchange:
    """A request in progress. Await began() or answer(), or call close() to abort it."""

    def __init__(self, transport: asyncio.Transport, protocol: _Reads, sent: float, failures: int) -> None:
        self._transport = transport
        self._protocol = protocol
        self.sent = sent
        self.failures = failures

    async def began(self) -> float:
        """The time at which the first text arrived. Raises Broken or Refused if the answer has no text."""
        await self._protocol.began.wait()
        for moment, data in self._protocol.reads:
            if _TEXT.search(data):
                return moment
        await self.answer()
        raise Broken("an answer without text")

    async def answer(self) -> Answer:
        """Wait for the last byte and return the answer. Raises Broken or Refused."""
        ended = await self._protocol.ended
        answer = read_answer(self._protocol.reads, self.sent, ended)
        answer.failures = self.failures
        return answer

    def arrivals(self) -> list[tuple[float, str]]:
        """The pieces of text that have arrived so far, with their times."""
        return read_answer(self._protocol.reads, self.sent, 0.0, whole=False).pieces

    def close(self) -> None:
        """Close the connection at once."""
        self._transport.abort()


async def send(address: Address, path: str, body: dict[str, Any]) -> Exchange:
    """Send a request. Retries if the connection is refused, and counts the failures.

    The `sent` time of the Exchange is that of the first attempt. Raises Broken after too many failures.
    """
    payload = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {address.host}:{address.port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in address.headers.items()]
    lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}", "", ""]
    message = "\r\n".join(lines).encode() + payload
    sent = time.perf_counter()
    for failures in range(_MOST_RETRIES):
        try:
            transport, protocol = await asyncio.get_running_loop().create_connection(_Reads, address.host, address.port)
        except OSError:
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        transport.write(message)
        return Exchange(transport, protocol, sent, failures)
    raise Broken("no connection")


async def ask(address: Address, path: str, body: dict[str, Any]) -> Answer:
    """Send a request and return its answer. Retries if the connection is lost before the answer begins."""
    sent, failures = time.perf_counter(), 0
    while True:
        exchange = await send(address, path, body)
        failures += exchange.failures
        try:
            answer = await exchange.answer()
        except Broken:
            if exchange._protocol.reads or failures >= _MOST_RETRIES:
                raise
            failures += 1
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        answer.sent, answer.failures = sent, failures
        return answer


async def get(address: Address, path: str, timeout: float = 30.0) -> str:
    """The text of a GET response. Raises Refused if the status is not 200."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        lines = [f"GET {path} HTTP/1.1", f"Host: {address.host}:{address.port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in address.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        data = await asyncio.wait_for(reader.read(), timeout)
    finally:
        writer.close()
    status, reads = _split_head([(0.0, data)])
    text = b"".join(part for _, part in reads).decode(errors="replace")
    if status != 200:
        raise Refused(f"{status}: {text[:200]}")
    return text


def read_answer(reads: list[tuple[float, bytes]], sent: float, ended: float, *, whole: bool = True) -> Answer:
    """Decode a response. Raises Refused for an error status, and Broken if `whole` is true but the end is missing."""
    status, parts = _split_head(reads)
    if status != 200:
        if not status:
            raise Broken("the connection was lost before the answer")
        text = b"".join(data for _, data in parts).decode(errors="replace")
        raise Refused(f"{status}: {text[:200]}")
    answer = Answer(sent, ended, [])
    for moment, line in _lines(parts):
        if line.startswith(b"data: [DONE]") or not line.startswith((b"data: ", b"{")):
            continue
        _add_event(answer, json.loads(line.removeprefix(b"data: ")), moment)
    if whole and answer.finish_reason is None:
        raise Broken("the answer has no end")
    return answer


def _split_head(reads: list[tuple[float, bytes]]) -> tuple[int, list[tuple[float, bytes]]]:
    """The status, and the parts of the body with their arrival times. Without a response, the status is 0."""
    held = b""
    for index, (moment, data) in enumerate(reads):
        held += data
        head, found, rest = held.partition(b"\r\n\r\n")
        if found:
            body = [(moment, rest), *reads[index + 1 :]]
            status = int(head.split(maxsplit=2)[1])
            is_chunked = b"transfer-encoding: chunked" in head.lower()
            return status, _unchunk(body) if is_chunked else body
    return 0, []


def _unchunk(reads: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """Decode HTTP's chunked transfer coding. Keeps the arrival times."""
    parts: list[tuple[float, bytes]] = []
    held, left = b"", 0
    for moment, data in reads:
        held += data
        while held:
            if left:
                part, held = held[:left], held[left:]
                left -= len(part)
                parts.append((moment, part))
                continue
            # Each chunk begins with a line that has its size. A line break follows the previous chunk.
            line, found, rest = held.removeprefix(b"\r\n").partition(b"\r\n")
            if not found:
                break
            left, held = int(line, 16), rest
            if not left:
                return parts
    return parts


def _lines(parts: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
    """Split the parts into lines, each with the time at which it was complete."""
    lines: list[tuple[float, bytes]] = []
    held = b""
    for moment, data in parts:
        *ready, held = (held + data).split(b"\n")
        lines += [(moment, line) for line in ready]
    if held:
        lines.append((parts[-1][0], held))
    return lines


def _add_event(answer: Answer, event: dict[str, Any], moment: float) -> None:
    """Add one event of a stream, or the body of an answer without streaming, to `answer`."""
    if "error" in event:
        raise Broken(f"an error inside the answer: {str(event['error'])[:200]}")
    if event.get("usage"):
        answer.usage = event["usage"]
    texts = [event.get("response")]
    if event.get("done"):
        answer.finish_reason = event.get("done_reason") or "stop"
    for choice in event.get("choices", ()):
        message = choice.get("delta") or choice.get("message") or {}
        texts += [message.get("reasoning") or message.get("reasoning_content"), message.get("content")]
        texts.append(choice.get("text"))
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if text := "".join(text for text in texts if text):
        answer.pieces.append((moment, text))
