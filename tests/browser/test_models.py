"""The model picker, the status bar and the Running panel: what fits, what loads, what is remembered."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SCREENSHOTS, lab_arguments
from tests.browser.panels import Panel, lab_sidebar, reload, sidebar
from tests.browser.test_look import barriers, use_theme
from tests.browser.wide_models import write_wide_model
from tests.e2e.running import RunningServer, running_server

BUDGET = 2_000_000_000
# Of pico-tiny's width each: 0.45 GB on disk, twice that in float32; and more than the budget in either.
FITTING, TOO_WIDE = 98_304, 700_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with 2 GB for models, of which one takes a while to load and one is too large."""
    models = tmp_path_factory.mktemp("models")
    write_wide_model(models / "roomy", FITTING)
    write_wide_model(models / "enormous", TOO_WIDE)
    arguments = [f"--PicoJupyter.memory_budget={BUDGET}", f"--PicoJupyter.model_dirs={models}"]
    folder = tmp_path_factory.mktemp("lab")
    with running_server(folder, *lab_arguments(tmp_path_factory.mktemp("settings")), *arguments) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_loaded(lab: RunningServer) -> None:
    """Every test begins with an empty memory."""
    with lab.http() as client:
        for name in loaded(client):
            client.post("api/generate", json={"model": name, "keep_alive": 0})


def loaded(client: httpx.Client) -> list[str]:
    return [need["model"] for need in client.get("v1/memory").json()["needs"] if need["fit"] == "loaded"]


def picker(panel: Panel) -> Locator:
    """The picker, opened."""
    panel.root.get_by_role("button", name=re.compile("^Model: ")).click()
    return panel.root.locator(".pico-popover")


def row(popover: Locator, model: str) -> Locator:
    return popover.get_by_role("option", name=re.compile(rf"^{model}\b(?!-)"))


def watch(page: Page, selector: str) -> None:
    """Have the page note in `seen` how the element looks from now on. Some of it is there for a moment only."""
    page.evaluate(
        """selector => {
            window.seen = [];
            const look = () => {
                const html = document.querySelector(selector)?.outerHTML;
                if (html && window.seen.at(-1) !== html) window.seen.push(html);
            };
            new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
        }""",
        selector,
    )


def was_seen(page: Page, pattern: str) -> bool:
    return any(re.search(pattern, html) for html in page.evaluate("window.seen"))


def status(page: Page) -> Locator:
    return page.locator("#jp-main-statusbar").get_by_title(re.compile("^Local models take"))


def test_what_fits_is_told_and_what_cannot_is_not_chosen(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    popover = picker(panel)
    expect(row(popover, "pico-tiny")).to_contain_text("Fits: takes ")
    enormous = row(popover, "enormous")
    expect(enormous).to_contain_text("Too large for this machine: needs 3.3 GB of 2.0 GB")
    expect(enormous).to_have_attribute("aria-disabled", "true")
    enormous.click(force=True)  # to be sure: Playwright leaves alone what is disabled
    expect(popover.get_by_role("status")).to_contain_text("enormous cannot be loaded here")
    expect(popover.get_by_role("button", name="Load now")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(popover).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel.button("Model: pico-tiny")).to_be_focused()


def test_the_engine_refuses_with_the_figures_that_the_picker_shows(page: Page, lab: RunningServer) -> None:
    with lab.http() as client:
        refusal = client.post("api/generate", json={"model": "enormous"})
    assert "enormous needs 3.3 GB and models may take 2.0 GB here" in refusal.json()["error"]


def test_a_load_shows_in_the_picker_how_far_it_is(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    popover = picker(panel)
    row(popover, "roomy").hover()
    watch(page, ".pico-row .pico-load")
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


def test_the_first_question_shows_how_far_its_model_is_there_and_in_the_status_bar(
    page: Page, lab: RunningServer
) -> None:
    panel = lab_sidebar(page, lab)
    panel.choose("roomy")
    panel.reason("Off")
    watch(page, "body:has(.pico-answer .pico-load) #jp-main-statusbar")
    expect(panel.ask("What is 1 + 1?")).to_contain_text("1 + 1 = 2")
    assert was_seen(page, r"roomy · loading, \d+ %")
    expect(status(page)).to_contain_text("roomy · 9")


def test_nothing_is_asked_while_nothing_loads(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    expect(status(page)).to_contain_text("MB")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/v1/memory" in request.url else None)
    panel.ask("What is 2 + 2?")
    assert asked == []


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


def test_a_model_that_others_load_and_unload_is_followed(page: Page, lab: RunningServer) -> None:
    lab_sidebar(page, lab)
    with lab.http() as client:
        client.post("api/generate", json={"model": "pico-tiny-vl"}).raise_for_status()
        expect(status(page)).to_contain_text("MB")
        client.post("api/generate", json={"model": "pico-tiny-vl", "keep_alive": 0}).raise_for_status()
    expect(status(page)).to_have_text("pico-tiny")


def test_the_model_that_was_picked_last_is_the_next_one_s(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    with page.expect_response(lambda response: "/api/settings/" in response.url and response.request.method == "PUT"):
        panel.choose("pico-tiny-vl")
    panel = sidebar(reload(page), "pico-tiny-vl")
    panel.ask("Hello")
    panel.button("New conversation").click()
    expect(panel.button("Model: pico-tiny-vl")).to_be_visible()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_the_picker_has_no_barriers_and_nothing_is_cut_off_in_a_narrow_sidebar(
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
        assert barriers(page) == []
        page.screenshot(path=SCREENSHOTS / f"picker-{theme}-{model}.png")
    assert popover.evaluate("box => box.scrollWidth <= box.clientWidth")
