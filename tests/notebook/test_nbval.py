"""Notebooks with magics, saved by a front end and checked by nbval."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.notebook.kernels import Message, running_kernel

SOURCES = (
    "%load_ext pico_jupyter",
    "%%chat --temperature 0 -r on\nWhat is 348 + 277?",
    "%chat --temperature 0 --new What is 12 + 35?",
    "import pico_jupyter\npico_jupyter.connect()",
    "print(answer)\nanswer",
)


def save_live(path: Path) -> None:
    """Run the cells as a front end does, apply updates to their outputs, and falsify the output of the last cell."""
    with running_kernel() as kernel:
        cells = [
            new_code_cell(source, execution_count=count, outputs=saved(kernel.run(source, cell=f"cell{count}")))
            for count, source in enumerate(SOURCES, 1)
        ]
    cells[-1].outputs[-1].data["text/plain"] = "12 + 35 = 48"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


def saved(messages: list[Message]) -> list[nbformat.NotebookNode]:
    outputs: list[nbformat.NotebookNode] = []
    for message in messages:
        content = message["content"]
        if message["msg_type"] == "update_display_data":
            outputs[-1].data = content["data"]
        elif message["msg_type"] == "stream":
            outputs.append(new_output("stream", **content))
        else:
            facts = {name: content[name] for name in ("data", "metadata", "execution_count") if name in content}
            outputs.append(new_output(message["msg_type"], **facts))
    return outputs


@pytest.mark.timeout(300)
def test_nbval_accepts_a_growing_output_and_refuses_another_answer(tmp_path: Path) -> None:
    path = tmp_path / "saved.ipynb"
    save_live(path)
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-c", os.devnull, str(path)]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 4 passed" in checked.stdout, checked.stdout
    assert "12 + 35 = 48" in checked.stdout
