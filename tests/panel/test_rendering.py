"""Notebooks with a panel but without a browser: executed, saved, exported as HTML, and validated by nbval."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

SHOW = "from pico_jupyter import ChatPanel\npanel = ChatPanel('pico-tiny', reasoning='on', temperature=0.0)\npanel"
ASK = "print(panel.ask('What is 348 + 277?'))"


@pytest.fixture(scope="module")
def executed() -> nbformat.NotebookNode:
    """An executed notebook that shows a panel and asks a question, without a server."""
    cells = [nbformat.v4.new_code_cell(source) for source in (SHOW, ASK)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    client = NotebookClient(notebook, store_widget_state=False, timeout=100)
    client.execute(env={**os.environ, "JPY_PARENT_PID": "0"})
    nbformat.validate(notebook)
    return notebook


def test_the_output_has_the_messages_that_followed_it(executed: nbformat.NotebookNode) -> None:
    (output,) = executed.cells[0].outputs
    assert "348 + 277 = 625" in output.data["text/markdown"]
    assert output.data["application/vnd.pico-jupyter.panel+json"] == {"version": 1}
    assert output.data["text/plain"] == "ChatPanel(model='pico-tiny', reasoning='on', 2 messages)"
    assert "348 + 277 = 625" in executed.cells[1].outputs[0].text


def test_exported_html_has_the_conversation_with_folded_reasoning(executed: nbformat.NotebookNode) -> None:
    html, _ = HTMLExporter().from_notebook_node(executed)
    assert "<details><summary>Thinking</summary>" in html
    assert "348 + 277 = 625" in html.split("</details>")[1]
    assert "widget-view" not in html


def test_nbval_accepts_a_panel_that_is_shown_after_its_questions(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in (SHOW.rpartition("\n")[0], ASK, "panel")]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    environment = {**os.environ, "JPY_PARENT_PID": "0"}
    NotebookClient(notebook, store_widget_state=False, timeout=100).execute(env=environment)
    nbformat.write(notebook, tmp_path / "panel.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "panel.ipynb"]
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0
