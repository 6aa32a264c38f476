"""A Source that plays the pieces of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from pico_jupyter.engine_reports import MemoryReport
from pico_jupyter.sources.calls import AnswerRequest, ListedModel, Piece
from tests.fakes.engine_client import MEMORY


class FakeSource:
    """Answers with `pieces`, and raises exceptions among them. If `ends` is false, it waits after the last piece."""

    def __init__(self, *pieces: Piece | BaseException, ends: bool = True) -> None:
        self.calls: list[AnswerRequest] = []
        self.moved: list[tuple[str, str]] = []
        self.closed = 0
        self._pieces = pieces
        self._ends = ends

    async def chat(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        self.calls.append(request)
        try:
            for piece in self._pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
            if not self._ends:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> list[bytes]:
        return [bytes(4 * (dimensions or 3)) for _ in texts]

    async def models(self) -> list[ListedModel]:
        return [ListedModel("tiny", capabilities=("completion",))]

    async def memory(self) -> MemoryReport:
        return MEMORY

    async def load(self, name: str) -> None:
        self.moved.append(("load", name))

    async def unload(self, name: str) -> None:
        self.moved.append(("unload", name))
