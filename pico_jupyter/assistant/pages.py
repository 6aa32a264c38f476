"""Calls tools in the browser pages that show a notebook.

Each page of JupyterLab connects once. A call goes to the page that the user looked at last. The page asks the user for
approval, calls the tool and returns the result.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from pico_jupyter.tool_reports import ToolResult

NO_PAGE = "Error: no page of JupyterLab is connected. Open the notebook in JupyterLab on this server."
CLOSED = "Error: the page of JupyterLab was closed before the tool returned."
MAX_PENDING = 32
TOO_MANY = "Error: too many calls wait for the page. Wait for their results."


class PageCall(msgspec.Struct, frozen=True, tag="call"):
    """Tells a page to call a tool. `client` is the name of the program that asked for it."""

    id: int
    tool: str
    arguments: dict[str, Any]
    client: str


class PageCancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Tells a page that nothing waits for the result of a call any more."""

    id: int


class PageFocused(msgspec.Struct, frozen=True, tag="focus"):
    """A page reports that the user looks at it."""


class CallReturned(msgspec.Struct, frozen=True, tag="result"):
    """A page reports the result of a call."""

    id: int
    text: str
    images: list[str] = []
    failed: bool = False


ToPage: TypeAlias = PageCall | PageCancel
FromPage: TypeAlias = PageFocused | CallReturned
Send: TypeAlias = Callable[[ToPage], None]


class Page:
    """A connected page. `send` delivers a message to it."""

    def __init__(self, pages: Pages, owner: str, send: Send) -> None:
        self.owner = owner
        self._pages = pages
        self._send = send
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[ToolResult]] = {}

    def __repr__(self) -> str:
        return f"<Page [{len(self._pending)} calls]>"

    async def call(self, tool: str, arguments: dict[str, Any], client: str) -> ToolResult:
        """Call a tool in this page, and wait for its result. If the caller is cancelled, the page is told so."""
        if len(self._pending) >= MAX_PENDING:
            return ToolResult(TOO_MANY, failed=True)
        call = PageCall(next(self._ids), tool, arguments, client)
        returned: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        self._pending[call.id] = returned
        self._send(call)
        try:
            return await returned
        except asyncio.CancelledError:
            self._send(PageCancel(call.id))
            raise
        finally:
            self._pending.pop(call.id, None)

    def receive(self, message: FromPage) -> None:
        """Handle a message of the page. The result of an unknown call is ignored."""
        if isinstance(message, PageFocused):
            self._pages.prefer(self)
        elif (returned := self._pending.get(message.id)) is not None and not returned.done():
            returned.set_result(ToolResult(message.text, message.images, message.failed))

    def close(self) -> None:
        """Remove the page. Its running calls fail."""
        self._pages.remove(self)
        for returned in self._pending.values():
            if not returned.done():
                returned.set_result(ToolResult(CLOSED, failed=True))


class Pages:
    """The connected pages of all users."""

    def __init__(self) -> None:
        self._pages: list[Page] = []  # the page that the user looked at last is the last one

    def __repr__(self) -> str:
        return f"<Pages [{len(self._pages)}]>"

    def connect(self, owner: str, send: Send) -> Page:
        """Add a page of the user `owner`."""
        page = Page(self, owner, send)
        self._pages.append(page)
        return page

    def prefer(self, page: Page) -> None:
        """Send the next calls of the page's user to this page."""
        if page in self._pages:
            self._pages.remove(page)
            self._pages.append(page)

    def remove(self, page: Page) -> None:
        """Send no further calls to this page."""
        if page in self._pages:
            self._pages.remove(page)

    async def call(self, owner: str, tool: str, arguments: dict[str, Any], client: str) -> ToolResult:
        """Call a tool in the page that the user `owner` looked at last."""
        page = next((page for page in reversed(self._pages) if page.owner == owner), None)
        return ToolResult(NO_PAGE, failed=True) if page is None else await page.call(tool, arguments, client)
