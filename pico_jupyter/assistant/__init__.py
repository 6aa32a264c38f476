"""Tools of the assistant: the tools that change the open notebook, and those of MCP servers."""
