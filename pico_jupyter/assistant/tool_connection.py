"""A connection to an MCP server: a child process, or a URL."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import CONNECTION_CLOSED

from pico_jupyter.assistant.tool_server_settings import ToolServerSettings
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.tool_reports import ToolFunction, ToolResult

LIST_SECONDS = 30.0
CALL_SECONDS = 600.0


class ToolConnection:
    """An open connection. After an exception of its methods it is useless."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def open(cls, settings: ToolServerSettings, stack: AsyncExitStack) -> ToolConnection:
        """Connect to a server. `stack` closes the connection, in the task that opened it."""
        if settings.url:
            headers = {name: expand(value) for name, value in settings.headers.items()}
            http = await stack.enter_async_context(create_mcp_http_client(headers))
            transport = streamable_http_client(expand(settings.url), http_client=http)
            return cls(await stack.enter_async_context(Client(transport)))
        parameters = StdioServerParameters(
            command=expand(settings.command),
            args=[expand(value) for value in settings.args],
            env={name: expand(value) for name, value in settings.env.items()},
            cwd=settings.cwd,
        )
        return cls(await stack.enter_async_context(Client(parameters)))

    async def tools(self) -> list[ToolFunction]:
        """List the tools of the server."""
        async with asyncio.timeout(LIST_SECONDS):
            listed = await self._client.list_tools()
        return [ToolFunction(tool.name, tool.input_schema, tool.description or "") for tool in listed.tools]

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        """Call a tool. An error that the server reports is a result."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                returned = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise
            return ToolResult(f"Error: {error.message}", failed=True)
        texts = [block.text for block in returned.content if block.type == "text"]
        images = [f"data:{block.mime_type};base64,{block.data}" for block in returned.content if block.type == "image"]
        return ToolResult("\n".join(texts) or "No output.", images, bool(returned.is_error))


def expand(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Replace each `${NAME}` with an environment variable. Raises InvalidRequest if it is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise InvalidRequest(f"the environment variable {match[1]} is not set")
        return environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, text)
