"""MCP clients work in the notebook of a page, with the user's approval."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from playwright.sync_api import Locator, Page, expect

from tests.browser.panels import open_notebook, sidebar
from tests.e2e.running import RunningServer


class Caller:
    """An MCP client in a thread, because the browser blocks this one."""

    def __init__(self, lab: RunningServer) -> None:
        self._lab = lab
        self._thread = ThreadPoolExecutor(1)

    def call(self, tool: str, seconds: float = 60, **arguments: Any) -> Future[str]:
        """Call a tool. The future has its text. Gives up after `seconds`."""
        return self._thread.submit(lambda: asyncio.run(asyncio.wait_for(self._call(tool, arguments), seconds)))

    async def _call(self, tool: str, arguments: dict[str, Any]) -> str:
        headers = {**self._lab.headers, "User-Agent": "claude-code/2.1"}
        async with (
            create_mcp_http_client(headers) as http,
            Client(streamable_http_client(f"{self._lab.url}pico/mcp", http_client=http)) as client,
        ):
            (content, *_) = (await client.call_tool(tool, arguments)).content
            return content.text if content.type == "text" else ""


@pytest.fixture
def caller(lab: RunningServer) -> Iterator[Caller]:
    caller = Caller(lab)
    yield caller
    caller._thread.shutdown(cancel_futures=True)


@pytest.fixture
def cells(page: Page, lab: RunningServer) -> Locator:
    cells = open_notebook(page, lab, "mcp.ipynb", "first = 1")
    sidebar(page)
    return cells


def wait(page: Page, future: Future[str]) -> str:
    """Wait for a result while the page runs on."""
    while not future.done():
        page.wait_for_timeout(20)
    return future.result()


def request(page: Page) -> Locator:
    return page.get_by_role("region", name="Request of claude-code")


def test_a_program_reads_without_approval(page: Page, cells: Locator, caller: Caller) -> None:
    assert wait(page, caller.call("read_notebook")) == "mcp.ipynb, 1 cell\n1 cell code [ ] first = 1"
    expect(request(page)).to_have_count(0)


def test_a_program_adds_and_runs_a_cell_with_approval(page: Page, cells: Locator, caller: Caller) -> None:
    adding = caller.call("insert_cell", source="print(12 + 35)")
    expect(request(page)).to_contain_text("Add a cell to mcp.ipynb?")
    expect(request(page).get_by_role("button")).to_have_text(["Accept", "Reject"])
    request(page).get_by_role("button", name="Accept").click()
    inserted = wait(page, adding)
    expect(cells).to_have_count(2)
    running = caller.call("run_cell", cell=inserted.removeprefix("Inserted cell ").removesuffix("."))
    expect(request(page)).to_contain_text("Run cell")
    request(page).get_by_role("button", name="Accept").click()
    assert wait(page, running) == "Output:\n47"


def test_a_rejected_call_changes_nothing(page: Page, cells: Locator, caller: Caller) -> None:
    adding = caller.call("insert_cell", source="x")
    request(page).get_by_role("button", name="Reject").click()
    assert wait(page, adding) == "Error: The user rejected this."
    expect(cells).to_have_count(1)


def test_the_request_disappears_when_the_program_gives_up(page: Page, cells: Locator, caller: Caller) -> None:
    adding = caller.call("insert_cell", seconds=4, source="x")
    expect(request(page)).to_be_visible()
    with pytest.raises(TimeoutError):
        wait(page, adding)
    expect(request(page)).to_have_count(0)
    expect(cells).to_have_count(1)
