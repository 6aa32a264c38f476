"""The notebook of a kernel, read from a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pico_jupyter.chat_kernel.saved import NotebookFile
from pico_jupyter.chat_kernel.session_notebook import SessionNotebook
from pico_jupyter.sources.server_address import ServerAddress
from tests.chat_kernel.notebooks import save, saved_cell
from tests.e2e.running import RunningServer


@pytest.fixture
def folder(server: RunningServer) -> Path:
    """A folder whose name must be quoted in URLs."""
    folder = server.log.parent / "plans ü %20"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def session(server: RunningServer, folder: Path) -> Iterator[dict[str, str]]:
    """Open a session, and return its id and that of its kernel."""
    path = f"{folder.name}/first.ipynb"
    with server.http() as http:
        wanted = {"path": path, "name": "first.ipynb", "type": "notebook", "kernel": {"name": "pico"}}
        made = http.post("api/sessions", json=wanted).raise_for_status().json()
        yield {"id": made["id"], "kernel": made["kernel"]["id"]}
        http.delete(f"api/sessions/{made['id']}")


def address(server: RunningServer) -> ServerAddress:
    return ServerAddress(server.url, server.token)


async def test_the_notebook_is_read_under_its_current_name(
    server: RunningServer, folder: Path, session: dict[str, str]
) -> None:
    save(folder / "first.ipynb", saved_cell("a", "hello", "Hi."))
    notebook = SessionNotebook(address(server), session["kernel"], NotebookFile(None))
    first = await notebook.cells()
    assert list(first) == ["a"]
    assert await notebook.cells() is first
    with server.http() as http:
        http.patch(f"api/sessions/{session['id']}", json={"path": f"{folder.name}/second.ipynb"}).raise_for_status()
    save(folder / "first.ipynb", saved_cell("x", "another notebook"))
    save(folder / "second.ipynb", saved_cell("a", "hello", "Hi."), saved_cell("b", "you?", "Me."))
    assert list(await notebook.cells()) == ["a", "b"]


async def test_the_file_is_read_if_the_server_does_not_answer(server: RunningServer, tmp_path: Path) -> None:
    save(tmp_path / "chat.ipynb", saved_cell("a", "hello", "Hi."))
    file = NotebookFile(tmp_path / "chat.ipynb")
    assert list(await SessionNotebook(address(server), "unknown", file).cells()) == ["a"]
    refused = ServerAddress(server.url, "wrong")
    assert list(await SessionNotebook(refused, "unknown", file).cells()) == ["a"]
    gone = ServerAddress("http://127.0.0.1:9/", "")
    assert list(await SessionNotebook(gone, "unknown", file).cells()) == ["a"]


async def test_content_that_is_not_a_notebook_has_no_cells(
    server: RunningServer, folder: Path, session: dict[str, str]
) -> None:
    (folder / "first.ipynb").write_text("{")
    assert await SessionNotebook(address(server), session["kernel"], NotebookFile(None)).cells() == {}
