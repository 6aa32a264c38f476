"""A small MCP server over standard input and output: the other end of a connection that the settings name."""

import os

from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("adder")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def environment(name: str) -> str:
    """Read an environment variable."""
    return os.environ.get(name, "")


@server.tool()
def draw() -> Image:
    """Draw a picture."""
    return Image(data=b"\x89PNG", format="png")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("out of paper")


@server.tool()
def end() -> str:
    """End this process."""
    os._exit(3)


if __name__ == "__main__":
    server.run()
