"""Actions of users in the panel and in notebooks, for browser tests."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.e2e.running import RunningServer

SUM = "What is 348 + 277?"
# The built-in model repeats itself on this prompt, and writes for half a minute.
LONG = "Repeat after me: " + "a b c d e f g h " * 30
CHATS = "Chats"
CELLS = ".jp-Notebook .jp-Cell"
PATIENCE_SECONDS = 60.0
# The page shows the kernel indicator as idle even before a kernel exists.
HAS_KERNEL = """() => [...(window.jupyterapp?.shell.widgets('main') ?? [])].some(({ sessionContext }) => {
    const kernel = sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
})"""
# A cell that shows a panel.
SHOW = "from pico_jupyter import ChatPanel\npanel = ChatPanel('pico-tiny', reasoning='on', height=420)\npanel"


class Panel:
    """A chat panel on a page."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page = page
        self.root = root

    def __repr__(self) -> str:
        return f"<Panel at {self.page.url}>"

    @property
    def message(self) -> Locator:
        return self.root.get_by_role("textbox", name="Message", exact=True)

    @property
    def answers(self) -> Locator:
        return self.root.get_by_role("article", name=re.compile("^Answer from"))

    @property
    def figures(self) -> Locator:
        """The statistics under finished answers."""
        return self.root.locator(".pico-figures")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def reason(self, choice: str) -> None:
        """Set the reasoning switch."""
        self.root.get_by_role("radio", name=f"Reasoning: {choice}").click()

    def send(self, text: str) -> None:
        """Send a message without waiting."""
        self.message.fill(text)
        self.message.press("Enter")

    def ask(self, text: str) -> Locator:
        """Send a message and wait for the whole answer."""
        count = self.answers.count()
        self.send(text)
        answer = self.answers.nth(count)
        expect(self.figures.nth(count)).to_be_visible()
        return answer

    def choose(self, model: str) -> None:
        """Choose another model."""
        self.root.get_by_role("button", name=re.compile("^Model: ")).click()
        self.root.get_by_role("option", name=re.compile(rf"^{model}\b(?!-)")).click()
        expect(self.button(f"Model: {model}")).to_be_visible()

    def open_conversation(self, title: str) -> None:
        """Open the latest conversation with this title."""
        self.button("Conversations").click()
        self.root.locator(".pico-row-button").filter(has_text=title).first.click()

    def wait_for_models(self, chosen: str = "pico-tiny") -> None:
        expect(self.button(f"Model: {chosen}")).to_be_visible()


def open_lab(page: Page, lab: RunningServer, path: str = "") -> Page:
    """Open JupyterLab in a new workspace. `path` names a document to open."""
    page.goto(f"{lab.url}lab/workspaces/{secrets.token_hex(4)}{path}?reset&token={lab.token}")
    wait_for_layout(page, ".jp-NotebookPanel" if path else ".jp-Launcher")
    return page


def open_notebook(page: Page, lab: RunningServer, name: str, *sources: str) -> Locator:
    """Open a new notebook in JupyterLab and wait for its kernel. Returns its cells."""
    write_notebook(lab.log.parent, name, *sources)
    open_lab(page, lab, f"/tree/{name}")
    wait_for_kernel(page)
    return page.locator(CELLS)


def open_notebook_7(page: Page, lab: RunningServer, name: str, *sources: str) -> Locator:
    """Open a new notebook in Notebook 7 and wait for its kernel. Returns its cells."""
    write_notebook(lab.log.parent, name, *sources)
    page.goto(f"{lab.url}notebooks/{name}?token={lab.token}")
    wait_for_kernel(page)
    return page.locator(CELLS)


def reload(page: Page) -> Page:
    """Reload a JupyterLab that shows its launcher. Without ?reset in the URL, the layout is restored."""
    page.goto(page.url.partition("?")[0])
    wait_for_layout(page, ".jp-Launcher")
    return page


def wait_for_layout(page: Page, content: str) -> None:
    """Wait until the layout is restored: the splash screen disappears after the content is in place."""
    page.locator(content).wait_for()
    page.locator("#jupyterlab-splash").wait_for(state="detached")


def wait_for_kernel(page: Page) -> None:
    """Wait until the page is connected to the notebook's kernel. Before that it ignores requests to run cells."""
    page.wait_for_function(HAS_KERNEL)


def run(cell: Locator) -> None:
    """Run a cell that has not run yet. Does not wait for its end."""
    cell.locator(".cm-content").click()
    cell.page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-InputPrompt")).not_to_have_text("[ ]:")


def widget(page: Page) -> Panel:
    """The panel in a cell."""
    panel = Panel(page, page.locator(".pico-widget"))
    panel.wait_for_models()
    return panel


def sidebar(page: Page, chosen: str = "pico-tiny") -> Panel:
    """The panel in the sidebar. Opens it only if it is closed, because a second click closes it."""
    root = page.locator("#pico-chat-sidebar")
    tab = page.locator('.jp-SideBar [data-id="pico-chat-sidebar"]')
    tab.wait_for()
    if not root.is_visible():
        tab.click()
    panel = Panel(page, root.get_by_role("region", name="Chat with a local model"))
    panel.wait_for_models(chosen)
    return panel


def lab_sidebar(page: Page, lab: RunningServer) -> Panel:
    return sidebar(open_lab(page, lab))


def write_notebook(folder: Path, name: str, *sources: str, kernel: str = "python3") -> None:
    """Write a notebook with these code cells."""
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [{**cell, "id": f"cell{index}", "source": source} for index, source in enumerate(sources)]
    kernelspec = {"name": kernel, "display_name": kernel, "language": ""}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernelspec}, "nbformat": 4, "nbformat_minor": 5}
    (folder / name).write_text(json.dumps(notebook))


def answer_with(context: BrowserContext, text: str) -> list[Any]:
    """Answer all questions with `text`. The returned list collects the requests."""
    requests: list[Any] = []
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"

    def answer(route: Route) -> None:
        requests.append(route.request.post_data_json)
        route.fulfill(content_type="text/event-stream", body=body)

    context.route("**/v1/chat/completions*", answer)
    return requests


def list_with_vision(context: BrowserContext) -> None:
    """List the built-in model as one that accepts images and videos."""

    def list_models(route: Route) -> None:
        answer = route.fetch()
        models = answer.json()
        for model in models["models"]:
            model["capabilities"] += ["vision", "video"]
        route.fulfill(response=answer, json=models)

    context.route("**/api/tags*", list_models)
