"""Measures the time from a click on Stop until the engine decodes its last token, which its statistics report."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Page

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
    open_notebook,
    open_notebook_7,
    run,
    widget,
)
from tests.e2e.running import RunningServer

STOPS = 10
SHOW_OFF = SHOW.replace("'on'", "'off'")
# The page and the engine use the same wall clock, because both run on this machine.
WATCH_STOP = """() => {
    const remember = event => {
        if (event.target.closest('.pico-stop')) window.stoppedAt = Date.now() / 1000;
    };
    addEventListener('click', remember, { capture: true });
}"""


@dataclass(frozen=True)
class StopTimes:
    """The times in milliseconds from the click to the last token, for a panel in the place `where`."""

    where: str
    times: list[float]

    def __str__(self) -> str:
        return f"{self.where:<44} median {statistics.median(self.times):4.0f} ms, slowest {max(self.times):4.0f} ms"


def stop_times(page: Page, lab: RunningServer) -> Iterator[StopTimes]:
    """Measure stops in each place of the panel: sidebar, tab and cells."""
    folder = lab.log.parent
    server = server_statistics(lab)

    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    yield _measure("sidebar", panel, server)

    panel.button("New conversation").click()
    panel.button("More").click()
    panel.root.get_by_role("menuitem", name="Open in a tab").click()
    tab = Panel(page, page.get_by_role("main").get_by_role("region", name="Chat with a local model"))
    tab.wait_for_models()
    tab.reason("Off")
    yield _measure("tab", tab, server)

    release = folder / "release-server"
    cells = open_notebook(page, lab, "server.ipynb", SHOW_OFF, busy_until(release))
    run(cells.nth(0))
    yield _measure("cell", widget(page), server)
    run(cells.nth(1))
    yield _measure("cell, its kernel busy", widget(page), server)
    release.touch()

    cells = open_notebook_7(page, lab, "seven.ipynb", SHOW_OFF)
    run(cells.nth(0))
    yield _measure("cell in Notebook 7", widget(page), server)

    page.route("**/pico/v1/models*", lambda route: route.fulfill(status=404, body="no such page"))
    path, release = folder / "statistics.json", folder / "release-local"
    cells = open_notebook(page, lab, "local.ipynb", local_engine(path), busy_until(release))
    run(cells.nth(0))
    yield _measure("cell, the engine in its kernel", widget(page), file_statistics(path))
    run(cells.nth(1))
    yield _measure("cell, the engine in its busy kernel", widget(page), file_statistics(path))
    release.touch()


def _measure(where: str, panel: Panel, read_statistics: ReadStatistics) -> StopTimes:
    panel.page.evaluate(WATCH_STOP)
    return StopTimes(where, [_stop_time(panel, read_statistics) for _ in range(STOPS)])


def _stop_time(panel: Panel, read_statistics: ReadStatistics) -> float:
    if panel.answers.count():
        panel.button("New conversation").click()
    before = read_statistics().decoded_tokens
    panel.send(LONG)
    panel.answers.get_by_text("oror").wait_for()
    panel.button("Stop").click()
    stopped_at = float(panel.page.evaluate("window.stoppedAt"))
    return 1000 * max(0.0, wait_until_idle(read_statistics, before).decoded_at - stopped_at)
