"""The chat kernel in JupyterLab: cells are prompts."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.panels import LONG, SUM, open_lab, run, wait_for_kernel, write_notebook
from tests.e2e.running import RunningServer

FAST = "%reasoning off\n%temperature 0\n"


def launcher_card(page: Page) -> Locator:
    return page.locator('.jp-LauncherCard[data-category="Notebook"]').filter(has_text="Pico chat")


def new_notebook(page: Page, lab: RunningServer) -> Locator:
    """Create a notebook from the launcher. Returns its cells."""
    open_lab(page, lab)
    launcher_card(page).click()
    page.locator(".jp-NotebookPanel").wait_for()
    wait_for_kernel(page)
    return page.locator(".jp-Notebook .jp-Cell")


def ask(cell: Locator, prompt: str) -> None:
    """Write a prompt into a cell and run it, with another cell below."""
    cell.locator(".cm-content").fill(prompt)
    cell.page.keyboard.press("Shift+Enter")


def expect_run(cell: Locator, count: int) -> None:
    expect(cell.locator(".jp-InputPrompt")).to_have_text(f"[{count}]:")


def test_a_cell_is_a_prompt_and_its_output_the_answer(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    ask(cells.nth(0), f"%reasoning on\n{SUM}")
    expect_run(cells.nth(0), 1)
    output = cells.nth(0).locator(".jp-OutputArea-output")
    expect(output).to_contain_text("348 + 277 = 625")
    thinking = output.locator("details")
    expect(thinking.locator("summary")).to_have_text("Thinking")
    expect(thinking).not_to_have_attribute("open", re.compile(".*"))
    expect(output).to_contain_text("348: U8 T4 H3")
    expect(output.locator("small")).to_contain_text(re.compile(r"pico-tiny · \d+ tokens"))


def test_interrupting_the_kernel_stops_an_answer(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    ask(cells.nth(0), FAST + LONG)
    output = cells.nth(0).locator(".jp-OutputArea-output")
    expect(output).to_contain_text("oror")
    page.get_by_role("button", name="Interrupt the kernel").click()
    expect(output).to_contain_text("Stopped")
    expect_run(cells.nth(0), 1)
    expect(output).to_contain_text("oror")


def test_a_cell_that_runs_again_replaces_its_turn(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    ask(cells.nth(0), FAST + "My name is Maria.")
    expect_run(cells.nth(0), 1)
    ask(cells.nth(1), "What is my name?")
    expect(cells.nth(1).locator(".jp-OutputArea-output")).to_contain_text("Maria")
    ask(cells.nth(0), FAST + "My name is Peter.")
    expect_run(cells.nth(0), 3)
    ask(cells.nth(1), "What is my name?")
    expect_run(cells.nth(1), 4)
    expect(cells.nth(1).locator(".jp-OutputArea-output")).to_contain_text("Peter")


def test_a_cell_that_is_deleted_is_forgotten(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    ask(cells.nth(0), FAST + "My name is Maria.")
    expect_run(cells.nth(0), 1)
    cells.nth(0).locator(".jp-InputPrompt").click()
    page.keyboard.press("d")
    page.keyboard.press("d")
    expect(cells).to_have_count(1)
    ask(cells.nth(0), "What is my name?")
    expect_run(cells.nth(0), 2)
    expect(cells.nth(0).locator(".jp-OutputArea-output")).not_to_contain_text("Maria")


def test_an_unknown_model_gets_a_one_line_error(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    ask(cells.nth(0), "%model pico-tinny\nhello")
    expect(cells.nth(0).locator(".jp-OutputArea-output")).to_contain_text("Did you mean pico-tiny?")


def test_after_a_rename_and_a_restart_the_conversation_is_read_from_the_saved_notebook(
    page: Page, lab: RunningServer
) -> None:
    cells = new_notebook(page, lab)
    ask(cells.nth(0), FAST + "My name is Maria.")
    expect_run(cells.nth(0), 1)
    page.keyboard.press("Control+s")
    # The kernel still knows the notebook by its old name.
    page.get_by_role("textbox", name="File name").fill("Maria.ipynb")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Maria.ipynb")).to_be_visible()
    page.get_by_role("button", name="Restart the kernel", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    expect(page.get_by_role("button", name="Pico chat | Idle")).to_be_visible()
    ask(cells.nth(1), FAST + "What is my name?")
    expect(cells.nth(1).locator(".jp-OutputArea-output")).to_contain_text("Maria")


def test_a_long_prompt_wraps(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    content = cells.nth(0).locator(".cm-content")
    content.fill("one two three four " * 20)
    expect(content).to_have_class(re.compile("cm-lineWrapping"))
    page.keyboard.press("Escape")


def test_magics_are_completed_and_models_are_inspected(page: Page, lab: RunningServer) -> None:
    cells = new_notebook(page, lab)
    content = cells.nth(0).locator(".cm-content")
    content.press_sequentially("%reas")
    page.keyboard.press("Tab")
    expect(page.locator(".jp-Completer")).to_contain_text("%reasoning")
    page.keyboard.press("Enter")
    expect(content).to_have_text("%reasoning")
    content.fill("%model pico-tiny-vl")
    page.keyboard.press("End")
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".jp-Tooltip")).to_contain_text("vision")


def test_notebook_7_runs_it_too(page: Page, lab: RunningServer) -> None:
    write_notebook(lab.log.parent, "chat7.ipynb", f"%reasoning on\n{SUM}", kernel="pico")
    page.goto(f"{lab.url}notebooks/chat7.ipynb?token={lab.token}")
    wait_for_kernel(page)
    cell = page.locator(".jp-Notebook .jp-Cell").nth(0)
    run(cell)
    expect(cell.locator(".jp-OutputArea-output")).to_contain_text("348 + 277 = 625")


def test_it_is_in_the_launcher(page: Page, lab: RunningServer) -> None:
    open_lab(page, lab)
    expect(launcher_card(page).locator("img")).to_have_attribute("src", re.compile("kernelspecs/pico/logo-svg.svg"))
