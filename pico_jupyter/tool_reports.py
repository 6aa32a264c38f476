"""Defines tools, and what a call of a tool returns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class ToolFunction(msgspec.Struct, frozen=True):
    """A tool's name, purpose, and the JSON schema of its arguments."""

    name: str
    parameters: dict[str, Any]
    description: str = ""


class AssistantTool(msgspec.Struct, frozen=True):
    """A tool, in the form of OpenAI's `tools`."""

    function: ToolFunction
    type: Literal["function"] = "function"


class ToolServerState(msgspec.Struct, frozen=True):
    """An MCP server of the settings."""

    name: str
    state: Literal["running", "failed"]
    error: Annotated[str | None, Meta(description="Why its tools are missing.")] = None


class ToolList(msgspec.Struct, frozen=True):
    """All tools of the assistant. The name of a tool of an MCP server begins with `server__`."""

    tools: list[AssistantTool]
    servers: list[ToolServerState]


class ToolResult(msgspec.Struct, frozen=True):
    """What a call of a tool returned: a text for the model, and images as data URLs."""

    text: str
    images: list[str] = []
    failed: Annotated[bool, Meta(description="The text is an error.")] = False
