"""A real browser on a real JupyterLab with the built-in models."""

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
    """Give browser tests a longer timeout, because browsers are slow on a busy machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, or Playwright's own if it is installed. Nothing is downloaded."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        executable = CHROMIUM or (own if Path(own).exists() else None)
        if executable is None:
            # .ci/run installs Chromium, so its absence is a failure in CI.
            say = pytest.fail if "CI" in os.environ else pytest.skip
            say("no Chromium is installed; PICO_CHROMIUM can name one")
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with JupyterLab and Notebook 7, without the user's settings."""
    folder = tmp_path_factory.mktemp("lab")
    with running_server(folder, *lab_arguments(tmp_path_factory.mktemp("settings"))) as running:
        yield running


def lab_arguments(folder: Path) -> list[str]:
    """Arguments for a JupyterLab with its own settings, no pop-ups, and `window.jupyterapp` for tests."""
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
    """A new browser context, after a reset of the server. Fails on requests to other hosts and on script errors."""
    reset_server(lab)
    context = browser.new_context(viewport={"width": 1280, "height": 820})
    context.set_default_timeout(PATIENCE_MS)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    foreign_requests: list[str] = []
    script_errors: list[str] = []
    context.on(
        "request", lambda request: foreign_requests.append(request.url) if _is_foreign(request.url, lab) else None
    )
    context.on("weberror", lambda error: script_errors.append(error.error.stack or str(error.error)))
    yield context
    context.close()
    assert foreign_requests == []
    # Notebook 7 has script errors of its own.
    assert [error for error in script_errors if "pico-jupyter" in error or "blob:" in error] == []


def reset_server(lab: RunningServer) -> None:
    """Reset the theme and the chosen model, and unload models, because new pages choose a loaded model."""
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
    """A page. Its last state is saved as a screenshot."""
    page = context.new_page()
    SCREENSHOTS.mkdir(exist_ok=True)
    yield page
    page.screenshot(path=SCREENSHOTS / f"{re.sub(r'[^a-z0-9]+', '-', request.node.name)}.png")
