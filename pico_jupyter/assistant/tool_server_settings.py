"""Reads the setting `mcp_servers`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

SERVER_NAME = r"[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*"  # no "__", which separates it from the name of a tool
MAX_SERVER_NAME = 32


class ToolServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a server is reached, as in the `mcpServers` of other programs.

    command, args, env, cwd: a program that speaks MCP over its standard input and output. url, headers: a server that
    speaks streamable HTTP. `${NAME}` is replaced with the environment variable NAME. type: "stdio" or "http"; ignored.
    """

    command: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = {}
    type: str = ""


def read_settings(value: dict[str, Any]) -> dict[str, ToolServerSettings]:
    """Read the setting `mcp_servers`: a dict by name, or a dict with such a dict as `mcpServers`. Raises ValueError."""
    servers = value.get("mcpServers", value)
    try:
        settings = msgspec.convert(servers, dict[str, ToolServerSettings])
    except msgspec.ValidationError as error:
        raise ValueError(f"mcp_servers: {error}") from None
    for name, server in settings.items():
        if len(name) > MAX_SERVER_NAME or not re.fullmatch(SERVER_NAME, name):
            raise ValueError(f"mcp_servers: {name!r} must be at most 32 letters, digits, '-' and single '_'")
        if bool(server.command) == bool(server.url):
            raise ValueError(f"mcp_servers: {name!r} needs either 'command' or 'url'")
    return settings
