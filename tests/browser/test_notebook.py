"""ChatPanel in a notebook, in JupyterLab and in Notebook 7."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from playwright.sync_api import Locator, Page, expect

from tests.browser.panels import (
    CHATS,
    LONG,
    PATIENCE_SECONDS,
    SHOW,
    SUM,
    Panel,
    answer_with,
    open_lab,
    open_notebook,
    open_notebook_7,
    run,
    sidebar,
    widget,
)
from tests.e2e.running import RunningServer, wait_for
from tests.e2e.shapes import drawn, png


def test_the_panel_in_a_cell_answers_and_python_sees_it(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "cell.ipynb", SHOW, "print(panel, panel.messages[-1]['content'], panel.transport)")
    run(cells.nth(0))
    panel = widget(page)
    expect(panel.ask(SUM)).to_contain_text("348 + 277 = 625")
    run(cells.nth(1))
    expect(cells.nth(1)).to_contain_text("2 messages) 348 + 277 = 625 http")
    # Keys typed in the panel neither run nor add a cell.
    panel.message.press_sequentially("bb")
    panel.message.press("Shift+Enter")
    expect(panel.message).to_have_value("bb\n")
    expect(cells).to_have_count(2)


def test_python_asks_and_the_panel_shows_it(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "ask.ipynb", SHOW, f"print(await panel.aask({SUM!r}))", "panel.reasoning = 'off'")
    run(cells.nth(0))
    panel = widget(page)
    run(cells.nth(1))
    expect(cells.nth(1).locator(".jp-OutputArea")).to_contain_text("348 + 277 = 625")
    expect(panel.answers).to_contain_text("348 + 277 = 625")
    run(cells.nth(2))
    expect(panel.root.get_by_role("radio", name="Reasoning: Off")).to_be_checked()


def test_without_a_server_the_kernel_answers(page: Page, lab: RunningServer) -> None:
    page.route("**/pico/v1/models*", lambda route: route.fulfill(status=404, body="no such page"))
    show = f"import os\nos.environ['JPY_PARENT_PID'] = '0'\n{SHOW}"
    cells = open_notebook(page, lab, "alone.ipynb", show, "panel.transport")
    run(cells.nth(0))
    panel = widget(page)
    expect(panel.ask(SUM)).to_contain_text("348 + 277 = 625")
    panel.button("New conversation").click()
    panel.reason("Off")
    panel.send(LONG)
    expect(panel.answers).to_contain_text("oror")
    panel.button("Stop").click()
    expect(panel.answers).to_contain_text("Stopped")
    run(cells.nth(1))
    expect(cells.nth(1)).to_contain_text("'kernel'")


def test_code_is_inserted_into_the_notebook(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "insert.ipynb", "first = 1")
    panel = sidebar(page)
    cells.nth(0).locator(".cm-content").click()
    panel.button("Attach the selected cells").click()
    expect(panel.root.get_by_role("list", name="Attachments")).to_contain_text("insert.ipynb, cell 1")
    panel.button("Remove insert.ipynb, cell 1").click()
    answer_with(page.context, "So:\n\n```python\nsecond = 2\n```\n\n1. and\n   ```python\n   third = 3\n   ```")
    panel.ask("hello")
    codes = panel.root.get_by_role("figure")
    cells.nth(0).locator(".cm-content").click()
    page.keyboard.press("End")
    codes.nth(0).get_by_role("button", name="Insert into the active cell").click()
    expect(cells.nth(0).locator(".cm-line")).to_have_text(["first = 1", "second = 2"])
    codes.nth(0).get_by_role("button", name="Insert in a new cell below").click()
    expect(cells).to_have_count(2)
    expect(cells.nth(1).locator(".cm-content")).to_have_text("second = 2")
    codes.nth(1).get_by_role("button", name="Replace the active cell").click()
    expect(cells.nth(1).locator(".cm-content")).to_have_text("third = 3")
    codes.nth(0).get_by_role("button", name="Copy code").click()
    expect(codes.nth(0).get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "second = 2"


def test_files_of_the_browser_and_cells_are_dropped_onto_the_panel(page: Page, lab: RunningServer) -> None:
    folder = lab.log.parent
    (folder / "notes.txt").write_text("The code is 7.")
    (folder / "shape.png").write_bytes(png(drawn("blue")))
    cells = open_notebook(page, lab, "drag.ipynb", "first = 1")
    panel = sidebar(page)
    attached = panel.root.get_by_role("list", name="Attachments")
    page.get_by_role("button", name="Refresh").or_(page.get_by_title("Refresh the file browser.")).first.click()
    files = page.locator(".jp-DirListing-item")
    drag(page, files.filter(has_text="notes.txt"), panel.message)
    expect(attached).to_contain_text("notes.txt")
    drag(page, files.filter(has_text="shape.png"), panel.root.get_by_role("log"))
    expect(panel.root.get_by_text("pico-tiny does not accept images")).to_be_visible()
    panel.choose("pico-tiny-vl")
    drag(page, files.filter(has_text="shape.png"), panel.message)
    expect(attached.locator("img")).to_be_visible()
    cells.nth(0).locator(".cm-content").click()
    drag(page, cells.nth(0).locator(".jp-InputPrompt"), panel.message)
    expect(attached).to_contain_text("drag.ipynb, cell 1")
    expect(cells).to_have_count(1)
    requests = answer_with(page.context, "So it is.")
    panel.ask("What is the code?")
    (content,) = [part["text"] for part in requests[0]["messages"][0]["content"] if part["type"] == "text"]
    assert "The code is 7." in content
    assert "first = 1" in content


def drag(page: Page, source: Locator, target: Locator) -> None:
    """Drag with the mouse, in steps, because JupyterLab ignores jumps."""
    for place, press in ((source, page.mouse.down), (target, page.mouse.up)):
        box = place.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y, steps=10)
        press()


def test_notebook_7_has_the_panel_in_cells_and_in_its_sidebar(page: Page, lab: RunningServer) -> None:
    cells = open_notebook_7(page, lab, "seven.ipynb", SHOW)
    run(cells.nth(0))
    expect(widget(page).ask(SUM)).to_contain_text("348 + 277 = 625")
    page.keyboard.press("ControlOrMeta+Alt+c")
    beside = Panel(page, page.locator("#pico-chat-sidebar").get_by_role("region", name="Chat with a local model"))
    beside.wait_for_models()
    expect(beside.ask("What is 1 + 1?")).to_contain_text("2")
    wait_for((lab.log.parent / CHATS).is_dir)


def test_the_conversation_is_saved_with_the_notebook(page: Page, lab: RunningServer) -> None:
    notebook = lab.log.parent / "saved.ipynb"
    cells = open_notebook(page, lab, notebook.name, SHOW)
    run(cells.nth(0))
    panel = widget(page)
    panel.root.evaluate("panel => { panel.isTheFirst = true; }")
    expect(panel.ask(SUM)).to_contain_text("348 + 277 = 625")
    panel.message.fill("a draft")
    page.keyboard.press("ControlOrMeta+s")
    wait_for(lambda: "348 + 277 = 625" in saved_markdown(notebook), PATIENCE_SECONDS)
    assert "<summary>Thinking</summary>" in saved_markdown(notebook)
    expect(panel.message).to_have_value("a draft")
    assert panel.root.evaluate("panel => panel.isTheFirst")
    html, _ = HTMLExporter().from_filename(str(notebook))
    assert "348 + 277 = 625" in html
    assert "widget-view" not in html
    shut_down_kernels(lab)
    open_lab(page, lab, f"/tree/{notebook.name}")
    output = cells.nth(0).locator(".pico-output")
    expect(output).to_contain_text("348 + 277 = 625")
    expect(output).not_to_contain_text("rror displaying widget")
    output.get_by_text("Thinking").click()
    expect(output.get_by_text("8+7")).to_be_visible()


def test_without_a_contents_api_there_is_no_history(page: Page, lab: RunningServer) -> None:
    page.route("**/api/contents/?content=0", lambda route: route.fulfill(status=403, body="no"))
    cells = open_notebook(page, lab, "nowhere.ipynb", SHOW)
    run(cells.nth(0))
    panel = widget(page)
    expect(panel.ask("What is 60 + 6?")).to_contain_text("66")
    expect(panel.button("Conversations")).to_have_count(0)


def test_panels_in_cells_and_in_the_sidebar_share_their_conversations(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "kept.ipynb", SHOW, "print(panel.file, len(panel.messages))")
    run(cells.nth(0))
    panel = widget(page)
    expect(panel.ask("What is 50 + 5?")).to_contain_text("55")
    panel.button("New conversation").click()
    expect(panel.answers).to_have_count(0)
    panel.open_conversation("What is 50 + 5?")
    expect(panel.answers).to_contain_text("55")
    page.keyboard.press("ControlOrMeta+s")
    wait_for(lambda: "50 + 5 = 55" in saved_markdown(lab.log.parent / "kept.ipynb"), PATIENCE_SECONDS)
    page.reload()
    panel = widget(page)
    expect(panel.answers).to_contain_text("55")
    expect(panel.ask("What is 50 + 6?")).to_contain_text("56")
    run(cells.nth(1))
    expect(cells.nth(1)).to_contain_text(".json 4")
    beside = sidebar(page)
    beside.open_conversation("What is 50 + 5?")
    expect(beside.answers).to_have_count(2)
    saved = [path for path in (lab.log.parent / CHATS).glob("*.json") if "What is 50 + 5?" in path.read_text()]
    assert len(saved) == 1


def test_a_conversation_in_a_cell_is_exported_and_its_code_is_inserted_below(page: Page, lab: RunningServer) -> None:
    cells = open_notebook(page, lab, "out.ipynb", SHOW)
    run(cells.nth(0))
    panel = widget(page)
    answer_with(page.context, "So:\n\n```python\nsecond = 2\n```")
    panel.ask("Count")
    panel.root.get_by_role("figure").get_by_role("button", name="Insert in a new cell below").click()
    expect(cells.nth(1).locator(".cm-content")).to_have_text("second = 2")
    panel.button("More").click()
    panel.root.get_by_role("menuitem", name="Export as notebook").click()
    expect(page.get_by_role("tab", name="Count.ipynb")).to_be_visible()
    exported = read_notebook(lab.log.parent / "Count.ipynb")
    assert [cell.source for cell in exported.cells if cell.cell_type == "code"] == ["second = 2"]


def saved_markdown(notebook: Path) -> str:
    """The saved Markdown of the first cell's outputs; "" while the file is being written."""
    try:
        outputs = read_notebook(notebook).cells[0].outputs
    except nbformat.reader.NotJSONError:
        return ""
    return "".join(output.data["text/markdown"] for output in outputs)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read and validate a notebook."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def shut_down_kernels(lab: RunningServer) -> None:
    with lab.http() as client:
        for session in client.get("api/sessions").json():
            client.delete(f"api/sessions/{session['id']}")
