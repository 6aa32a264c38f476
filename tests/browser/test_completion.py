"""Inline completion in cells, with the built-in model, which completes by chat."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.browser.engines import server_statistics
from tests.browser.panels import PATIENCE_SECONDS, open_notebook
from tests.e2e.running import RunningServer, wait_for

SETTINGS = "lab/api/settings/pico-jupyter:completion"
GHOST = ".jp-GhostText"
# The built-in model answers this with text. It is not code, because the model knows little code.
BEGINNING = "# What is 348 + 277?\n"


@pytest.fixture(autouse=True)
def settings(lab: RunningServer) -> Iterator[None]:
    """The built-in model completes in all languages but markdown. Other tests have no completion."""
    save(lab, model="pico-tiny")
    yield
    save(lab)


def save(lab: RunningServer, **settings: object) -> None:
    with lab.http() as client:
        client.put(SETTINGS, json={"raw": json.dumps(settings)}).raise_for_status()


def status(page: Page) -> Locator:
    return page.locator(".jp-StatusBar-TextItem").filter(has_text="Completion:")


def completions(page: Page) -> list[Request]:
    """The requests for completions, from now on. Those of the panel have no priority."""
    found: list[Request] = []
    page.on("request", lambda sent: found.append(sent) if '"priority":1' in (sent.post_data or "") else None)
    return found


def start(page: Page, lab: RunningServer, name: str, source: str = BEGINNING) -> Locator:
    """Open a notebook with one cell, with the cursor at its end. Returns the cell."""
    cell = open_notebook(page, lab, name, source).first
    expect(status(page)).to_have_text("Completion: pico-tiny")
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    return cell


def test_a_suggestion_appears_and_tab_accepts_it(page: Page, lab: RunningServer) -> None:
    cell = start(page, lab, "ghost.ipynb")
    page.keyboard.type("a")
    expect(cell.locator(GHOST)).not_to_be_empty()
    expect(status(page)).to_have_text("Completion: pico-tiny")
    suggestion = cell.locator(GHOST).inner_text()
    page.keyboard.press("Tab")
    expect(cell.locator(GHOST)).to_have_count(0)
    source = page.evaluate("jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.getSource()")
    assert source == f"{BEGINNING}a{suggestion}"


def test_typing_along_a_suggestion_sends_nothing(page: Page, lab: RunningServer) -> None:
    cell = start(page, lab, "along.ipynb")
    sent = completions(page)
    page.keyboard.type("a")
    expect(cell.locator(GHOST)).not_to_be_empty()
    expect(status(page)).to_have_text("Completion: pico-tiny")
    suggestion = cell.locator(GHOST).inner_text()
    page.keyboard.type(suggestion[:2])
    expect(cell.locator(GHOST)).to_have_text(re.compile(f"^{re.escape(suggestion.splitlines()[0][2:])}"))
    page.keyboard.press("Tab")
    expect(cell.locator(".cm-content")).to_contain_text(suggestion.splitlines()[0])
    assert len(sent) == 1


def test_at_20_keys_a_second_one_request_is_left(page: Page, lab: RunningServer) -> None:
    start(page, lab, "fast.ipynb", "x = 1\n")
    sent = completions(page)
    page.keyboard.type("y = x + 1; z = y * 2", delay=50)
    expect(status(page)).to_have_text("Completion: pico-tiny…")
    wait_for(lambda: server_statistics(lab)().running == 0, PATIENCE_SECONDS)
    expect(status(page)).to_have_text("Completion: pico-tiny")
    # The delay of 200 ms leaves out the keys between, except where the page was slow.
    assert sent[-1].failure is None
    assert len(sent) < 5


def test_a_language_is_switched_off(page: Page, lab: RunningServer) -> None:
    save(lab, model="pico-tiny", disabledLanguages=["python"])
    sent = completions(page)
    open_notebook(page, lab, "off.ipynb", BEGINNING).first.locator(".cm-content").click()
    page.keyboard.type("a")
    expect(status(page)).to_have_text("Completion: off for python")
    assert sent == []


def test_the_status_switches_completion_off_and_on(page: Page, lab: RunningServer) -> None:
    start(page, lab, "switch.ipynb")
    status(page).click()
    expect(status(page)).to_have_text("Completion: off")
    status(page).click()
    expect(status(page)).to_have_text("Completion: pico-tiny")


def test_the_status_says_that_there_is_no_model(page: Page, lab: RunningServer) -> None:
    save(lab)
    open_notebook(page, lab, "none.ipynb", BEGINNING)
    expect(status(page)).to_have_text("Completion: no model")
    save(lab, model="gone")
    page.reload()
    expect(status(page)).to_have_attribute("title", "gone, the model of the setting, is not on this server.")
