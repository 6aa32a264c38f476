"""A real browser at a real JupyterLab with the real built-in model."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.running import RunningServer, running_server

CHROMIUM = os.environ.get("PICO_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SCREENSHOTS = Path(os.environ.get("PICO_SCREENSHOTS", Path(__file__).parent / "screenshots"))
PATIENCE_MS = 1000 * int(os.environ.get("PICO_PATIENCE", "60"))
NO_POP_UPS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}

expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers on a busy machine take their time."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, or Playwright's own where somebody has installed it. Nothing is downloaded."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        executable = CHROMIUM or (own if Path(own).exists() else None)
        if executable is None:
            # .ci/run installs one, so there its absence is a failure.
            say = pytest.fail if "CI" in os.environ else pytest.skip
            say("there is no Chromium on this machine; PICO_CHROMIUM names one")
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with JupyterLab and Notebook 7, which has no settings of anybody's."""
    folder = tmp_path_factory.mktemp("lab")
    with running_server(folder, *lab_arguments(tmp_path_factory.mktemp("settings"))) as running:
        yield running


def lab_arguments(folder: Path) -> list[str]:
    """Folders of its own for a Lab, no pop-ups, and a page that can be asked how it stands."""
    (folder / "overrides.json").write_text(json.dumps(NO_POP_UPS))
    return [
        f"--LabApp.app_settings_dir={folder}",
        f"--LabApp.user_settings_dir={folder / 'user'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]


@pytest.fixture
def context(browser: Browser, lab: RunningServer) -> Iterator[BrowserContext]:
    """A browser of its own; the server as at first. No request may leave for another host, no script may fail."""
    forget_choices(lab)
    context = browser.new_context(viewport={"width": 1280, "height": 820})
    context.set_default_timeout(PATIENCE_MS)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    strangers: list[str] = []
    failures: list[str] = []
    context.on("request", lambda request: strangers.append(request.url) if _is_foreign(request.url, lab) else None)
    context.on("weberror", lambda failure: failures.append(failure.error.stack or str(failure.error)))
    yield context
    context.close()
    assert strangers == []
    # Notebook 7 has failures of its own.
    assert [failure for failure in failures if "pico-jupyter" in failure or "blob:" in failure] == []


def forget_choices(lab: RunningServer) -> None:
    """Tests share a server. Themes and the chosen model are its settings; without one, pages choose what is loaded."""
    with lab.http() as client:
        for plugin in ("@jupyterlab/apputils-extension:themes", "pico-jupyter:panel"):
            client.put(f"lab/api/settings/{plugin}", json={"raw": "{}"}).raise_for_status()
        for model in client.get("api/ps").json()["models"]:
            if model["name"] != "pico-tiny:latest":
                client.post("api/generate", json={"model": model["name"], "keep_alive": 0}).raise_for_status()


def _is_foreign(url: str, lab: RunningServer) -> bool:
    return urlsplit(url).scheme not in ("data", "blob") and not url.startswith(lab.url)


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that leaves a picture of its end in the folder of screenshots."""
    page = context.new_page()
    SCREENSHOTS.mkdir(exist_ok=True)
    yield page
    page.screenshot(path=SCREENSHOTS / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name)}.png")
