"""A Source whose pieces a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from pico_jupyter.errors import PicoError
from pico_jupyter.sources.calls import ChatCall, Model, Piece
from pico_jupyter.types import MemoryReport
from tests.server.scripted import MEMORY


class FakeSource:
    """Answers with `pieces`; a PicoError among them is raised; without `ends` it then waits to be stopped."""

    def __init__(self, *pieces: Piece | PicoError, ends: bool = True) -> None:
        self.calls: list[ChatCall] = []
        self.moved: list[tuple[str, str]] = []
        self.closed = 0
        self._pieces = pieces
        self._ends = ends

    async def chat(self, call: ChatCall) -> AsyncGenerator[Piece, None]:
        self.calls.append(call)
        try:
            for piece in self._pieces:
                if isinstance(piece, PicoError):
                    raise piece
                yield piece
            if not self._ends:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def models(self) -> list[Model]:
        return [Model("tiny", capabilities=("completion",))]

    async def memory(self) -> MemoryReport:
        return MEMORY

    async def load(self, name: str) -> None:
        self.moved.append(("load", name))

    async def unload(self, name: str) -> None:
        self.moved.append(("unload", name))
