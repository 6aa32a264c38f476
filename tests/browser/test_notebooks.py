"""The first example notebook in JupyterLab."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.browser.panels import Panel, open_lab, wait_for_kernel
from tests.e2e.running import RunningServer, wait_for

FIRST = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"
RUN_SECONDS = 240.0
CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
    .filter((cell) => cell.cell_type === 'code')"""


def code_cells(page: Page) -> list[dict[str, Any]]:
    """All code cells of the open notebook, including those that are not rendered."""
    cells: list[dict[str, Any]] = page.evaluate(CODE_CELLS)
    return cells


def choose(page: Page, menu: str, entry: str) -> None:
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=entry, exact=True).click()


@pytest.mark.timeout(600)
def test_the_first_notebook_opens_with_its_outputs_and_all_of_it_runs(page: Page, lab: RunningServer) -> None:
    shutil.copy(FIRST, lab.log.parent)
    stored = [cell for cell in nbformat.read(FIRST, as_version=4).cells if cell.cell_type == "code"]
    open_lab(page, lab, f"/tree/{FIRST.name}")
    expect(page.locator(".jp-Notebook")).to_contain_text("348 + 277 = 625")
    wait_for_kernel(page)
    choose(page, "Edit", "Clear Outputs of All Cells")
    choose(page, "Run", "Run All Cells")
    order = [*range(1, len(stored) + 1)]
    wait_for(lambda: [cell["execution_count"] for cell in code_cells(page)] == order, RUN_SECONDS)
    for ran, before in zip(code_cells(page), stored, strict=True):
        assert [output["output_type"] for output in ran["outputs"]] == [kind.output_type for kind in before.outputs]
    shown = Panel(page, page.locator(".pico-widget"))
    shown.root.scroll_into_view_if_needed()
    expect(shown.answers).to_contain_text("1024 - 377 = 647")
