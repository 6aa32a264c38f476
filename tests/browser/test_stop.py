"""Stopping an answer in all places of the panel. The engine's own statistics show that it stops decoding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.engines import (
    ReadStatistics,
    busy_until,
    file_statistics,
    local_engine,
    server_statistics,
    wait_until_idle,
)
from tests.browser.panels import (
    LONG,
    SHOW,
    Panel,
    lab_sidebar,
    open_lab,
    open_notebook,
    open_notebook_7,
    run,
    widget,
)
from tests.e2e.running import RunningServer

# Without a stop, the answer to LONG fills the context of 4096 tokens.
MANY = 2000
SHOW_OFF = SHOW.replace("'on'", "'off'")


@pytest.fixture
def engine(lab: RunningServer) -> ReadStatistics:
    """The engine behind the server."""
    return server_statistics(lab)


def begin(engine: ReadStatistics, panel: Panel, ask: Callable[[], object]) -> int:
    """Start a long answer. Returns how many tokens the engine had decoded before."""
    before = engine().decoded_tokens
    ask()
    expect(panel.answers.last).to_contain_text("oror")
    return before


def assert_ends_early(engine: ReadStatistics, before: int) -> None:
    assert wait_until_idle(engine, before).decoded_tokens - before < MANY


def assert_stops(engine: ReadStatistics, panel: Panel, stop: Callable[[], object]) -> None:
    before = begin(engine, panel, lambda: panel.send(LONG))
    stop()
    expect(panel.answers.last).to_contain_text("Stopped")
    assert_ends_early(engine, before)


def test_in_the_sidebar_by_the_button_and_by_escape(page: Page, lab: RunningServer, engine: ReadStatistics) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    assert_stops(engine, panel, panel.button("Stop").click)
    panel.button("New conversation").click()
    assert_stops(engine, panel, lambda: panel.message.press("Escape"))


def test_in_a_tab(page: Page, lab: RunningServer, engine: ReadStatistics) -> None:
    open_lab(page, lab)
    page.get_by_role("button", name="Local Chat").click()
    panel = Panel(page, page.get_by_role("main").get_by_role("region", name="Chat with a local model"))
    panel.wait_for_models()
    panel.reason("Off")
    assert_stops(engine, panel, panel.button("Stop").click)


def test_in_a_cell_by_the_button_and_by_escape_and_from_python(
    page: Page, lab: RunningServer, engine: ReadStatistics
) -> None:
    cells = open_notebook(page, lab, "stop.ipynb", SHOW_OFF, "panel.stop()")
    run(cells.nth(0))
    panel = widget(page)
    assert_stops(engine, panel, panel.button("Stop").click)
    panel.button("New conversation").click()
    assert_stops(engine, panel, lambda: panel.message.press("Escape"))
    panel.button("New conversation").click()
    assert_stops(engine, panel, lambda: run(cells.nth(1)))


def test_in_a_cell_that_streams_while_the_kernel_is_busy(
    page: Page, lab: RunningServer, engine: ReadStatistics
) -> None:
    release = lab.log.parent / "release-stop"
    cells = open_notebook(page, lab, "stop-busy.ipynb", SHOW_OFF, busy_until(release))
    run(cells.nth(0))
    panel = widget(page)
    run(cells.nth(1))
    assert_stops(engine, panel, panel.button("Stop").click)
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    release.touch()
    expect(cells.nth(1)).to_contain_text("free")


def test_in_notebook_7_in_a_cell_and_beside_it(page: Page, lab: RunningServer, engine: ReadStatistics) -> None:
    cells = open_notebook_7(page, lab, "stop-seven.ipynb", SHOW_OFF)
    run(cells.nth(0))
    panel = widget(page)
    assert_stops(engine, panel, panel.button("Stop").click)
    page.keyboard.press("ControlOrMeta+Alt+c")
    beside = Panel(page, page.locator("#pico-chat-sidebar").get_by_role("region", name="Chat with a local model"))
    beside.wait_for_models()
    beside.reason("Off")
    assert_stops(engine, beside, lambda: beside.message.press("Escape"))


def test_by_interrupting_a_cell_that_asks(page: Page, lab: RunningServer, engine: ReadStatistics) -> None:
    cells = open_notebook(page, lab, "stop-ask.ipynb", SHOW_OFF, f"panel.ask({LONG!r})")
    run(cells.nth(0))
    panel = widget(page)
    before = begin(engine, panel, lambda: run(cells.nth(1)))
    page.get_by_role("button", name="Interrupt the kernel").click()
    expect(cells.nth(1)).to_contain_text("KeyboardInterrupt")
    assert_ends_early(engine, before)
    expect(panel.answers).to_contain_text("Stopped")


def test_in_the_page_while_a_cell_asks(page: Page, lab: RunningServer, engine: ReadStatistics) -> None:
    cells = open_notebook(page, lab, "stop-page.ipynb", SHOW_OFF, f"panel.ask({LONG!r})")
    run(cells.nth(0))
    panel = widget(page)
    before = begin(engine, panel, lambda: run(cells.nth(1)))
    panel.button("Stop").click()
    assert_ends_early(engine, before)
    expect(panel.answers).to_contain_text("Stopped")
    expect(cells.nth(1)).to_contain_text("the answer was stopped")


def test_by_a_closed_page(page: Page, lab: RunningServer, engine: ReadStatistics) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    before = begin(engine, panel, lambda: panel.send(LONG))
    page.goto("about:blank")
    assert_ends_early(engine, before)


def test_in_a_cell_with_the_engine_in_its_kernel_idle_and_busy(page: Page, lab: RunningServer) -> None:
    page.route("**/pico/v1/models*", lambda route: route.fulfill(status=404, body="no such page"))
    path, release = lab.log.parent / "statistics.json", lab.log.parent / "release-local"
    cells = open_notebook(page, lab, "stop-local.ipynb", local_engine(path), busy_until(release))
    run(cells.nth(0))
    panel = widget(page)
    statistics = file_statistics(path)
    assert_stops(statistics, panel, panel.button("Stop").click)
    panel.button("New conversation").click()
    run(cells.nth(1))
    assert_stops(statistics, panel, lambda: panel.message.press("Escape"))
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    release.touch()
    expect(cells.nth(1)).to_contain_text("free")
