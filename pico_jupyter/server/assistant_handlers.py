"""Handles pico/tools, pico/pages and pico/mcp: the tools of the assistant, for pages of JupyterLab and MCP clients."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from pico_jupyter.assistant.notebook_tools import notebook_tools
from pico_jupyter.assistant.pages import FromPage, ToPage
from pico_jupyter.dialects.tool_requests import parse_tool_call
from pico_jupyter.server.asgi import run_asgi
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.credentials import owner_of
from pico_jupyter.server.download_handlers import OwnHandler
from pico_jupyter.server.handlers import RESOURCE, permitted
from pico_jupyter.tool_reports import ToolList


class ToolsHandler(OwnHandler):
    """GET pico/tools."""

    methods = ("GET", "HEAD")

    @permitted("read")
    async def get(self) -> None:
        """List the tools of the open notebook and those of the MCP servers in the settings."""
        servers = self.context.tool_servers
        self.respond_struct(ToolList([*notebook_tools(), *await servers.tools()], servers.states()))

    head = get


class ToolCallHandler(OwnHandler):
    """POST pico/tools/{name}."""

    methods = ("POST",)

    @permitted("execute")
    async def post(self, name: str) -> None:
        """Call a tool of an MCP server. Pages of JupyterLab call the tools of the notebook themselves."""
        with self.context.activity():
            self.respond_struct(await self.context.tool_servers.call(name, parse_tool_call(self.body()).arguments))


class McpHandler(OwnHandler):
    """POST pico/mcp: the tools of the open notebook, over MCP. There are no sessions, so GET and DELETE get a 405."""

    methods = ("POST",)

    def initialize(self, context: ServerContext) -> None:
        """Tornado calls this with the arguments of the routing rule."""
        super().initialize(context)
        self._disconnected = asyncio.Event()

    def on_connection_close(self) -> None:
        """Tornado calls this when the client disconnects: what it waits for is cancelled."""
        super().on_connection_close()
        self._disconnected.set()

    @permitted("execute")
    async def post(self) -> None:
        """Answer a message of an MCP client."""
        with self.context.activity():
            await run_asgi(self, partial(self.context.mcp.handle, owner_of(self)), self.body(), self._disconnected)


class PagesHandler(JupyterHandler, WebSocketHandler):
    """The WebSocket pico/pages, which connects a page of JupyterLab."""

    def initialize(self, context: ServerContext) -> None:
        """Tornado calls this with the arguments of the routing rule."""
        self.context = context

    @ws_authenticated
    async def get(self, *args: str, **kwargs: str) -> None:
        """Open the WebSocket. Raises HTTPError."""
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "execute", RESOURCE)):
            raise web.HTTPError(403)
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Connect the page."""
        self._page = self.context.pages.connect(owner_of(self), self._send)

    def on_message(self, message: str | bytes) -> None:
        """Handle a message of the page. A malformed one closes the connection."""
        try:
            self._page.receive(msgspec.json.decode(message, type=FromPage))
        except msgspec.DecodeError as error:
            self.close(1003, str(error)[:100])

    def on_close(self) -> None:
        """Remove the page."""
        self._page.close()

    def _send(self, message: ToPage) -> None:
        try:
            self.write_message(msgspec.json.encode(message))
        except WebSocketClosedError:
            self._page.close()
