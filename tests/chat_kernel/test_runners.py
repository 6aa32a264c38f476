"""Programs that run notebooks, with the chat kernel and the built-in model, without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

PROMPTS = ("%reasoning on\n%temperature 0\nWhat is 348 + 277?", "%reasoning off\nMy name is Maria.", "What is my name?")


def write(folder: Path, *prompts: str) -> Path:
    kernel = {"name": "pico", "display_name": "Pico chat", "language": "markdown"}
    file = folder / "chat.ipynb"
    cells = [new_code_cell(prompt) for prompt in prompts]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), file)
    return file


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], check=False, capture_output=True, text=True)


def execute(file: Path) -> subprocess.CompletedProcess[str]:
    return run("nbconvert", "--execute", "--to", "notebook", "--inplace", str(file))


def nbval(file: Path) -> subprocess.CompletedProcess[str]:
    return run("pytest", "--nbval", "-p", "no:cacheprovider", f"--rootdir={file.parent}", str(file))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = write(tmp_path_factory.mktemp("runners"), *PROMPTS)
    done = execute(file)
    assert done.returncode == 0, done.stderr
    return file


def test_nbconvert_fills_a_notebook_with_answers(executed: Path) -> None:
    answers = [cell.outputs[0].data["text/plain"] for cell in nbformat.read(executed, as_version=4).cells]
    assert answers[0] == "348 + 277 = 625"
    assert "Maria" in answers[2]


def test_nbval_finds_the_same_answers_again(executed: Path) -> None:
    done = nbval(executed)
    assert done.returncode == 0, done.stdout


def test_nbval_finds_an_answer_that_has_changed(executed: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.ipynb"
    wrong.write_text(executed.read_text().replace("277 = 625", "277 = 626"))
    assert nbval(wrong).returncode == pytest.ExitCode.TESTS_FAILED


def test_an_html_page_has_folded_reasoning(executed: Path) -> None:
    done = run("nbconvert", "--to", "html", "--stdout", str(executed))
    assert "<details><summary>Thinking</summary>" in done.stdout
    assert "<p>348 + 277 = 625</p>" in done.stdout


def test_nbconvert_prints_an_error_in_one_line(tmp_path: Path) -> None:
    done = execute(write(tmp_path, "%model pico-tinny\nhello"))
    assert done.returncode != 0
    assert "there is no model 'pico-tinny'. Did you mean pico-tiny?" in done.stderr
