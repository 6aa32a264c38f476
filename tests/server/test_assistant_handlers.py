"""pico/tools, pico/pages and pico/mcp, with the MCP SDK's client and a page of JupyterLab."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from pico_jupyter.assistant.notebook_tools import notebook_tools
from pico_jupyter.assistant.pages import NO_PAGE
from tests.server.conftest import TOKEN, RunningServer, StartServer, until
from tests.server.test_authorization import DenyExecute

NAMES = [tool.function.name for tool in notebook_tools()]


@asynccontextmanager
async def page_of(server: RunningServer, **headers: str) -> AsyncIterator[ClientConnection]:
    """A connected page of JupyterLab, with the server's token."""
    url = server.url.replace("http", "ws", 1) + "pico/pages"
    async with connect(url, additional_headers={"Authorization": f"token {TOKEN}", **headers}, proxy=None) as page:
        yield page


@asynccontextmanager
async def client_of(server: RunningServer, mode: str = "auto") -> AsyncIterator[Client]:
    """An MCP client with the server's token."""
    headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "claude-code/2.1"}
    async with (
        create_mcp_http_client(headers) as http,
        Client(streamable_http_client(server.url + "pico/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def answer(page: ClientConnection, **result: Any) -> dict[str, Any]:
    """Receive a call in the page, and return a result."""
    call: dict[str, Any] = json.loads(await page.recv())
    await page.send(json.dumps({"type": "result", "id": call["id"], **result}))
    return call


async def test_the_tools_are_listed_in_the_form_of_openai(server: RunningServer) -> None:
    listed = (await server.get("pico/tools")).json()
    assert [tool["function"]["name"] for tool in listed["tools"]] == NAMES
    assert len(NAMES) == 8
    assert listed["servers"] == []
    assert all(tool["function"]["parameters"]["type"] == "object" for tool in listed["tools"])


@pytest.mark.parametrize("body", [b"", b"[]", b'{"arguments": []}', b'{"arguments": "x"}'])
async def test_a_malformed_call_is_refused(server: RunningServer, body: bytes) -> None:
    response = await server.request("POST", "pico/tools/none__tool", content=body)
    assert response.status_code == 400


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_mcp_client_calls_a_tool_in_the_page(server: RunningServer, mode: str) -> None:
    async with page_of(server) as page, client_of(server, mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == NAMES
        answering = asyncio.ensure_future(answer(page, text="Output:\n47", images=["data:image/png;base64,AA=="]))
        returned = await client.call_tool("run_cell", {"cell": "ab12"})
        assert await answering == {
            "type": "call",
            "id": 1,
            "tool": "run_cell",
            "arguments": {"cell": "ab12"},
            "client": "claude-code",
        }
        text, image = returned.content
        assert (text.type, text.text) == ("text", "Output:\n47")
        assert (image.type, image.data, image.mime_type) == ("image", "AA==", "image/png")


async def test_a_failed_call_is_an_error_of_the_tool(server: RunningServer) -> None:
    async with page_of(server) as page, client_of(server) as client:
        answering = asyncio.ensure_future(answer(page, text="The user rejected this.", failed=True))
        assert (await client.call_tool("delete_cell", {"cell": "ab12"})).is_error
        await answering
        assert (await client.call_tool("format_disk", {})).is_error


async def test_an_mcp_client_without_a_page_learns_what_to_do(server: RunningServer) -> None:
    async with client_of(server) as client:
        returned = await client.call_tool("read_notebook", {})
    assert (returned.is_error, returned.content[0].text) == (True, NO_PAGE)  # type: ignore[union-attr]  # a text


async def test_the_page_is_told_when_an_mcp_client_disconnects(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "run_cell", "arguments": {"cell": "x"}},
    }
    headers = {"Accept": "application/json, text/event-stream"}
    async with page_of(server) as page:
        request = asyncio.ensure_future(server.post("pico/mcp", body, headers=headers))
        assert json.loads(await page.recv())["tool"] == "run_cell"
        request.cancel()
        assert json.loads(await page.recv()) == {"type": "cancel", "id": 1}
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_the_page_that_was_focused_last_gets_the_call(server: RunningServer) -> None:
    async with page_of(server) as first, page_of(server), client_of(server) as client:
        await first.send('{"type": "focus"}')
        await (await first.ping())  # the server handles the messages of a connection in their order
        answering = asyncio.ensure_future(answer(first, text="first"))
        returned = await client.call_tool("read_notebook", {})
        assert returned.content[0].text == "first"  # type: ignore[union-attr]  # a text
        assert await answering


@pytest.mark.parametrize("message", ["", "{", "[]", '{"type": "nothing"}', '{"type": "result"}', b"\xff"])
async def test_a_malformed_message_closes_the_connection_of_a_page(server: RunningServer, message: str | bytes) -> None:
    async with page_of(server) as page:
        await page.send(message)
        await page.wait_closed()
        assert page.close_code == 1003
    await until(lambda: "[0]" in repr(server.extension.context.pages))


@pytest.mark.parametrize(
    "headers", [{"Authorization": "token wrong"}, {"Origin": "https://evil.example"}], ids=["token", "origin"]
)
async def test_a_page_needs_the_token_and_the_same_origin(server: RunningServer, headers: dict[str, str]) -> None:
    if "Origin" in headers:
        headers = {**headers, "Authorization": "", "Cookie": ""}
    with pytest.raises(InvalidStatus) as refused:
        async with page_of(server, **headers):
            pass
    assert refused.value.response.status_code == 403


async def test_a_page_needs_the_permission_to_execute(start_server: StartServer) -> None:
    server = await start_server(ServerApp={"authorizer_class": DenyExecute})
    with pytest.raises(InvalidStatus) as refused:
        async with page_of(server):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_are_no_mcp_sessions(server: RunningServer, method: str) -> None:
    assert (await server.request(method, "pico/mcp")).status_code == 405
