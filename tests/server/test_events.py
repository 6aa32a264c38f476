"""What listeners of the server's events are told."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_events import EventLogger

from pico_jupyter.model_kernel.news import KernelCrashed, KernelNews, KernelStarted
from pico_jupyter.server.events import SCHEMAS, emit, register_schemas
from pico_jupyter.types import EngineStatistics, ModelLoaded, ModelUnloaded
from tests.server.conftest import StartServer

LOADED = ModelLoaded("tiny", 1000, 0.5)
UNLOADED = ModelUnloaded("tiny", "idle")
CRASHED = KernelCrashed("killed by SIGKILL")


class Listener:
    """Keeps what it is told, without what Jupyter adds to every event."""

    def __init__(self, logger: EventLogger) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._logger = logger
        for schema in logger.schemas.schema_ids:
            logger.add_listener(schema_id=schema, listener=self._listen)

    async def _listen(self, logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        fields = {name: value for name, value in data.items() if not name.startswith("__")}
        self.heard.append((schema_id.rpartition(":")[2], fields))

    async def after(self, news: KernelNews) -> list[tuple[str, dict[str, Any]]]:
        emit(self._logger, news)
        await self._logger.gather_listeners()
        return self.heard


@pytest.fixture
def logger() -> EventLogger:
    logger = EventLogger()
    register_schemas(logger)
    return logger


@pytest.mark.parametrize(
    ("news", "kind", "data"),
    [
        (LOADED, "model_loaded", {"model": "tiny", "size": 1000, "seconds": 0.5}),
        (UNLOADED, "model_unloaded", {"model": "tiny", "reason": "idle"}),
        (CRASHED, "model_kernel_crashed", {"exit": "killed by SIGKILL"}),
    ],
)
async def test_a_listener_hears_of(logger: EventLogger, news: KernelNews, kind: str, data: dict[str, Any]) -> None:
    assert await Listener(logger).after(news) == [(kind, data)]


@pytest.mark.parametrize("news", [EngineStatistics(1, 2, 3, 4, 5), KernelStarted()])
async def test_what_only_counts_is_no_event(logger: EventLogger, news: KernelNews) -> None:
    listener = Listener(logger)
    assert await listener.after(news) == []
    assert [kind for kind, _ in await listener.after(LOADED)] == ["model_loaded"]


def test_every_schema_names_its_file_and_no_host(logger: EventLogger) -> None:
    files = sorted(path.stem for path in SCHEMAS.glob("*.yaml"))
    assert sorted(logger.schemas.schema_ids) == [f"urn:pico-jupyter:events:{name}" for name in files]
    assert {logger.schemas.get(id_).version for id_ in logger.schemas.schema_ids} == {"1"}


async def test_a_second_server_of_one_process_tells_its_listeners_too(start_server: StartServer) -> None:
    await start_server()
    server = await start_server()
    assert await Listener(server.app.event_logger).after(LOADED)


async def test_what_the_model_kernel_tells_reaches_the_servers_listeners(start_server: StartServer) -> None:
    server = await start_server()
    listener = Listener(server.app.event_logger)
    server.extension.publish_news(CRASHED)
    await server.app.event_logger.gather_listeners()
    assert [kind for kind, _ in listener.heard] == ["model_kernel_crashed"]
