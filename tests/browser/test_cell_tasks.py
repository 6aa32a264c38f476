"""Explain, Fix, Document and Continue on cells: from errors, the cell's toolbar and its context menu."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.panels import answer_with, open_notebook, run, sidebar
from tests.e2e.running import RunningServer

FIXED = "```python\nvalues = [1, 2, 3]\nprint(sum(values))\n```"


@pytest.fixture
def cells(page: Page, lab: RunningServer) -> Locator:
    return open_notebook(page, lab, "tasks.ipynb", "start = 1", "values = [1, 2, 3]\nprint(sum(value))")


def proposal(page: Page) -> Locator:
    return page.locator(".pico-proposal")


def source(cell: Locator) -> str:
    return "\n".join(cell.locator(".cm-line").all_inner_texts())


def ask(cell: Locator, task: str) -> None:
    """Choose a task in the cell's context menu."""
    cell.locator(".jp-InputArea-editor").click(button="right")
    page = cell.page
    page.locator(".lm-Menu-item", has_text="Local Model").hover()
    page.locator(".lm-Menu-item", has_text=task).click()


def test_an_error_is_fixed_by_an_accepted_diff_that_undo_reverts(
    context: BrowserContext, page: Page, cells: Locator
) -> None:
    requests = answer_with(context, f"The name is wrong.\n{FIXED}")
    run(cells.nth(1))
    cells.nth(1).get_by_role("button", name="Fix", exact=True).click()
    expect(proposal(page).locator(".pico-diff-removed")).to_have_text("−print(sum(value))")
    expect(proposal(page).locator(".pico-diff-added")).to_have_text("+print(sum(values))")
    assert "NameError" in requests[0]["messages"][0]["content"]
    assert "start = 1" in requests[0]["messages"][0]["content"]
    assert source(cells.nth(1)).endswith("print(sum(value))")
    expect(proposal(page).get_by_role("button", name="Accept")).to_be_focused()
    page.keyboard.press("Enter")
    expect(proposal(page)).to_have_count(0)
    expect(cells.nth(1).locator(".cm-content")).to_contain_text("print(sum(values))")
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+z")
    expect(cells.nth(1).locator(".cm-content")).not_to_contain_text("values))")


def test_a_rejected_proposal_changes_nothing(context: BrowserContext, page: Page, cells: Locator) -> None:
    answer_with(context, FIXED)
    before = source(cells.nth(1))
    ask(cells.nth(1), "Fix Cell")
    expect(proposal(page).locator(".pico-diff")).to_be_visible()
    proposal(page).get_by_role("button", name="Reject").click()
    expect(proposal(page)).to_have_count(0)
    assert source(cells.nth(1)) == before


def test_a_cell_that_changed_is_not_overwritten(context: BrowserContext, page: Page, cells: Locator) -> None:
    answer_with(context, FIXED)
    ask(cells.nth(1), "Fix Cell")
    expect(proposal(page).locator(".pico-diff")).to_be_visible()
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("  # mine")
    proposal(page).get_by_role("button", name="Accept").click()
    expect(proposal(page).get_by_role("alert")).to_contain_text("The cell has changed since.")
    expect(cells.nth(1).locator(".cm-content")).to_contain_text("# mine")


def test_an_answer_without_code_says_so(context: BrowserContext, page: Page, cells: Locator) -> None:
    answer_with(context, "I do not know.")
    ask(cells.nth(1), "Document Cell")
    expect(proposal(page).get_by_role("alert")).to_contain_text("The model answered without code.")
    page.keyboard.press("Escape")
    expect(proposal(page)).to_have_count(0)


def test_continue_proposes_a_new_cell_below(context: BrowserContext, page: Page, cells: Locator) -> None:
    answer_with(context, "```python\nprint(max(values))\n```")
    ask(cells.nth(0), "Continue Below Cell")
    proposal(page).get_by_role("button", name="Accept").click()
    expect(cells).to_have_count(3)
    expect(cells.nth(1).locator(".cm-content")).to_contain_text("print(max(values))")


def test_explain_asks_in_the_panel_with_the_cell(context: BrowserContext, page: Page, cells: Locator) -> None:
    requests = answer_with(context, "The name value does not exist.")
    run(cells.nth(1))
    cells.nth(1).get_by_role("button", name="Explain", exact=True).click()
    panel = sidebar(page)
    expect(panel.answers).to_contain_text("The name value does not exist.")
    sent = json.dumps(requests[0]["messages"])
    assert "This cell fails." in sent
    assert "NameError" in sent


def test_the_toolbar_of_the_cell_opens_the_tasks(page: Page, cells: Locator) -> None:
    cells.nth(1).locator(".cm-content").click()
    cells.nth(1).locator('[data-command="pico:cell-menu"]').click()
    items = page.locator(".lm-Menu-itemLabel")
    expect(items).to_have_text(["Explain Cell", "Fix Cell", "Document Cell", "Continue Below Cell"])
