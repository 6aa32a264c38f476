"""The Jupyter events that listeners of a server receive."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_events import EventLogger

from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded, ModelUnloaded
from pico_jupyter.model_kernel.kernel_events import KernelCrashed, KernelEvent, KernelStarted
from pico_jupyter.server.events import SCHEMAS, emit, register_schemas
from tests.server.conftest import StartServer

LOADED = ModelLoaded("tiny", 1000, 0.5)
UNLOADED = ModelUnloaded("tiny", "idle")
CRASHED = KernelCrashed("killed by SIGKILL")


class Listener:
    """Records events, without the fields that Jupyter adds."""

    def __init__(self, logger: EventLogger) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._logger = logger
        for schema in logger.schemas.schema_ids:
            logger.add_listener(schema_id=schema, listener=self._listen)

    async def _listen(self, logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        fields = {name: value for name, value in data.items() if not name.startswith("__")}
        self.events.append((schema_id.rpartition(":")[2], fields))

    async def after(self, event: KernelEvent) -> list[tuple[str, dict[str, Any]]]:
        emit(self._logger, event)
        await self._logger.gather_listeners()
        return self.events


@pytest.fixture
def logger() -> EventLogger:
    logger = EventLogger()
    register_schemas(logger)
    return logger


@pytest.mark.parametrize(
    ("event", "kind", "data"),
    [
        (LOADED, "model_loaded", {"model": "tiny", "size": 1000, "seconds": 0.5}),
        (UNLOADED, "model_unloaded", {"model": "tiny", "reason": "idle"}),
        (CRASHED, "model_kernel_crashed", {"exit": "killed by SIGKILL"}),
    ],
)
async def test_a_listener_receives_the_event(
    logger: EventLogger, event: KernelEvent, kind: str, data: dict[str, Any]
) -> None:
    assert await Listener(logger).after(event) == [(kind, data)]


@pytest.mark.parametrize("event", [EngineStatistics(1, 2, 3, 4, 5), KernelStarted()])
async def test_statistics_and_starts_emit_no_event(logger: EventLogger, event: KernelEvent) -> None:
    listener = Listener(logger)
    assert await listener.after(event) == []
    assert [kind for kind, _ in await listener.after(LOADED)] == ["model_loaded"]


def test_every_schema_names_its_file_and_no_host(logger: EventLogger) -> None:
    files = sorted(path.stem for path in SCHEMAS.glob("*.yaml"))
    assert sorted(logger.schemas.schema_ids) == [f"urn:pico-jupyter:events:{name}" for name in files]
    assert {logger.schemas.get(id_).version for id_ in logger.schemas.schema_ids} == {"1"}


async def test_a_second_server_of_one_process_emits_events_too(start_server: StartServer) -> None:
    await start_server()
    server = await start_server()
    assert await Listener(server.app.event_logger).after(LOADED)


async def test_an_event_of_the_model_kernel_reaches_the_servers_listeners(start_server: StartServer) -> None:
    server = await start_server()
    listener = Listener(server.app.event_logger)
    server.extension.publish_event(CRASHED)
    await server.app.event_logger.gather_listeners()
    assert [kind for kind, _ in listener.events] == ["model_kernel_crashed"]
