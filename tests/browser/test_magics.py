"""%%chat in JupyterLab: rendered outputs and saved notebooks."""

from __future__ import annotations

from pathlib import Path

import nbformat
from playwright.sync_api import Page, expect

from tests.browser.panels import LONG, SUM, open_notebook, run
from tests.e2e.running import RunningServer

LOAD = "%load_ext pico_jupyter\n%pico"
# The built-in models write no code, so a fake source does.
CODER = f"""import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pico_jupyter.notebook import Pico
from pico_jupyter.notebook.magics import ChatMagics
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.calls import FinishPiece, TextPiece
from tests.fakes.source import FakeSource
pico = Pico(FakeSource(TextPiece("So:\\n```python\\nhow_much = 47\\n```"), FinishPiece("stop")), shared_loop())
get_ipython().register_magics(ChatMagics(get_ipython(), lambda: pico))"""
ASK = f"%%chat -r on --temperature 0\n{SUM}"


def test_an_answer_is_one_output_with_folded_reasoning(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "magics.ipynb", LOAD, ASK, "%pico models")
    run(cells.nth(0))
    expect(cells.nth(0).locator(".jp-OutputArea")).to_contain_text("the Jupyter server of this kernel")
    run(cells.nth(1))
    answer = cells.nth(1).locator(".jp-RenderedMarkdown")
    expect(answer).to_contain_text("348 + 277 = 625")
    expect(answer).to_have_count(1)
    thinking = answer.locator("details")
    expect(thinking).not_to_have_attribute("open", "")
    thinking.locator("summary").click()
    expect(thinking).to_contain_text("U 8+7=15")
    run(cells.nth(2))
    expect(cells.nth(2).locator("table")).to_contain_text("pico-tiny-vl")
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    saved = nbformat.read(lab.log.parent / "magics.ipynb", as_version=4)
    (output,) = saved.cells[1].outputs
    assert (output.output_type, output.data["text/plain"]) == ("display_data", "348 + 277 = 625")
    assert output.metadata == {}


def test_it_streams_and_an_interrupt_stops_it(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "interrupt.ipynb", "%load_ext pico_jupyter", f"%%chat -r off\n{LONG}")
    run(cells.nth(0))
    run(cells.nth(1))
    output = cells.nth(1).locator(".jp-OutputArea")
    expect(output).to_contain_text("oror")
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    page.keyboard.press("Escape")
    page.keyboard.press("i")
    page.keyboard.press("i")
    expect(output).to_contain_text("Stopped.")
    expect(output).to_contain_text("KeyboardInterrupt: stopped")
    expect(output).not_to_contain_text("Traceback")


def test_code_of_an_answer_is_inserted_as_the_next_cell(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "code.ipynb", CODER, "%%chat --code\nHow much is it?", "last = 1")
    run(cells.nth(0))
    run(cells.nth(1))
    expect(cells).to_have_count(4)
    expect(cells.nth(2).locator(".cm-content")).to_have_text("how_much = 47")


def test_only_mathematics_is_rendered_as_a_formula(page: Page, lab: RunningServer) -> None:
    text = "use $VAR1 or $VAR2, C:\\\\(x86\\\\) and `$$`, so $x^2$\n\n[INFO]: done\n\n$$\na\n+ b\n$$"
    source = CODER.replace(r'"So:\n```python\nhow_much = 47\n```"', repr(text))
    assert source != CODER
    cells = open_notebook(page, lab, "formulas.ipynb", source, "%%chat\nWhich?")
    run(cells.nth(0))
    run(cells.nth(1))
    answer = cells.nth(1).locator(".jp-RenderedMarkdown")
    expect(answer).to_contain_text("use $VAR1 or $VAR2, C:\\(x86\\) and $$")
    expect(answer).to_contain_text("[INFO]: done")
    expect(answer.locator("mjx-container")).to_have_count(2)
