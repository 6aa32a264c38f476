"""A web server that sends exactly the bytes that a test configures."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reply:
    """A response: the server sends `sent` and closes the connection.

    With `hold`, it waits before the close until the client disconnects. With `repeat`, it sends these bytes until then.
    """

    sent: bytes
    hold: bool = False
    repeat: bytes = b""


def whole(body: bytes, *headers: str, status: str = "200 OK") -> Reply:
    """A response with Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return Reply("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def redirect(location: str, status: str = "302 Found") -> Reply:
    """A response that redirects to `location`."""
    return whole(b"", f"Location: {location}", status=status)


@dataclass
class Site:
    """Sends each path's reply and records the requests.

    `requested` is set when a request arrives. `disconnected` is set when a client ends a reply that holds or repeats.
    """

    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    requested: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    scheme: str = "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which has one request."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            self.requested.set()
            reply = self.replies[request.split()[1]]
            writer.write(reply.sent)
            await self._continue(reply, reader, writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _continue(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while reply.repeat:
                writer.write(reply.repeat)
                await writer.drain()
                await asyncio.sleep(0)
            if reply.hold:
                await reader.read()
        finally:
            self.disconnected.set()


@asynccontextmanager
async def running_site(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """A site that listens on the loopback interface."""
    site = Site(scheme="https" if tls else "http")
    server = await asyncio.start_server(site.answer, "127.0.0.1", ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
