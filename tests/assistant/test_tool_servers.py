"""The MCP servers of the settings, with a real one in a child process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pico_jupyter.assistant.tool_connection import expand
from pico_jupyter.assistant.tool_server_settings import read_settings
from pico_jupyter.assistant.tool_servers import ToolServers
from pico_jupyter.errors import InvalidRequest, NotFound
from pico_jupyter.tool_reports import ToolResult

ADDER = str(Path(__file__).parents[1] / "fakes" / "mcp_adder.py")


def command(**changes: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [ADDER], **changes}


@pytest.fixture
async def servers() -> AsyncIterator[ToolServers]:
    settings = {"adder": command(env={"GREETING": "hello"}), "absent": {"command": "/does/not/exist"}}
    servers = ToolServers(read_settings({"mcpServers": settings}))
    yield servers
    await servers.close()


@pytest.mark.slow  # starts a process, which imports the SDK
async def test_the_tools_of_a_server_are_listed_and_called(servers: ToolServers) -> None:
    names = [tool.function.name for tool in await servers.tools()]
    assert names == [f"adder__{name}" for name in ("add", "environment", "draw", "fail", "end")]
    assert await servers.call("adder__add", {"a": 12, "b": 35}) == ToolResult("47")
    assert await servers.call("adder__environment", {"name": "GREETING"}) == ToolResult("hello")
    assert (await servers.call("adder__draw", {})).images == ["data:image/png;base64,iVBORw=="]
    failed = await servers.call("adder__fail", {})
    assert failed == ToolResult("Error executing tool fail", failed=True)
    wrong = await servers.call("adder__add", {"a": "x"})
    assert wrong.failed
    assert [(state.name, state.state) for state in servers.states()] == [("adder", "running"), ("absent", "failed")]


@pytest.mark.slow
async def test_a_server_that_ended_is_started_again_at_the_next_call(servers: ToolServers) -> None:
    ended = await servers.call("adder__end", {})
    assert ended.failed
    assert ended.text.startswith("Error: the MCP server adder failed")
    assert await servers.call("adder__add", {"a": 1, "b": 2}) == ToolResult("3")


async def test_a_server_that_cannot_be_started_fails_its_calls_and_says_why(servers: ToolServers) -> None:
    failed = await servers.call("absent__tool", {})
    assert failed.failed
    assert "cannot be reached" in failed.text
    assert "/does/not/exist" in failed.text


@pytest.mark.parametrize("name", ["unknown__tool", "adder", "adder__", "__add"])
async def test_an_unknown_server_or_tool_is_not_found(servers: ToolServers, name: str) -> None:
    with pytest.raises(NotFound):
        await servers.call(name, {})


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"a b": {"command": "x"}}, "letters"),
        ({"a__b": {"command": "x"}}, "letters"),
        ({"a_": {"command": "x"}}, "letters"),
        ({"x" * 33: {"command": "x"}}, "letters"),
        ({"a": {}}, "either 'command' or 'url'"),
        ({"a": {"command": "x", "url": "http://x"}}, "either 'command' or 'url'"),
        ({"a": {"comand": "x"}}, "comand"),
        ({"a": {"command": "x", "args": "y"}}, "args"),
        ({"mcpServers": []}, "object"),
    ],
)
def test_wrong_settings_are_refused_with_the_field(value: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_settings(value)


def test_environment_variables_are_replaced() -> None:
    assert expand("Bearer ${KEY}!", {"KEY": "abc"}) == "Bearer abc!"
    assert expand("$KEY $(x) {y}", {}) == "$KEY $(x) {y}"
    with pytest.raises(InvalidRequest, match="KEY is not set"):
        expand("${KEY}", {})
