"""The run of the notebooks: that it can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
OPENAI = ROOT / "notebooks" / "04_openai_client.ipynb"
ANSWER = "12 + 35 = 47"


def copy(path: Path, answer: str) -> None:
    """A notebook as far as its first answer, which is stored as `answer`."""
    notebook = nbformat.read(OPENAI, as_version=4)
    first = next(index for index, cell in enumerate(notebook.cells) if ANSWER in str(cell.get("outputs")))
    output = notebook.cells[first].outputs[0]
    output.data["text/plain"] = output.data["text/plain"].replace(ANSWER, answer)
    notebook.cells = notebook.cells[: first + 1]
    nbformat.write(notebook, path)


@pytest.mark.timeout(300)
def test_it_fails_at_the_cell_whose_answer_has_changed(tmp_path: Path) -> None:
    copy(tmp_path / "kept.ipynb", ANSWER)
    copy(tmp_path / "changed.ipynb", "12 + 35 = 48")
    command = [sys.executable, "-m", "pytest", "-c", "tests/notebooks/nbval.ini", "--jupyter-server", "-rfp"]
    ran = subprocess.run([*command, "--color=no", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    summary = [line.split()[:2] for line in ran.stdout.splitlines() if line.startswith(("FAILED", "PASSED"))]
    failed = [where for outcome, where in summary if outcome == "FAILED"]
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert len(failed) == 1
    assert "changed.ipynb::Cell" in failed[0]
    assert sum("kept.ipynb" in where for _, where in summary) == 3
