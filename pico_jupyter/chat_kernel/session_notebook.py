"""Reads this kernel's notebook from the Jupyter server, which knows the path even after the notebook is renamed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from pico_jupyter.chat_kernel.saved import NotebookFile, SavedCell, saved_cells, session_file
from pico_jupyter.errors import PicoError
from pico_jupyter.sources.server_address import ServerAddress, find_server
from pico_jupyter.sources.server_source import get_json


def this_notebook(connection_file: str) -> NotebookFile | SessionNotebook:
    """Return the notebook of the kernel with this connection file."""
    file = session_file()
    kernel = Path(connection_file).stem.removeprefix("kernel-")
    try:
        address = find_server()
    except PicoError:
        return file
    return file if address is None else SessionNotebook(address, kernel, file)


class SessionNotebook:
    """The notebook of the session with the kernel id `kernel`. If the server does not answer, `file` is used."""

    def __init__(self, address: ServerAddress, kernel: str, file: NotebookFile) -> None:
        self._address = address
        self._kernel = kernel
        self._file = file
        self._state: tuple[str, str] = ("", "")
        self._cells: Mapping[str, SavedCell] = {}

    def __repr__(self) -> str:
        return f"<SessionNotebook {self._state[0]} [{len(self._cells)} cells]>"

    async def cells(self) -> Mapping[str, SavedCell]:
        """See SavedNotebook.cells."""
        try:
            return await asyncio.to_thread(self._read)
        except (PicoError, msgspec.ValidationError, LookupError, TypeError):
            return await self._file.cells()

    def _read(self) -> Mapping[str, SavedCell]:
        path = self._path()
        state = (path, str(self._contents(path, content=0)["last_modified"]))
        if state != self._state:
            self._cells = saved_cells(self._contents(path, content=1)["content"])
            self._state = state
        return self._cells

    def _path(self) -> str:
        """Return the path of the notebook. Raises LookupError unless exactly one notebook has this kernel."""
        sessions = get_json(self._address, "api/sessions")
        own = [session for session in sessions if session["kernel"]["id"] == self._kernel]
        paths = [str(session["path"]) for session in own if session["type"] == "notebook"]
        if len(paths) != 1:
            raise LookupError(f"{len(paths)} notebooks have this kernel")
        return paths[0]

    def _contents(self, path: str, *, content: int) -> dict[str, Any]:
        model: dict[str, Any] = get_json(self._address, f"api/contents/{quote(path)}?type=notebook&content={content}")
        return model
