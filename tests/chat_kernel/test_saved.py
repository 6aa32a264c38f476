from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pico_jupyter.chat_kernel.saved import NotebookFile, SavedCell, saved_cells, session_file
from tests.chat_kernel.notebooks import notebook, save, saved_cell


def test_code_cells_are_read_in_order_with_their_answers() -> None:
    markdown = {"id": "text", "cell_type": "markdown", "source": "# Title", "metadata": {}}
    cells = saved_cells(notebook(saved_cell("b", "hello", "Hi."), markdown, saved_cell("a", ["one\n", "two"])))
    assert list(cells.items()) == [
        ("b", SavedCell("hello", "Hi.", ran=True)),
        ("a", SavedCell("one\ntwo", None, ran=True)),
    ]


def test_a_cell_whose_outputs_were_cleared_did_not_run() -> None:
    assert saved_cells(notebook(saved_cell("a", "%new", execution_count=None)))["a"].ran is False


def test_metadata_of_another_form_is_ignored() -> None:
    outputs = [{"output_type": "display_data", "metadata": {"pico_jupyter": mark}} for mark in ("x", {"answer": 3}, {})]
    outputs.append({"output_type": "stream", "name": "stdout", "text": "x"})
    assert saved_cells(notebook(saved_cell("a", "hello", outputs=outputs)))["a"].answer is None


def test_cells_without_ids_are_ignored() -> None:
    cell = saved_cell("", "hello", "Hi.")
    del cell["id"]
    assert saved_cells(notebook(cell)) == {}


@pytest.mark.parametrize("content", [{}, [], {"cells": 3}, {"cells": [{}]}])
def test_json_that_is_not_a_notebook_is_refused(content: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        saved_cells(content)


async def test_a_file_is_the_same_until_it_is_saved_again(tmp_path: Path) -> None:
    file = tmp_path / "chat.ipynb"
    save(file, saved_cell("a", "hello", "Hi."))
    kept = NotebookFile(file)
    first = await kept.cells()
    assert await kept.cells() is first
    save(file, saved_cell("a", "hello", "Hi."), saved_cell("b", "you?", "Me."))
    assert list(await kept.cells()) == ["a", "b"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[]"])
async def test_a_file_that_is_not_a_notebook_has_no_cells(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "chat.ipynb"
    if content is not None:
        file.write_bytes(content)
    assert await NotebookFile(file).cells() == {}


async def test_only_a_notebook_session_has_a_file(tmp_path: Path) -> None:
    save(tmp_path / "chat.ipynb", saved_cell("a", "hello", "Hi."))
    assert list(await session_file({"JPY_SESSION_NAME": str(tmp_path / "chat.ipynb")}).cells()) == ["a"]
    assert await session_file({"JPY_SESSION_NAME": "console-1-2b4e"}).cells() == {}
    assert await session_file({}).cells() == {}
