"""What a message can carry of the open notebook: mentions, the shared notebook, and the empty panel's suggestions."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.panels import Panel, answer_with, open_notebook, run, sidebar
from tests.e2e.running import RunningServer

SOURCES = ("import math\nradius = 2\narea = math.pi * radius ** 2", "1 / 0", "print('last')")


@pytest.fixture
def cells(page: Page, lab: RunningServer) -> Locator:
    return open_notebook(page, lab, "context.ipynb", *SOURCES)


@pytest.fixture
def panel(page: Page, cells: Locator) -> Panel:
    return sidebar(page)


def attached(panel: Panel) -> Locator:
    return panel.root.locator(".pico-composer").get_by_role("list", name="Attachments")


def mention(panel: Panel, word: str) -> None:
    """Type `@word` and choose the only entry of the list."""
    panel.message.click()
    panel.page.keyboard.type(f"@{word}")
    expect(panel.root.get_by_role("option")).to_have_count(1)
    panel.page.keyboard.press("Enter")


def test_a_mention_attaches_a_part_of_the_notebook(context: BrowserContext, panel: Panel, cells: Locator) -> None:
    requests = answer_with(context, "ok")
    run(cells.nth(0))
    run(cells.nth(1))
    expect(cells.nth(1)).to_contain_text("ZeroDivisionError")
    mention(panel, "err")
    expect(attached(panel)).to_contain_text("context.ipynb, error of cell 2")
    mention(panel, "var")
    expect(attached(panel)).to_contain_text("variables of context.ipynb")
    mention(panel, "note")
    panel.page.keyboard.type("why?")
    panel.page.keyboard.press("Enter")
    expect(panel.answers).to_have_count(1)
    sent = json.dumps(requests[0]["messages"])
    assert "ZeroDivisionError: division by zero" in sent
    assert "radius: int 2" in sent
    assert "area: float 12.56" in sent
    assert "# Cell 3 (code)" in sent
    assert "math: module" not in sent
    assert "\\u001b" not in sent
    assert requests[0]["messages"][-1]["content"][-1]["text"].endswith("why?")


def test_the_list_of_mentions_is_used_with_the_keyboard(panel: Panel) -> None:
    panel.message.click()
    panel.page.keyboard.type("explain @")
    options = panel.root.get_by_role("option")
    expect(options).to_have_count(5)
    expect(options.first).to_have_attribute("aria-selected", "true")
    panel.page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    expect(panel.message).to_have_attribute("aria-activedescendant", options.nth(1).get_attribute("id") or "")
    panel.page.keyboard.press("Escape")
    expect(options).to_have_count(0)
    panel.page.keyboard.type("c")
    expect(options).to_have_count(1)
    panel.page.keyboard.press("Tab")
    expect(panel.message).to_have_value("explain ")
    expect(attached(panel)).to_contain_text("context.ipynb, cell 1")


def test_what_is_sent_can_be_read_before(panel: Panel) -> None:
    mention(panel, "cell")
    panel.button("context.ipynb, cell 1").click()
    expect(panel.root.get_by_label("Content of context.ipynb, cell 1")).to_contain_text("radius = 2")
    panel.button("context.ipynb, cell 1").click()
    expect(panel.root.get_by_label("Content of context.ipynb, cell 1")).to_have_count(0)


def test_a_part_that_cannot_be_read_says_why(panel: Panel) -> None:
    mention(panel, "err")
    expect(panel.root.get_by_text("No cell of this notebook has an error.")).to_be_visible()


def test_a_busy_kernel_lists_no_variables(panel: Panel, cells: Locator) -> None:
    cells.nth(2).locator(".cm-content").click()
    panel.page.keyboard.press("Control+A")
    panel.page.keyboard.type("import time; time.sleep(10)")
    panel.page.keyboard.press("Control+Enter")
    expect(cells.nth(2).locator(".jp-InputPrompt")).to_have_text("[*]:")
    mention(panel, "var")
    expect(panel.root.get_by_text("it is busy")).to_be_visible()


def test_the_open_notebook_is_shared_only_if_the_user_wishes_so(
    context: BrowserContext, panel: Panel, cells: Locator
) -> None:
    requests = answer_with(context, "ok")
    panel.ask("hi")
    assert "context.ipynb" not in json.dumps(requests[0])
    panel.button("Let messages carry context.ipynb").click()
    share = panel.root.get_by_role("button", name=re.compile("^Messages carry context.ipynb"))
    expect(share).to_have_attribute("aria-pressed", "true")
    panel.ask("what is it?")
    assert "radius = 2" in json.dumps(requests[1]["messages"][-1])
    panel.ask("and now?")
    assert "radius = 2" not in json.dumps(requests[2]["messages"][-1])  # unchanged, and in the conversation already
    cells.nth(0).locator(".cm-content").click()
    panel.page.keyboard.press("Control+Home")
    panel.page.keyboard.type("# changed\n")
    panel.ask("and now?")
    assert "# changed" in json.dumps(requests[3]["messages"][-1])
    share.click()
    expect(panel.button("Let messages carry context.ipynb")).to_be_visible()


def test_the_empty_panel_offers_questions_about_the_notebook(context: BrowserContext, panel: Panel) -> None:
    requests = answer_with(context, "It computes an area.")
    panel.button("What does this notebook do?").click()
    expect(panel.answers).to_contain_text("It computes an area.")
    assert "area = math.pi" in json.dumps(requests[0]["messages"])
