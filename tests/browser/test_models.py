"""The model picker, the status bar and the Running panel."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SCREENSHOTS, lab_arguments
from tests.browser.panels import Panel, lab_sidebar, reload, sidebar
from tests.browser.test_look import use_theme, violations
from tests.browser.wide_models import write_wide_model
from tests.e2e.running import RunningServer, running_server

BUDGET = 2_000_000_000
# MLP widths of pico-tiny: 0.45 GB on disk and twice that in float32, and more than the budget in both.
FITTING, TOO_WIDE = 98_304, 700_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with 2 GB for models: one model loads slowly, and one is too large."""
    models = tmp_path_factory.mktemp("models")
    write_wide_model(models / "roomy", FITTING)
    write_wide_model(models / "enormous", TOO_WIDE)
    arguments = [f"--PicoJupyter.memory_budget={BUDGET}", f"--PicoJupyter.model_dirs={models}"]
    folder = tmp_path_factory.mktemp("lab")
    with running_server(folder, *lab_arguments(tmp_path_factory.mktemp("settings")), *arguments) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_loaded(lab: RunningServer) -> None:
    """Unload all models before each test."""
    with lab.http() as client:
        for name in loaded(client):
            client.post("api/generate", json={"model": name, "keep_alive": 0})


def loaded(client: httpx.Client) -> list[str]:
    return [need["model"] for need in client.get("v1/memory").json()["needs"] if need["fit"] == "loaded"]


def picker(panel: Panel) -> Locator:
    """Open the model picker."""
    panel.root.get_by_role("button", name=re.compile("^Model: ")).click()
    return panel.root.locator(".pico-popover")


def row(popover: Locator, model: str) -> Locator:
    return popover.get_by_role("option", name=re.compile(rf"^{model}\b(?!-)"))


def record_states(page: Page, selector: str) -> None:
    """Record in `window.seen` all states of the element, because some of them are short."""
    page.evaluate(
        """selector => {
            window.seen = [];
            const record = () => {
                const html = document.querySelector(selector)?.outerHTML;
                if (html && window.seen.at(-1) !== html) window.seen.push(html);
            };
            const observer = new MutationObserver(record);
            observer.observe(document.body, { subtree: true, childList: true, characterData: true });
        }""",
        selector,
    )


def was_seen(page: Page, pattern: str) -> bool:
    return any(re.search(pattern, html) for html in page.evaluate("window.seen"))


def status(page: Page) -> Locator:
    return page.locator("#jp-main-statusbar").get_by_title(re.compile("^Local models use"))


def test_the_picker_says_what_fits_and_a_model_that_is_too_large_cannot_be_chosen(
    page: Page, lab: RunningServer
) -> None:
    panel = lab_sidebar(page, lab)
    popover = picker(panel)
    expect(row(popover, "pico-tiny")).to_contain_text("Fits: needs ")
    enormous = row(popover, "enormous")
    expect(enormous).to_contain_text("Too large for this machine: needs 3.3 GB of 2.0 GB")
    expect(enormous).to_have_attribute("aria-disabled", "true")
    enormous.click(force=True)  # Forced, because Playwright does not click disabled elements.
    expect(popover.get_by_role("status")).to_contain_text("enormous does not fit into memory")
    expect(popover.get_by_role("button", name="Load now")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(popover).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel.button("Model: pico-tiny")).to_be_focused()


def test_the_engine_rejects_a_load_with_the_sizes_that_the_picker_shows(page: Page, lab: RunningServer) -> None:
    with lab.http() as client:
        rejection = client.post("api/generate", json={"model": "enormous"})
    assert "enormous needs 3.3 GB, and the memory budget is 2.0 GB" in rejection.json()["error"]


def test_the_picker_shows_the_progress_of_a_load(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    popover = picker(panel)
    row(popover, "roomy").hover()
    record_states(page, ".pico-row .pico-load")
    popover.get_by_role("button", name="Load now").click()
    page.screenshot(path=SCREENSHOTS / "picker-loading.png")
    in_memory = popover.get_by_role("group", name="In memory")
    expect(row(in_memory, "roomy")).to_contain_text("908 MB")
    expect(status(page)).to_have_text("pico-tiny · 908 MB")
    assert was_seen(page, r"role=\"progressbar\" aria-label=\"Loading roomy\" aria-valuenow=\"\d+\"")
    assert was_seen(page, r"Loading roomy: \d.* of 908 MB")
    popover.get_by_role("button", name="Unload").click()
    expect(in_memory).to_have_count(0)
    expect(status(page)).to_have_text("pico-tiny")


def test_the_first_question_shows_the_progress_of_its_load_in_the_panel_and_the_status_bar(
    page: Page, lab: RunningServer
) -> None:
    panel = lab_sidebar(page, lab)
    panel.choose("roomy")
    panel.reason("Off")
    record_states(page, "body:has(.pico-answer .pico-load) #jp-main-statusbar")
    expect(panel.ask("What is 1 + 1?")).to_contain_text("1 + 1 = 2")
    assert was_seen(page, r"roomy · loading, \d+ %")
    expect(status(page)).to_contain_text("roomy · 9")


def test_memory_is_not_requested_while_no_model_loads(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    expect(status(page)).to_contain_text("MB")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/v1/memory" in request.url else None)
    panel.ask("What is 2 + 2?")
    assert requests == []


def test_the_running_panel_unloads_and_the_status_bar_follows(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    expect(status(page)).to_contain_text("MB")
    page.get_by_role("tab", name="Running Terminals and Kernels").click()
    item = page.locator("#jp-running-sessions .jp-RunningSessions-item")
    item = item.filter(has=page.get_by_text("pico-tiny", exact=True))
    item.hover()
    item.get_by_title("Unload").click()
    expect(item).to_have_count(0)
    expect(status(page)).to_have_text("pico-tiny")
    with lab.http() as client:
        assert loaded(client) == []


def test_loads_and_unloads_of_other_clients_are_shown(page: Page, lab: RunningServer) -> None:
    lab_sidebar(page, lab)
    with lab.http() as client:
        client.post("api/generate", json={"model": "pico-tiny-vl"}).raise_for_status()
        expect(status(page)).to_contain_text("MB")
        client.post("api/generate", json={"model": "pico-tiny-vl", "keep_alive": 0}).raise_for_status()
    expect(status(page)).to_have_text("pico-tiny")


def test_the_model_that_was_chosen_last_is_chosen_after_a_reload(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    with page.expect_response(lambda response: "/api/settings/" in response.url and response.request.method == "PUT"):
        panel.choose("pico-tiny-vl")
    panel = sidebar(reload(page), "pico-tiny-vl")
    panel.ask("Hello")
    panel.button("New conversation").click()
    expect(panel.button("Model: pico-tiny-vl")).to_be_visible()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_picker_is_accessible_and_not_cut_off_in_a_narrow_sidebar(
    page: Page, lab: RunningServer, theme: str
) -> None:
    panel = lab_sidebar(page, lab)
    edges = panel.root.bounding_box()
    assert edges is not None
    assert edges["width"] < 300
    use_theme(page, theme)
    panel.ask("What is 1 + 1?")
    popover = picker(panel)
    for model in ("pico-tiny-vl", "enormous"):
        row(popover, model).hover()
        expect(popover.get_by_role("status")).to_contain_text(model)
        assert violations(page) == []
        page.screenshot(path=SCREENSHOTS / f"picker-{theme}-{model}.png")
    assert popover.evaluate("box => box.scrollWidth <= box.clientWidth")
