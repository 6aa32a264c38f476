"""Getting a model from a hub on loopback: search, download, progress, use, chat and deletion."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from tests.browser.conftest import SCREENSHOTS, lab_arguments
from tests.browser.panels import SHOW, Panel, lab_sidebar, open_notebook, run, sidebar, widget
from tests.browser.test_look import use_theme, violations
from tests.browser.test_models import picker, row
from tests.e2e.running import RunningServer, running_server, wait_for
from tests.fakes.hub import FakeHub, Fault, HubRepo, running_hub

TINY = BUILTIN_DIR / "pico-tiny"
# A folder with SmolLM2-135M-Instruct, in which the last test chats with real weights.
REAL = os.environ.get("PICO_REAL_MODELS", "")
# Bytes per second of a download that a test watches. pico-tiny has 2.8 MB of weights.
SLOW = 500_000
# Two names that differ only at their end.
ALIKE = ("Qwen2.5-Coder-0.5B-Instruct-4bit", "Qwen2.5-Coder-0.5B-Instruct-8bit")


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with running_hub(FakeHub()) as hub:
        yield hub


@pytest.fixture(autouse=True)
def without_faults(hub: FakeHub) -> Iterator[None]:
    yield
    hub.faults.clear()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub) -> Iterator[RunningServer]:
    """A server with an empty cache, whose hub is on loopback. It also finds two models and a broken one in a folder."""
    models = tmp_path_factory.mktemp("models")
    for name in (*ALIKE, "Broken-4bit"):
        shutil.copytree(TINY, models / name)
    (models / "Broken-4bit" / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    environ = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path_factory.mktemp("cache"))}
    arguments = [*lab_arguments(tmp_path_factory.mktemp("settings")), f"--PicoJupyter.model_dirs={models}"]
    with running_server(tmp_path_factory.mktemp("lab"), *arguments, environ=environ) as running:
        yield running


def open_view(panel: Panel) -> Locator:
    """Open the view with the button of the empty conversation."""
    panel.button("Get a model").click()
    return panel.root.get_by_role("dialog", name="Get a model")


def find(view: Locator, words: str) -> Locator:
    """Search the hub. Returns the row of the model that is named `words`."""
    view.get_by_role("searchbox").fill(words)
    return view.get_by_role("region", name="Found").get_by_role("listitem", name=words, exact=True)


def button(place: Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True)


def status(page: Page) -> Locator:
    return page.locator("#jp-main-statusbar").get_by_title(re.compile("^Local models use"))


def names(lab: RunningServer) -> list[str]:
    with lab.http() as client:
        return [model["id"] for model in client.get("v1/models").json()["data"]]


def states(lab: RunningServer) -> dict[str, str]:
    with lab.http() as client:
        return {download["model"]: download["state"] for download in client.get("pico/downloads").json()["downloads"]}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_recommended_models_are_grouped_for_this_machine(page: Page, lab: RunningServer, theme: str) -> None:
    panel = lab_sidebar(page, lab)
    use_theme(page, theme)
    view = open_view(panel)
    expect(view.get_by_role("searchbox")).to_be_focused()
    expect(view.get_by_role("status")).to_contain_text(re.compile(r"This machine has .* of memory, .* of it free"))
    model = view.get_by_role("listitem", name="Qwen3 1.7B")
    for text in ("mlx-community/Qwen3-1.7B-4bit", "984 MB on disk", "1.9 GB in memory", "apache-2.0", "Reasoning"):
        expect(model).to_contain_text(text)
    expect(view.get_by_role("region", name="For machines with more memory")).to_contain_text("Too large")
    assert violations(page) == []
    assert view.evaluate("view => view.scrollWidth <= view.clientWidth")
    page.screenshot(path=SCREENSHOTS / f"get-{theme}.png")
    page.keyboard.press("Escape")
    expect(view).to_have_count(0)
    expect(panel.message).to_be_focused()


def test_a_model_is_found_downloaded_used_and_deleted(page: Page, lab: RunningServer, hub: FakeHub) -> None:
    hub.add("mlx-community/Copy-1.4M-4bit", TINY)
    hub.faults = [Fault("slow", "/cdn/", times=9, rate=SLOW)]
    panel = lab_sidebar(page, lab)
    page.get_by_role("tab", name="Running Terminals and Kernels").click()
    view = open_view(panel)
    found = find(view, "Copy-1.4M-4bit")
    button(found, "Size and fit of Copy-1.4M-4bit").click()
    expect(found).to_contain_text("2.9 MB on disk")
    expect(found).to_contain_text("Fits")
    button(found, "Download Copy-1.4M-4bit").click()
    # The progress is in the view, the status bar and the Running panel.
    progress = found.get_by_role("progressbar", name="Download of Copy-1.4M-4bit")
    expect(progress).to_have_attribute("aria-valuetext", re.compile(r"^\d.* of 2\.9 MB · .*/s · \d+ s left$"))
    expect(progress).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]\d?$"))
    expect(status(page)).to_contain_text(re.compile(r"^pico-tiny.* · ↓ Copy-1.4M-4bit \d+ %$"))
    running = page.locator("#jp-running-sessions .jp-RunningSessions-item").filter(has_text="Copy-1.4M-4bit")
    expect(running).to_be_visible()
    assert "Copy-1.4M-4bit" not in names(lab)
    page.screenshot(path=SCREENSHOTS / "get-running.png")
    # The button keeps the focus while its action changes.
    button(found, "Pause Copy-1.4M-4bit").press("Enter")
    expect(found).to_contain_text("Paused · ")
    expect(button(found, "Resume Copy-1.4M-4bit")).to_be_focused()
    expect(running).to_have_count(0)
    assert violations(page) == []
    button(found, "Resume Copy-1.4M-4bit").press("Enter")
    use = button(found, "Use Copy-1.4M-4bit")
    expect(use).to_be_enabled()
    expect(panel.root.get_by_role("button", name="Model: pico-tiny", exact=True, include_hidden=True)).to_have_count(1)
    page.screenshot(path=SCREENSHOTS / "get-complete.png")
    use.click()
    expect(panel.button("Model: Copy-1.4M-4bit")).to_be_visible()
    expect(panel.ask("What is 1 + 1?")).to_contain_text("1 + 1 = 2")
    popover = picker(panel)
    row(popover, "Copy-1.4M-4bit").hover()
    button(popover, "Delete Copy-1.4M-4bit").click()
    expect(popover).to_contain_text("Delete Copy-1.4M-4bit? This frees 2.9 MB.")
    expect(button(popover, "Keep")).to_be_focused()
    page.screenshot(path=SCREENSHOTS / "get-delete.png")
    page.keyboard.press("Enter")
    expect(button(popover, "Delete Copy-1.4M-4bit")).to_be_focused()
    page.keyboard.press("Enter")
    button(popover, "Delete").click()
    expect(popover.get_by_role("combobox")).to_be_focused()
    expect(popover.get_by_role("status")).to_contain_text("Copy-1.4M-4bit is deleted. This freed 2.9 MB.")
    expect(row(popover, "Copy-1.4M-4bit")).to_have_count(0)
    assert "Copy-1.4M-4bit" not in names(lab)


def test_a_download_continues_after_the_page_is_closed(page: Page, lab: RunningServer, hub: FakeHub) -> None:
    hub.add("org/Patient-4bit", TINY)
    hub.faults = [Fault("slow", "/cdn/", times=9, rate=SLOW)]
    panel = lab_sidebar(page, lab)
    url = page.url
    view = open_view(panel)
    button(find(view, "Patient-4bit"), "Download Patient-4bit").click()
    button(view, "Close").click()
    expect(panel.root.get_by_role("progressbar", name="Download of Patient-4bit")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "get-strip.png")
    page.goto("about:blank")
    wait_for(lambda: states(lab).get("org/Patient-4bit") == "complete")
    page.goto(url.partition("?")[0])
    panel = sidebar(page)
    button(panel.root, "Use Patient-4bit").click()
    expect(panel.button("Model: Patient-4bit")).to_be_visible()
    expect(button(panel.root, "Use Patient-4bit")).to_have_count(0)


def test_a_failed_download_says_why_and_is_tried_again(page: Page, lab: RunningServer, hub: FakeHub) -> None:
    hub.add("org/Wrong-4bit", TINY)
    hub.faults = [Fault("wrong", "/cdn/", times=99)]
    panel = lab_sidebar(page, lab)
    use_theme(page, "JupyterLab Dark")
    view = open_view(panel)
    found = find(view, "Wrong-4bit")
    button(found, "Download Wrong-4bit").click()
    expect(button(found, "Try again: Wrong-4bit")).to_be_visible()
    expect(found).to_contain_text("Failed at")
    assert violations(page) == []
    page.screenshot(path=SCREENSHOTS / "get-failed.png")
    hub.faults.clear()
    button(found, "Try again: Wrong-4bit").click()
    expect(button(found, "Use Wrong-4bit")).to_be_enabled()
    # A model can also be deleted here.
    button(found, "Delete Wrong-4bit").click()
    button(found, "Delete").click()
    expect(view.get_by_role("status")).to_contain_text("Wrong-4bit is deleted. This freed 2.9 MB.")
    expect(button(found, "Download Wrong-4bit")).to_be_visible()


def test_a_gated_model_says_what_to_do_and_a_cancelled_download_leaves_nothing(
    page: Page, lab: RunningServer, hub: FakeHub
) -> None:
    hub.add("org/Gated-4bit", TINY, gated=True)
    view = open_view(lab_sidebar(page, lab))
    found = find(view, "Gated-4bit")
    expect(found.get_by_text("Gated", exact=True)).to_be_visible()
    button(found, "Download Gated-4bit").click()
    expect(found).to_contain_text("Accept its conditions at")
    expect(found.get_by_role("link", name=f"{hub.url}/org/Gated-4bit", exact=True)).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "get-gated.png")
    button(found, "Cancel the download of Gated-4bit").click()
    button(found, "Delete").click()
    expect(button(found, "Download Gated-4bit")).to_be_focused()
    assert "org/Gated-4bit" not in states(lab)


def test_a_search_that_fails_says_why(page: Page, lab: RunningServer, hub: FakeHub) -> None:
    hub.faults = [Fault("status", "/api/models", times=9, status=429, headers={"Retry-After": "30"})]
    view = open_view(lab_sidebar(page, lab))
    view.get_by_role("searchbox").fill("anything")
    expect(view.get_by_role("status")).to_contain_text("the hub limits the number of requests for now (429)")


def test_the_narrow_picker_tells_two_quantisations_apart_and_explains_skipped_folders(
    page: Page, lab: RunningServer
) -> None:
    panel = lab_sidebar(page, lab)
    popover = picker(panel)
    for name in ALIKE:
        shown = row(popover, name).locator(".pico-row-name")
        expect(shown).to_have_text(name)
        assert shown.evaluate("name => name.scrollWidth <= name.clientWidth + 1")
    popover.get_by_text("1 folder is not listed").click()
    expect(popover).to_contain_text("Broken-4bit")
    page.screenshot(path=SCREENSHOTS / "get-picker.png")
    row(popover, ALIKE[1]).click()
    shown = panel.button(f"Model: {ALIKE[1]}").locator(".pico-picker-name")
    assert shown.evaluate("name => name.scrollWidth <= name.clientWidth + 1")
    page.screenshot(path=SCREENSHOTS / "get-header.png")


def test_a_panel_in_a_cell_downloads_through_the_server(page: Page, lab: RunningServer, hub: FakeHub) -> None:
    hub.add("org/From-Cell-4bit", TINY)
    run(open_notebook(page, lab, "get.ipynb", SHOW).nth(0))
    panel = widget(page)
    found = find(open_view(panel), "From-Cell-4bit")
    button(found, "Download From-Cell-4bit").click()
    button(found, "Use From-Cell-4bit").click()
    expect(panel.button("Model: From-Cell-4bit")).to_be_visible()


def test_a_panel_without_a_server_says_why_it_downloads_nothing(page: Page, lab: RunningServer) -> None:
    page.route("**/pico/v1/models*", lambda route: route.fulfill(status=404, body="no such page"))
    show = f"import os\nos.environ['JPY_PARENT_PID'] = '0'\n{SHOW}"
    run(open_notebook(page, lab, "alone.ipynb", show).nth(0))
    view = open_view(widget(page))
    expect(view.get_by_role("status")).to_contain_text("This page reaches no Jupyter server with pico_jupyter")


@pytest.mark.skipif(not REAL, reason="PICO_REAL_MODELS names no folder with SmolLM2-135M-Instruct")
def test_a_real_model_is_found_downloaded_and_answers(page: Page, lab: RunningServer, hub: FakeHub) -> None:
    hub.repos["mlx-community/SmolLM2-135M-Instruct"] = HubRepo(
        "mlx-community/SmolLM2-135M-Instruct", Path(REAL) / "SmolLM2-135M-Instruct"
    )
    with lab.http() as client:
        client.put("lab/api/settings/pico-jupyter:panel", json={"raw": '{"temperature": 0}'}).raise_for_status()
    panel = lab_sidebar(page, lab)
    found = find(open_view(panel), "SmolLM2-135M-Instruct")
    button(found, "Size and fit of SmolLM2-135M-Instruct").click()
    expect(found).to_contain_text("271 MB on disk")
    button(found, "Download SmolLM2-135M-Instruct").click()
    use = button(found, "Use SmolLM2-135M-Instruct")
    expect(use).to_be_enabled()
    page.screenshot(path=SCREENSHOTS / "get-real.png")
    use.click()
    expect(panel.ask("What is the capital of France?")).to_contain_text("Paris")
    page.screenshot(path=SCREENSHOTS / "get-real-answer.png")
    popover = picker(panel)
    row(popover, "SmolLM2-135M-Instruct").hover()
    button(popover, "Delete SmolLM2-135M-Instruct").click()
    button(popover, "Delete").click()
    expect(popover.get_by_role("status")).to_contain_text("This freed 271 MB.")
    assert "SmolLM2-135M-Instruct" not in names(lab)
