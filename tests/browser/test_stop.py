"""Stop, wherever there is a panel: the engine itself says that it has left the answer long before its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Page, expect

from pico_jupyter.types import EngineStatistics
from tests.browser.panels import (
    LONG,
    PATIENCE_SECONDS,
    SHOW,
    Panel,
    lab_sidebar,
    open_lab,
    open_notebook,
    open_notebook_7,
    run,
    widget,
)
from tests.e2e.running import RunningServer, wait_for
from tests.e2e.test_metrics import metrics

# An answer that is stopped has this many tokens; without a stop LONG's goes on until the context is full.
SOME = 30
MANY = 2000
SHOW_OFF = SHOW.replace("'on'", "'off'")

Figures = Callable[[], EngineStatistics]


def figures_of(lab: RunningServer) -> Figures:
    """How the engine behind the server stands, which it tells about once a second."""

    def figures() -> EngineStatistics:
        told = metrics(lab)
        return EngineStatistics(
            running=int(told["engine_running_sequences"]), decoded_tokens=int(told["engine_decoded_tokens_total"])
        )

    return figures


@pytest.fixture
def engine(lab: RunningServer) -> Figures:
    """The engine behind the server, with nothing to do."""
    figures = figures_of(lab)
    wait_for(lambda: figures().running == 0, PATIENCE_SECONDS)
    return figures


def begin(engine: Figures, ask: Callable[[], object]) -> int:
    """Have a long answer written. How many tokens the engine had decoded before."""
    before = engine().decoded_tokens
    ask()
    wait_for(lambda: engine().decoded_tokens > before + SOME, PATIENCE_SECONDS)
    assert engine().running == 1
    return before


def assert_ends_early(engine: Figures, before: int) -> None:
    wait_for(lambda: engine().running == 0, PATIENCE_SECONDS)
    assert engine().decoded_tokens - before < MANY


def assert_stops(engine: Figures, panel: Panel, stop: Callable[[], object]) -> None:
    before = begin(engine, lambda: panel.send(LONG))
    stop()
    expect(panel.answers.last).to_contain_text("Stopped")
    assert_ends_early(engine, before)


def test_in_the_sidebar_by_the_button_and_by_escape(page: Page, lab: RunningServer, engine: Figures) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    assert_stops(engine, panel, panel.button("Stop").click)
    panel.button("New conversation").click()
    assert_stops(engine, panel, lambda: panel.message.press("Escape"))


def test_in_a_tab(page: Page, lab: RunningServer, engine: Figures) -> None:
    open_lab(page, lab)
    page.get_by_role("button", name="Local Chat").click()
    panel = Panel(page, page.get_by_role("main").get_by_role("region", name="Chat with a local model"))
    panel.wait_for_models()
    panel.reason("Off")
    assert_stops(engine, panel, panel.button("Stop").click)


def test_in_a_cell_by_the_button_and_by_escape_and_from_python(page: Page, lab: RunningServer, engine: Figures) -> None:
    cells = open_notebook(page, lab, "stop.ipynb", SHOW_OFF, "panel.stop()")
    run(cells.nth(0))
    panel = widget(page)
    assert_stops(engine, panel, panel.button("Stop").click)
    panel.button("New conversation").click()
    assert_stops(engine, panel, lambda: panel.message.press("Escape"))
    panel.button("New conversation").click()
    assert_stops(engine, panel, lambda: run(cells.nth(1)))


def test_in_a_cell_whose_kernel_is_busy(page: Page, lab: RunningServer, engine: Figures) -> None:
    release = lab.log.parent / "release-stop"
    cells = open_notebook(page, lab, "stop-busy.ipynb", SHOW_OFF, busy_until(release))
    run(cells.nth(0))
    panel = widget(page)
    run(cells.nth(1))
    assert_stops(engine, panel, panel.button("Stop").click)
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    release.touch()
    expect(cells.nth(1)).to_contain_text("free")


def test_in_notebook_7_in_a_cell_and_beside_it(page: Page, lab: RunningServer, engine: Figures) -> None:
    cells = open_notebook_7(page, lab, "stop-seven.ipynb", SHOW_OFF)
    run(cells.nth(0))
    panel = widget(page)
    assert_stops(engine, panel, panel.button("Stop").click)
    page.keyboard.press("ControlOrMeta+Alt+c")
    beside = Panel(page, page.locator("#pico-chat-sidebar").get_by_role("region", name="Chat with a local model"))
    beside.wait_for_models()
    beside.reason("Off")
    assert_stops(engine, beside, lambda: beside.message.press("Escape"))


def test_interrupting_a_cell_that_asks(page: Page, lab: RunningServer, engine: Figures) -> None:
    cells = open_notebook(page, lab, "stop-ask.ipynb", SHOW_OFF, f"panel.ask({LONG!r})")
    run(cells.nth(0))
    panel = widget(page)
    before = begin(engine, lambda: run(cells.nth(1)))
    page.get_by_role("button", name="Interrupt the kernel").click()
    expect(cells.nth(1)).to_contain_text("KeyboardInterrupt")
    assert_ends_early(engine, before)
    expect(panel.answers).to_contain_text("Stopped")


def test_in_the_page_while_a_cell_asks(page: Page, lab: RunningServer, engine: Figures) -> None:
    cells = open_notebook(page, lab, "stop-page.ipynb", SHOW_OFF, f"panel.ask({LONG!r})")
    run(cells.nth(0))
    panel = widget(page)
    before = begin(engine, lambda: run(cells.nth(1)))
    panel.button("Stop").click()
    assert_ends_early(engine, before)
    expect(panel.answers).to_contain_text("Stopped")


def test_by_a_closed_page(page: Page, lab: RunningServer, engine: Figures) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    before = begin(engine, lambda: panel.send(LONG))
    page.goto("about:blank")
    assert_ends_early(engine, before)


def test_where_the_kernel_itself_has_the_engine_and_is_busy_at_last(page: Page, lab: RunningServer) -> None:
    page.route("**/pico/v1/models*", lambda route: route.fulfill(status=404, body="no such page"))
    told, release = lab.log.parent / "figures.json", lab.log.parent / "release-local"
    cells = open_notebook(page, lab, "stop-local.ipynb", local_engine(told), busy_until(release))
    run(cells.nth(0))
    panel = widget(page)

    def figures() -> EngineStatistics:
        return msgspec.json.decode(told.read_bytes(), type=EngineStatistics)

    assert_stops(figures, panel, panel.button("Stop").click)
    panel.button("New conversation").click()
    run(cells.nth(1))
    assert_stops(figures, panel, lambda: panel.message.press("Escape"))
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    release.touch()
    expect(cells.nth(1)).to_contain_text("free")


def busy_until(release: Path) -> str:
    """A cell that keeps its kernel busy until there is this file."""
    return f"""import pathlib, time
while not pathlib.Path({str(release)!r}).exists(): time.sleep(0.05)
print("free")"""


def local_engine(told: Path) -> str:
    """A cell with a panel over an engine in its own kernel, which tells how it stands in a file."""
    return f"""import pathlib, threading, time
import msgspec
from pico_jupyter import ChatPanel
from pico_jupyter.engine.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local import LocalEngineClient
from pico_jupyter.sources.local import EngineSource
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
panel = ChatPanel("pico-tiny", reasoning="off", source=EngineSource(LocalEngineClient(engine)))
panel"""
