"""How an engine stands, said by itself: the one behind a server, or one in a notebook's kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from pico_jupyter.types import EngineStatistics
from tests.browser.panels import PATIENCE_SECONDS
from tests.e2e.running import RunningServer, wait_for
from tests.e2e.test_metrics import metrics

Figures = Callable[[], EngineStatistics]


def figures_of(lab: RunningServer) -> Figures:
    """The engine behind the server tells about once a second how it stands, and once more when it has nothing to do."""

    def figures() -> EngineStatistics:
        told = metrics(lab)
        return EngineStatistics(
            running=int(told["engine_running_sequences"]),
            decoded_tokens=int(told["engine_decoded_tokens_total"]),
            decoded_at=told["engine_decoded_timestamp_seconds"],
        )

    return figures


def figures_in(told: Path) -> Figures:
    """The engine that a cell of `local_engine` has made."""
    return lambda: msgspec.json.decode(told.read_bytes(), type=EngineStatistics)


def at_rest(figures: Figures, before: int) -> EngineStatistics:
    """How the engine stands once it has left what it began to decode behind the first `before` tokens."""

    def is_at_rest() -> bool:
        now = figures()
        return now.running == 0 and now.decoded_tokens > before

    wait_for(is_at_rest, PATIENCE_SECONDS)
    return figures()


def local_engine(told: Path) -> str:
    """A cell with a panel over an engine in its own kernel, which writes how it stands into a file."""
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

def tell():
    path = pathlib.Path({str(told)!r})
    while True:
        path.with_suffix(".new").write_bytes(msgspec.json.encode(engine.statistics().result()))
        path.with_suffix(".new").replace(path)
        time.sleep(0.1)

threading.Thread(target=tell, daemon=True).start()
panel = ChatPanel("pico-tiny", reasoning="off", source=EngineSource(client_of(engine)))
panel"""


def busy_until(release: Path) -> str:
    """A cell that keeps its kernel busy until there is this file."""
    return f"""import pathlib, time
while not pathlib.Path({str(release)!r}).exists(): time.sleep(0.05)
print("free")"""
