"""Sample images, and files of the desktop dropped onto the panel."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.panels import Panel, lab_sidebar
from tests.e2e.running import RunningServer
from tests.e2e.shapes import drawn, png


@pytest.fixture
def panel(page: Page, lab: RunningServer) -> Iterator[Panel]:
    """The sidebar. Unloads the vision model at the end, because pages choose a model in memory."""
    yield lab_sidebar(page, lab)
    with lab.http() as client:
        client.post("pico/api/generate", json={"model": "pico-tiny-vl", "keep_alive": 0}).raise_for_status()


def test_the_vision_model_offers_questions_with_sample_images(panel: Panel) -> None:
    panel.choose("pico-tiny-vl")
    for question, answer in (
        ("What color is the shape?", "blue"),
        ("What is in the picture?", "red square on a yellow background"),
        ("How many shapes are there?", "three"),
    ):
        if panel.answers.count():
            panel.button("New conversation").click()
        panel.button(question).click()
        expect(panel.figures).to_be_visible()
        expect(panel.answers).to_contain_text(answer)


def test_a_dropped_file_is_attached_or_rejected_with_the_reason(panel: Panel) -> None:
    attached = panel.root.get_by_role("list", name="Attachments")
    drop(panel, "notes.txt", "text/plain", b"The code is 7.")
    expect(attached).to_contain_text("notes.txt")
    drop(panel, "shape.png", "image/png", png(drawn("blue")))
    expect(panel.root.get_by_text("pico-tiny does not accept images")).to_be_visible()
    drop(panel, "move.mp4", "video/mp4", b"clip")
    expect(panel.root.get_by_text("pico-tiny does not accept videos")).to_be_visible()
    drop(panel, "files.zip", "application/zip", b"PK\x03\x04\x00\x00")
    expect(panel.root.get_by_text("files.zip is not a text, image or video file")).to_be_visible()
    drop(panel, "all.csv", "text/csv", b"1,2\n" * 300_000)
    expect(panel.root.get_by_text("all.csv is too large to attach")).to_be_visible()
    expect(attached.get_by_role("listitem")).to_have_count(1)
    panel.choose("pico-tiny-vl")
    drop(panel, "shape.png", "image/png", png(drawn("blue")))
    expect(attached.locator("img")).to_be_visible()


def drop(panel: Panel, name: str, kind: str, data: bytes) -> None:
    """Drop a file of the desktop onto the messages."""
    transfer = panel.page.evaluate_handle(
        """([name, type, encoded]) => {
            const bytes = Uint8Array.from(atob(encoded), character => character.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type }));
            return data;
        }""",
        [name, kind, base64.b64encode(data).decode()],
    )
    for event in ("dragenter", "dragover", "drop"):
        panel.root.get_by_role("log").dispatch_event(event, {"dataTransfer": transfer})
