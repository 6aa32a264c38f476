"""Connects to the MCP servers of the settings and calls their tools.

A server is a command, which runs as a child process, or a URL. It is connected when its tools are listed for the first
time, and again after a failure. A tool has the name `server__tool`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from pico_jupyter.assistant.tool_server_settings import ToolServerSettings
from pico_jupyter.errors import NotFound
from pico_jupyter.tool_reports import AssistantTool, ToolResult, ToolServerState

if TYPE_CHECKING:
    from pico_jupyter.assistant.tool_connection import ToolConnection

CONNECT_SECONDS = 30.0
MAX_NAME = 64  # of a function, in OpenAI's API
SEPARATOR = "__"


class ToolServer:
    """A connection to one server, which `close` ends. The task `_run` opens and closes it."""

    def __init__(self, name: str, settings: ToolServerSettings) -> None:
        self.name = name
        self.error: str | None = None
        self._settings = settings
        self._connection: ToolConnection | None = None
        self._changed = asyncio.Event()  # the connection is open, or failed
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ToolServer {self.name}>"

    @property
    def state(self) -> ToolServerState:
        """The state of the connection."""
        return ToolServerState(self.name, "failed" if self.error else "running", self.error)

    async def tools(self) -> list[AssistantTool]:
        """List the tools, or nothing if the server cannot be reached: see `state`."""
        connection = await self._connect()
        if connection is None:
            return []
        try:
            tools = await connection.tools()
        except Exception as error:  # noqa: BLE001  # whatever a foreign server causes is its state
            self._fail(error)
            return []
        named = [msgspec.structs.replace(tool, name=f"{self.name}{SEPARATOR}{tool.name}") for tool in tools]
        return [AssistantTool(tool) for tool in named if len(tool.name) <= MAX_NAME]

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        """Call a tool. A failure is a result, not an exception."""
        connection = await self._connect()
        if connection is None:
            return ToolResult(f"Error: the MCP server {self.name} cannot be reached: {self.error}", failed=True)
        try:
            return await connection.call(tool, arguments)
        except Exception as error:  # noqa: BLE001  # whatever a foreign server causes is the result of the call
            self._fail(error)
            return ToolResult(f"Error: the MCP server {self.name} failed: {self.error}", failed=True)

    async def close(self) -> None:
        """Close the connection, and end the child process."""
        self._stop.set()
        if self._task is not None:
            await self._task

    def _fail(self, error: Exception) -> None:
        self.error = describe(error)
        self._stop.set()

    async def _connect(self) -> ToolConnection | None:
        if self._task is None or self._task.done() or self._stop.is_set():
            await self.close()
            self.error, self._changed, self._stop = None, asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._run())
        await self._changed.wait()
        return self._connection

    async def _run(self) -> None:
        # The task that opened the connection also closes it, as its task groups require.
        from pico_jupyter.assistant.tool_connection import ToolConnection  # noqa: PLC0415  # the import takes 0.5 s

        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._connection = await ToolConnection.open(self._settings, stack)
                self._changed.set()
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001  # whatever a foreign server causes is its state
            self.error = self.error or describe(error)
        finally:
            self._connection = None
            self._changed.set()


class ToolServers:
    """The MCP servers of the settings."""

    def __init__(self, settings: Mapping[str, ToolServerSettings]) -> None:
        self._servers = {name: ToolServer(name, server) for name, server in settings.items()}

    def __repr__(self) -> str:
        return f"<ToolServers [{len(self._servers)}]>"

    async def tools(self) -> list[AssistantTool]:
        """List the tools of all servers that can be reached."""
        listed = await asyncio.gather(*(server.tools() for server in self._servers.values()))
        return [tool for tools in listed for tool in tools]

    def states(self) -> list[ToolServerState]:
        """The states of all servers."""
        return [server.state for server in self._servers.values()]

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Call the tool `name`. Raises NotFound if no server of this name is in the settings."""
        server, separator, tool = name.partition(SEPARATOR)
        if not separator or not tool or server not in self._servers:
            raise NotFound(f"There is no tool named {name!r} of an MCP server.")
        return await self._servers[server].call(tool, arguments)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))


def describe(error: BaseException) -> str:
    """One line about an error. An exception group is described by its first exception."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())[:300]
    return text or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
