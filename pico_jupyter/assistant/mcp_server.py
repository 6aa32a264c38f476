"""Serves the tools of the open notebook over MCP (streamable HTTP).

Each request is complete in itself: there are no sessions. The ASGI scope names the user.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request

from pico_jupyter.assistant.mcp_service import OWNER
from pico_jupyter.assistant.notebook_tools import notebook_tools
from pico_jupyter.assistant.pages import Pages
from pico_jupyter.tool_reports import AssistantTool, ToolResult

READING = ("read_notebook", "read_cell", "read_file", "list_files")
INSTRUCTIONS = (
    "These tools work in the notebook that the user has open in JupyterLab. The user approves each change and each run "
    "in the page, so a call may take long."
)
MAX_CLIENT_NAME = 40


def create_manager(pages: Pages, version: str) -> StreamableHTTPSessionManager:
    """Create the MCP server. Its tools are called in `pages`."""

    async def list_tools(
        context: ServerRequestContext, _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[as_mcp_tool(tool) for tool in notebook_tools()])

    async def call_tool(context: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in {tool.function.name for tool in notebook_tools()}:
            return as_mcp_result(ToolResult(f"Error: there is no tool named {params.name[:64]}.", failed=True))
        request = cast(Request, context.request)
        client = request.headers.get("user-agent", "").partition("/")[0][:MAX_CLIENT_NAME] or "an MCP client"
        returned = await pages.call(request.scope[OWNER], params.name, params.arguments or {}, client)
        return as_mcp_result(returned)

    server: Server[Any] = Server(
        "pico_jupyter", version=version, instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )
    return StreamableHTTPSessionManager(server, stateless=True)


def as_mcp_tool(tool: AssistantTool) -> types.Tool:
    """Convert a tool to the form of MCP."""
    function = tool.function
    return types.Tool(
        name=function.name,
        description=function.description,
        input_schema=function.parameters,
        annotations=types.ToolAnnotations(read_only_hint=function.name in READING),
    )


def as_mcp_result(result: ToolResult) -> types.CallToolResult:
    """Convert a result to the form of MCP. Its images are data URLs of base64."""
    images = [url.removeprefix("data:").partition(";base64,") for url in result.images]
    return types.CallToolResult(
        content=[
            types.TextContent(text=result.text),
            *(types.ImageContent(data=data, mime_type=mime_type) for mime_type, _, data in images),
        ],
        is_error=result.failed,
    )


def end_watcher() -> None:
    """End the task in which sse_starlette 3 waits for the end of uvicorn. Otherwise asyncio reports it at exit."""
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__name__", "") == "_shutdown_watcher":
            task.cancel()
