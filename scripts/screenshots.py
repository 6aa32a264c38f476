"""Takes the screenshots of the README in a real JupyterLab with a built-in model. Run `make panel` first."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.conftest import lab_arguments
from tests.browser.panels import SUM, Panel, open_lab, run, sidebar, wait_for_kernel, write_notebook
from tests.browser.test_look import use_theme
from tests.e2e.running import RunningServer, running_server

PICTURES = Path(__file__).parents[1] / "docs" / "images"
SHOW = "from pico_jupyter import ChatPanel\n\nChatPanel(model='pico-tiny', reasoning='on', height=430)"
WIDER = 130


def main() -> None:
    """Take all screenshots."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        settings = Path(folder) / "settings"
        root = Path(folder) / "root"
        settings.mkdir()
        root.mkdir()
        with running_server(root, *lab_arguments(settings)) as lab:
            write_notebook(root, "sums.ipynb", SHOW)
            for name, theme in (("light", "JupyterLab Light"), ("dark", "JupyterLab Dark")):
                take(browser, lab, name, theme)
        browser.close()


def take(browser: Browser, lab: RunningServer, name: str, theme: str) -> None:
    """Take a screenshot of the sidebar and a panel in a cell. In the light theme, also take one of open reasoning."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    open_lab(page, lab, "/tree/sums.ipynb")
    use_theme(page, theme)
    wait_for_kernel(page)
    page.keyboard.press("Control+b")
    run(page.locator(".jp-Notebook .jp-Cell").first)
    beside = sidebar(page)
    widen(page)
    in_cell = Panel(page, page.locator(".pico-widget"))
    in_cell.wait_for_models()
    in_cell.ask(SUM)
    beside.ask("What can you do?")
    beside.reason("On")
    answer = beside.ask("What is 1024 - 377?")
    page.screenshot(path=PICTURES / f"panel-{name}.png")
    if name == "light":
        answer.get_by_role("button", name=re.compile("^Thought for")).click()
        expect(answer.get_by_role("region", name="Reasoning")).to_be_visible()
        beside.root.screenshot(path=PICTURES / "panel-thinking.png")
    page.close()


def widen(page: Page) -> None:
    """Make the sidebar wider."""
    box = page.locator("#jp-right-stack").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] - 2, 400)
    page.mouse.down()
    page.mouse.move(box["x"] - 2 - WIDER, 400, steps=5)
    page.mouse.up()


if __name__ == "__main__":
    main()
