"""ModelGetter: downloads and deletes models for notebooks and terminals, through a server or in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import msgspec

from pico_jupyter.download_reports import Download, DownloadList, FoundModels, HubModel, read_repo_name
from pico_jupyter.downloads.manager import ACTIVE, Downloads
from pico_jupyter.downloads.removal import find_deletable
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.errors import Conflict, PicoError
from pico_jupyter.sources.server_address import ServerAddress
from pico_jupyter.sources.server_source import get_json, request_json

POLL_SECONDS = 0.5
SEARCH_SECONDS = 90.0
DELETE_SECONDS = 600.0


class ModelGetter(Protocol):
    """Downloads and deletes models. All methods raise PicoError."""

    def pull(self, model: str) -> AsyncGenerator[Download, None]:
        """Download a model, or resume its download. Yields the state until it is complete."""
        ...

    async def pause(self, model: str) -> None:
        """Pause the download of a model."""
        ...

    async def search(self, words: str, limit: int) -> list[HubModel]:
        """Find models on the hub."""
        ...

    async def remove(self, name: str) -> int:
        """Delete a model of the catalog. Returns the bytes that this freed."""
        ...


class ServerGetter:
    """A ModelGetter that uses the downloads of a server. A download continues after this process ends."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address

    def __repr__(self) -> str:
        return f"<ServerGetter {self._address.url}>"

    async def pull(self, model: str) -> AsyncGenerator[Download, None]:
        """See ModelGetter.pull."""
        answer = await asyncio.to_thread(request_json, self._address, "POST", "pico/downloads", {"model": model})
        record = msgspec.convert(answer, Download)
        yield record
        while record.state in ACTIVE:
            await asyncio.sleep(POLL_SECONDS)
            record = await self._find(record.model)
            yield record
        if record.state != "complete":
            raise PicoError(record.error or f"the download of {record.model} was paused")

    async def pause(self, model: str) -> None:
        """See ModelGetter.pause."""
        path = f"pico/downloads/{quote(read_repo_name(model))}"
        await asyncio.to_thread(request_json, self._address, "PATCH", path, {"state": "paused"})

    async def search(self, words: str, limit: int) -> list[HubModel]:
        """See ModelGetter.search."""
        path = f"pico/hub/search?q={quote(words)}&limit={limit}"
        return msgspec.convert(
            await asyncio.to_thread(get_json, self._address, path, SEARCH_SECONDS), FoundModels
        ).models

    async def remove(self, name: str) -> int:
        """See ModelGetter.remove. Another process may still hold some of the freed bytes."""
        models = (await asyncio.to_thread(get_json, self._address, "pico/api/tags"))["models"]
        sizes = {model["name"].removesuffix(":latest").lower(): model["size"] for model in models}
        await asyncio.to_thread(
            request_json, self._address, "DELETE", "pico/api/delete", {"model": name}, timeout=DELETE_SECONDS
        )
        short = name.rpartition("/")[2].removesuffix(":latest").lower()
        return int(sizes.get(name.lower(), sizes.get(short, 0)))

    async def _find(self, model: str) -> Download:
        answer = await asyncio.to_thread(get_json, self._address, "pico/downloads")
        for record in msgspec.convert(answer, DownloadList).downloads:
            if record.model == model:
                return record
        raise Conflict(f"the download of {model} was cancelled")


class LocalGetter:
    """A ModelGetter that downloads in this process. remove() finds models in `catalog`."""

    def __init__(self, catalog: Catalog, cache: Path | None = None) -> None:
        self._catalog = catalog
        self._downloads = Downloads(cache)

    def __repr__(self) -> str:
        return f"<LocalGetter {self._downloads!r}>"

    async def pull(self, model: str) -> AsyncGenerator[Download, None]:
        """See ModelGetter.pull."""
        repo = read_repo_name(model)
        self._downloads.start(repo)
        async for record in self._downloads.watch(repo):
            yield record
        if self._downloads.find(repo).state != "complete":
            raise PicoError(f"the download of {repo} was paused")

    async def pause(self, model: str) -> None:
        """See ModelGetter.pause."""
        await self._downloads.pause(read_repo_name(model))

    async def search(self, words: str, limit: int) -> list[HubModel]:
        """See ModelGetter.search."""
        return await self._downloads.search(words, limit)

    async def remove(self, name: str) -> int:
        """See ModelGetter.remove."""
        return await asyncio.to_thread(find_deletable(self._catalog.find(name)).remove)
