"""Calls of tools in the pages of JupyterLab."""

from __future__ import annotations

import asyncio

import pytest

from pico_jupyter.assistant.pages import (
    CLOSED,
    MAX_PENDING,
    NO_PAGE,
    TOO_MANY,
    CallReturned,
    Page,
    PageCall,
    PageCancel,
    PageFocused,
    Pages,
    ToPage,
)
from pico_jupyter.tool_reports import ToolResult
from tests.server.conftest import until


class Tab:
    """A page that keeps what it is sent."""

    def __init__(self, pages: Pages, owner: str = "") -> None:
        self.sent: list[ToPage] = []
        self.page: Page = pages.connect(owner, self.sent.append)


async def test_a_call_returns_what_the_page_answers() -> None:
    tab = Tab(pages := Pages())
    returned = asyncio.ensure_future(pages.call("", "run_cell", {"cell": "ab12"}, "claude-code"))
    await until(lambda: tab.sent)
    assert tab.sent == [PageCall(1, "run_cell", {"cell": "ab12"}, "claude-code")]
    tab.page.receive(CallReturned(1, "Output:\n47", ["data:image/png;base64,AA=="]))
    assert await returned == ToolResult("Output:\n47", ["data:image/png;base64,AA=="])


async def test_a_call_without_a_page_says_what_to_do() -> None:
    assert await Pages().call("", "run_cell", {}, "x") == ToolResult(NO_PAGE, failed=True)


async def test_a_call_goes_to_the_page_that_was_looked_at_last() -> None:
    pages = Pages()
    first, second = Tab(pages), Tab(pages)
    first.page.receive(PageFocused())
    call = asyncio.ensure_future(pages.call("", "read_notebook", {}, "x"))
    await until(lambda: first.sent)
    assert second.sent == []
    call.cancel()


async def test_a_call_never_goes_to_the_page_of_another_user() -> None:
    tab = Tab(pages := Pages(), "alice")
    assert await pages.call("bob", "read_notebook", {}, "x") == ToolResult(NO_PAGE, failed=True)
    assert tab.sent == []


async def test_the_page_is_told_when_a_caller_gives_up() -> None:
    tab = Tab(pages := Pages())
    call = asyncio.ensure_future(pages.call("", "run_cell", {}, "x"))
    await until(lambda: tab.sent)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert tab.sent[1:] == [PageCancel(1)]


async def test_running_calls_fail_when_their_page_closes() -> None:
    tab = Tab(pages := Pages())
    call = asyncio.ensure_future(pages.call("", "run_cell", {}, "x"))
    await until(lambda: tab.sent)
    tab.page.close()
    assert await call == ToolResult(CLOSED, failed=True)
    assert await pages.call("", "run_cell", {}, "x") == ToolResult(NO_PAGE, failed=True)


async def test_a_result_of_no_running_call_is_ignored() -> None:
    tab = Tab(pages := Pages())
    tab.page.receive(CallReturned(7, "late"))
    call = asyncio.ensure_future(pages.call("", "run_cell", {}, "x"))
    await until(lambda: tab.sent)
    tab.page.receive(CallReturned(1, "first"))
    tab.page.receive(CallReturned(1, "second"))
    assert (await call).text == "first"


async def test_the_calls_that_wait_for_a_page_are_limited() -> None:
    tab = Tab(pages := Pages())
    calls = [asyncio.ensure_future(pages.call("", "run_cell", {}, "x")) for _ in range(MAX_PENDING)]
    await until(lambda: len(tab.sent) == MAX_PENDING)
    assert await pages.call("", "run_cell", {}, "x") == ToolResult(TOO_MANY, failed=True)
    tab.page.close()
    await asyncio.gather(*calls)
