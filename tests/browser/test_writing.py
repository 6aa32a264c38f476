"""What people write: input methods, pastes, titles, right-to-left text and formulas, in JupyterLab."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.panels import answer_with, lab_sidebar
from tests.e2e.running import RunningServer

# A key that an input method handles: as most browsers report it, and as Safari reports the last one.
COMPOSING = {"isComposing": True}
SAFARI = {"isComposing": False, "keyCode": 229}
PASTE = """(area, {text, html, image}) => {
    const data = new DataTransfer();
    if (text) data.setData('text/plain', text);
    if (html) data.setData('text/html', html);
    if (image) data.items.add(new File([new Uint8Array([137, 80, 78, 71])], 'image.png', { type: 'image/png' }));
    return area.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}"""
MIXED = """## שלום עולם

זהו טקסט בעברית עם `print(1, 2)` ועם $x^2 + y^2$ בתוכו.

1. פריט ראשון
2. Second item (LTR).

| שם | ערך |
|-|-|
| אלף | 1 |

> ציטוט: مرحبا!

```python
print("שלום")  # comment
```

An English paragraph with the pid `$$` and $VAR1 or $VAR2, 5$ or 10$.

$$
\\int_0^1 x\\,dx
= \\frac{1}{2}
$$

Then \\(a+b\\), array\\[0\\] and \\[ E = mc^2 \\]

First.[^1] And a [link].

- [INFO]: done

[link]: https://example.com
[^1]: Smith et al., 2020."""


def press(field: Locator, key: str, how: dict[str, object]) -> None:
    field.dispatch_event("keydown", {"key": key, "bubbles": True, "cancelable": True, **how})


@pytest.mark.parametrize("how", [COMPOSING, SAFARI], ids=["composing", "safari"])
def test_keys_of_an_input_method_are_not_keys_of_the_panel(
    page: Page, lab: RunningServer, how: dict[str, object]
) -> None:
    panel = lab_sidebar(page, lab)
    requests = answer_with(page.context, "ok")
    panel.message.fill("にほん")
    press(panel.message, "Enter", how)
    expect(panel.message).to_have_value("にほん")
    assert requests == []
    with page.expect_response(lambda response: response.request.method == "PUT" and "/Chats/" in response.url):
        panel.ask("日本")
    panel.root.get_by_role("article", name="You").hover()
    panel.button("Edit and resend").click()
    editor = panel.root.get_by_role("textbox", name="Edit message")
    press(editor, "Escape", how)
    press(editor, "Enter", how)
    expect(editor).to_be_visible()
    editor.press("Escape")
    expect(editor).to_have_count(0)
    panel.button("Conversations").click()
    panel.root.get_by_role("button", name="Rename 日本").first.click()
    title = panel.root.get_by_role("textbox", name="Title")
    press(title, "Enter", how)
    press(title, "Escape", how)
    expect(title).to_be_visible()
    title.press("Escape")
    panel.root.get_by_role("button", name=re.compile("^Model: ")).click()
    search = panel.root.get_by_role("combobox", name="Find a model")
    search.fill("vl")
    press(search, "Enter", how)
    press(search, "Escape", how)
    expect(search).to_be_visible()
    search.press("Enter")
    expect(panel.button("Model: pico-tiny-vl")).to_be_visible()


def test_cells_of_a_spreadsheet_are_pasted_as_text(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.choose("pico-tiny-vl")
    cells = {"text": "a\t1\n", "html": "<table><tr><td>a</td><td>1</td></tr></table>", "image": True}
    assert panel.message.evaluate(PASTE, cells)
    assert not panel.message.evaluate(PASTE, {"image": True})
    expect(panel.root.get_by_role("list", name="Attachments").get_by_role("listitem")).to_have_count(1)


@pytest.mark.parametrize(
    ("question", "name"),
    [("x" * 58 + "🎉🎉🎉", "x" * 58 + "🎉…"), (".env file: what is it?", "env file what is it")],
    ids=["emoji", "dot"],
)
def test_a_conversation_is_exported_whatever_its_title(
    page: Page, lab: RunningServer, question: str, name: str
) -> None:
    panel = lab_sidebar(page, lab)
    answer_with(page.context, "ok")
    panel.ask(question)
    for kind, ending in (("Markdown", ".md"), ("notebook", ".ipynb")):
        panel.button("More").click()
        panel.root.get_by_role("menuitem", name=f"Export as {kind}").click()
        expect(page.get_by_role("tab", name=name + ending)).to_be_visible()
    exported = nbformat.read(lab.log.parent / f"{name}.ipynb", as_version=4)
    assert exported.cells[0].source.startswith("# ")


def test_each_block_has_the_direction_of_its_text(page: Page, lab: RunningServer) -> None:
    page.set_viewport_size({"width": 1280, "height": 1500})
    panel = lab_sidebar(page, lab)
    answer_with(page.context, MIXED)
    answer = panel.ask("مرحبا، كيف حالك؟ (test)")
    direction = "element => getComputedStyle(element).direction"
    assert panel.root.locator(".pico-bubble").evaluate(direction) == "rtl"
    assert answer.locator("h2").evaluate(direction) == "rtl"
    assert answer.locator("ol").evaluate(direction) == "rtl"
    assert answer.locator("table").evaluate(direction) == "rtl"
    assert answer.locator("p code").first.evaluate(direction) == "ltr"
    assert answer.locator("p math").first.evaluate(direction) == "ltr"
    assert answer.locator("figure pre").evaluate(direction) == "ltr"
    assert answer.get_by_text("An English paragraph").evaluate(direction) == "ltr"
    panel.message.fill("שלום")
    assert panel.message.evaluate(direction) == "rtl"
    expect(answer.locator("math")).to_have_count(4)
    expect(answer.get_by_text("[INFO]: done")).to_have_count(1)
    expect(answer.get_by_text("Smith et al.")).to_have_count(1)
    expect(answer.get_by_role("link", name="link")).to_have_attribute("href", "https://example.com")


def test_a_new_conversation_logs_no_errors(page: Page, lab: RunningServer) -> None:
    errors: list[str] = []
    panel = lab_sidebar(page, lab)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("response", lambda response: errors.append(response.url) if response.status >= 400 else None)
    answer_with(page.context, "ok")
    for question in ("one", "two"):
        panel.ask(question)
        panel.button("New conversation").click()
    panel.open_conversation("one")
    expect(panel.answers).to_have_count(1)
    panel.button("More").click()
    panel.root.get_by_role("menuitem", name="Export as Markdown").click()
    expect(page.get_by_role("tab", name="one.md")).to_be_visible()
    assert errors == []
