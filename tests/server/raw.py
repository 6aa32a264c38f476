"""An HTTP client on a plain socket, which can disconnect at any point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.server.conftest import TOKEN, RunningServer


class RawRequest:
    """A sent request whose response can be read piece by piece."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def until(self, text: bytes) -> bytes:
        """Read the response up to and including `text`."""
        return await asyncio.wait_for(self._reader.readuntil(text), 20)

    async def aclose(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def raw_post(
    server: RunningServer, path: str, body: object, length: int = 0, headers: str = ""
) -> AsyncIterator[RawRequest]:
    """Post `body` as JSON, and disconnect at the end of the block. A larger `length` announces more than is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    content = json.dumps(body).encode()
    head = (
        f"POST {server.app.base_url}{path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {length or len(content)}\r\n{headers}\r\n"
    )
    writer.write(head.encode() + content)
    request = RawRequest(reader, writer)
    try:
        yield request
    finally:
        await request.aclose()
