"""Lists the operations on the assistant's tools for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from pico_jupyter.dialects.openapi_operation import ACCESS_ERRORS, Operation
from pico_jupyter.dialects.tool_requests import ToolCallRequest
from pico_jupyter.errors import InvalidRequest, RequestTooLarge
from pico_jupyter.tool_reports import ToolList, ToolResult

TOOL_PARAMETERS: dict[str, Any] = {
    "tool": Annotated[str, Meta(description="The name of the tool, such as `server__tool`.")],
}

TOOL_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        "tools",
        "OpenAI",
        "List the tools of the assistant: those of the open notebook, and those of the MCP servers in the settings.",
        answer=ToolList,
        errors=ACCESS_ERRORS,
        mount="pico",
        head=True,
    ),
    Operation(
        "post",
        "tools/{tool}",
        "OpenAI",
        "Call a tool of an MCP server in the settings. Pages of JupyterLab call the tools of the notebook themselves.",
        requests=(ToolCallRequest,),
        answer=ToolResult,
        errors=(*ACCESS_ERRORS, InvalidRequest, RequestTooLarge),
        mount="pico",
    ),
)
