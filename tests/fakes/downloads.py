"""Downloads that never use a network, for tests of the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec

from pico_jupyter.download_reports import Download, HubModel
from pico_jupyter.errors import NotFound, PicoError

RECORD = Download(
    id="org/small", model="org/small", state="running", completed=40, total=100, started="2026-01-01T00:00:00Z"
)
FOUND = HubModel(model="org/small", title="small", disk_bytes=100, memory_bytes=200)


class FakeDownloads:
    """Implements the methods of Downloads. `script`: the records that watch() yields, or an error that it raises."""

    def __init__(self, script: Sequence[Download | PicoError] = (), *, known: Sequence[Download] = (RECORD,)) -> None:
        self.script = script
        self.known = {record.model: record for record in known}
        self.calls: list[tuple[str, str]] = []
        self.failure: PicoError | None = None
        self.is_running = False

    def records(self) -> list[Download]:
        return list(self.known.values())

    def find(self, model: str) -> Download:
        if model not in self.known:
            raise NotFound(f"there is no download of {model}", param="model")
        return self.known[model]

    def start(self, model: str, revision: str = "") -> Download:
        self.calls.append(("start", f"{model}@{revision}" if revision else model))
        self.known.setdefault(model, msgspec.structs.replace(RECORD, id=model, model=model))
        return self.known[model]

    async def pause(self, model: str) -> Download:
        self.calls.append(("pause", model))
        return msgspec.structs.replace(self.find(model), state="paused")

    async def cancel(self, model: str) -> int:
        self.calls.append(("cancel", model))
        return self.find(model).completed

    def forget(self, model: str) -> None:
        self.calls.append(("forget", model))

    async def watch(self, model: str, repeat_after: float | None = None) -> AsyncGenerator[Download, None]:
        for step in self.script:
            if isinstance(step, PicoError):
                raise step
            yield step

    async def search(self, words: str, limit: int) -> list[HubModel]:
        self.calls.append(("search", f"{words} {limit}"))
        if self.failure is not None:
            raise self.failure
        return [FOUND]

    async def describe(self, model: str) -> HubModel:
        self.calls.append(("describe", model))
        if self.failure is not None:
            raise self.failure
        return FOUND

    async def aclose(self) -> None:
        self.calls.append(("aclose", ""))
