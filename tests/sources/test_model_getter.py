"""Models are downloaded and deleted through a server, or in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pico_jupyter.download_reports import Download
from pico_jupyter.downloads.cache_layout import CachedRepo
from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR, Catalog
from pico_jupyter.errors import Conflict, Forbidden, NotFound, PicoError
from pico_jupyter.sources.model_getter import LocalGetter, ModelGetter, ServerGetter
from pico_jupyter.sources.server_address import ServerAddress
from pico_jupyter.types import EngineOptions
from tests.e2e.running import RunningServer
from tests.fakes.hub import FakeHub, Fault


@pytest.fixture(params=["server", "local"])
def getter(
    request: pytest.FixtureRequest, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelGetter:
    """A getter that uses a server, and one of this process. Both use the hub on loopback."""
    if request.param == "server":
        server: RunningServer = request.getfixturevalue("server")
        return ServerGetter(ServerAddress(server.url, server.token))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setitem(os.environ, "HF_HUB_CACHE", str(tmp_path))
    return LocalGetter(Catalog(EngineOptions(), hub_cache=tmp_path), tmp_path)


async def pulled(
    getter: ModelGetter, model: str, react: Callable[[Download], Awaitable[None]] | None = None
) -> list[Download]:
    """The records of a pull. `react` is called with each."""
    records = []
    async with asyncio.timeout(60):
        async for record in getter.pull(model):
            records.append(record)
            if react is not None:
                await react(record)
    return records


async def test_a_model_is_pulled_and_deleted(getter: ModelGetter, hub: FakeHub) -> None:
    hub.add("org/pulled", BUILTIN_DIR / "pico-tiny")
    records = await pulled(getter, "org/pulled")
    assert [records[0].state, records[-1].state] == ["running", "complete"]
    assert await getter.remove("org/pulled") >= (records[-1].total or 0)
    with pytest.raises(NotFound):
        await getter.remove("org/pulled")


async def test_an_unknown_model_is_reported(getter: ModelGetter) -> None:
    with pytest.raises(PicoError, match="there is no model org/absent"):
        await pulled(getter, "org/absent")


async def test_a_built_in_model_is_not_deleted(getter: ModelGetter) -> None:
    with pytest.raises(Forbidden, match="part of pico_jupyter"):
        await getter.remove("pico-tiny")


async def test_models_are_found(getter: ModelGetter, hub: FakeHub) -> None:
    hub.add("org/Findable-7B-4bit", BUILTIN_DIR / "pico-tiny")
    assert [model.model for model in await getter.search("findable", 5)] == ["org/Findable-7B-4bit"]


async def test_a_pause_ends_the_pull_and_the_next_one_continues(getter: ModelGetter, hub: FakeHub) -> None:
    hub.add("org/paused", BUILTIN_DIR / "pico-tiny")
    hub.faults = [Fault("slow", "/cdn/", rate=1_000_000)]

    async def pause(record: Download) -> None:
        if record.completed > 200_000:
            await getter.pause("org/paused")

    with pytest.raises(PicoError, match="paused"):
        await pulled(getter, "org/paused", pause)
    records = await pulled(getter, "org/paused")
    assert records[0].completed > 200_000
    assert records[-1].state == "complete"
    await getter.remove("org/paused")


async def test_a_cancelled_download_ends_the_pull_from_a_server(server: RunningServer, hub: FakeHub) -> None:
    hub.add("org/cancelled", BUILTIN_DIR / "pico-tiny")
    hub.faults = [Fault("slow", "/cdn/", rate=1_000_000)]
    getter = ServerGetter(ServerAddress(server.url, server.token))
    with server.http() as http:

        async def cancel(record: Download) -> None:
            if record.file == "model.safetensors":
                await asyncio.to_thread(http.delete, "pico/downloads/org/cancelled")

        with pytest.raises(Conflict, match="cancelled"):
            await pulled(getter, "org/cancelled", cancel)
    assert not CachedRepo(Path(server.environ["HF_HUB_CACHE"]), "org/cancelled").folder.exists()
