"""Statistics of an engine: the one behind a server, or one in a notebook's kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from pico_jupyter.engine_reports import EngineStatistics
from tests.browser.panels import PATIENCE_SECONDS
from tests.e2e.running import RunningServer, wait_for
from tests.e2e.test_metrics import metrics

ReadStatistics = Callable[[], EngineStatistics]


def server_statistics(lab: RunningServer) -> ReadStatistics:
    """Statistics of the engine behind the server. It reports them once a second and when it becomes idle."""

    def statistics() -> EngineStatistics:
        reported = metrics(lab)
        return EngineStatistics(
            running=int(reported["engine_running_sequences"]),
            decoded_tokens=int(reported["engine_decoded_tokens_total"]),
            decoded_at=reported["engine_decoded_timestamp_seconds"],
        )

    return statistics


def file_statistics(path: Path) -> ReadStatistics:
    """Statistics of the engine that a cell of `local_engine` runs."""
    return lambda: msgspec.json.decode(path.read_bytes(), type=EngineStatistics)


def wait_until_idle(statistics: ReadStatistics, before: int) -> EngineStatistics:
    """The statistics once the engine is idle and has decoded more than `before` tokens."""

    def is_idle() -> bool:
        now = statistics()
        return now.running == 0 and now.decoded_tokens > before

    wait_for(is_idle, PATIENCE_SECONDS)
    return statistics()


def local_engine(path: Path) -> str:
    """A cell with a panel and an engine in its kernel, which writes its statistics into a file."""
    return f"""import pathlib, threading, time
import msgspec
from pico_jupyter import ChatPanel
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import client_of
from pico_jupyter.sources.engine_source import EngineSource
from pico_jupyter.types import EngineOptions

engine = Engine(Catalog(EngineOptions()), EngineOptions())
engine.start()

def report():
    path = pathlib.Path({str(path)!r})
    while True:
        path.with_suffix(".new").write_bytes(msgspec.json.encode(engine.statistics().result()))
        path.with_suffix(".new").replace(path)
        time.sleep(0.1)

threading.Thread(target=report, daemon=True).start()
panel = ChatPanel("pico-tiny", reasoning="off", source=EngineSource(client_of(engine)))
panel"""


def busy_until(release: Path) -> str:
    """A cell that keeps its kernel busy until the file `release` exists."""
    return f"""import pathlib, time
while not pathlib.Path({str(release)!r}).exists(): time.sleep(0.05)
print("free")"""
