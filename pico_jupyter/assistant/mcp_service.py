"""Starts and stops the MCP server of the open notebook's tools, an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pico_jupyter.assistant.pages import Pages

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
SendMessage: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OWNER = "pico.owner"  # key of the ASGI scope


class McpService:
    """The MCP server. It starts with the first request."""

    def __init__(self, pages: Pages, version: str) -> None:
        self._pages = pages
        self._version = version
        self._manager: StreamableHTTPSessionManager | None = None
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<McpService {self._pages!r}>"

    async def handle(self, owner: str, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Answer a request of the user `owner`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await self._ready.wait()
        assert self._manager is not None
        await self._manager.handle_request({**scope, OWNER: owner}, receive, send)

    async def close(self) -> None:
        """End all requests."""
        self._stop.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        from pico_jupyter.assistant.mcp_server import create_manager, end_watcher  # noqa: PLC0415  # slow import

        self._manager = create_manager(self._pages, self._version)
        async with self._manager.run():
            self._ready.set()
            await self._stop.wait()
        end_watcher()
