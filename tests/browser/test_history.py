"""Saved conversations: on disk, after reloads, and in two windows."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import lab_arguments
from tests.browser.panels import CHATS, LONG, PATIENCE_SECONDS, SUM, lab_sidebar, reload, sidebar
from tests.e2e.running import RunningServer, running_server, wait_for


def saved_messages(lab: RunningServer, question: str) -> list[dict[str, Any]]:
    """The saved messages of the conversation that begins with `question`; [] without a file."""
    for path in sorted((lab.log.parent / CHATS).glob("*.json"), key=lambda path: -path.stat().st_mtime):
        messages = _messages(path)
        if messages and messages[0]["content"] == question:
            return messages
    return []


def _messages(path: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(path.read_text())["messages"])
    except ValueError:
        return []  # The file is being written.


def test_a_saved_conversation_is_found_renamed_and_deleted(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 20 + 22?")
    wait_for(lambda: [message["status"] for message in saved_messages(lab, "What is 20 + 22?")] == ["done", "done"])
    panel.button("New conversation").click()
    expect(panel.answers).to_have_count(0)
    panel.button("Conversations").click()
    panel.root.get_by_role("textbox", name="Find a conversation").fill("20 22")
    panel.root.locator(".pico-row-button").click()
    expect(panel.answers).to_contain_text("42")
    panel.button("Conversations").click()
    panel.button("Rename What is 20 + 22?").click()
    title = panel.root.get_by_role("textbox", name="Title")
    title.fill("The answer")
    title.press("Enter")
    panel.button("Delete The answer").click()
    panel.button("Delete").click()
    wait_for(lambda: saved_messages(lab, "What is 20 + 22?") == [])
    expect(panel.answers).to_have_count(0)


def test_a_reload_during_an_answer_loses_nothing(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    panel.send(LONG)
    wait_for(lambda: len(panel.answers.inner_text()) > 200, PATIENCE_SECONDS)
    text = panel.answers.locator(".pico-md").inner_text()
    panel = sidebar(reload(page))
    expect(panel.answers).to_contain_text("Interrupted")
    expect(panel.root.get_by_role("radio", name="Reasoning: Off")).to_be_checked()
    received = panel.answers.locator(".pico-md").inner_text()
    assert received.startswith(text)
    panel.button("Continue").click()
    wait_for(lambda: len(panel.answers.locator(".pico-md").inner_text()) > len(received) + 20, PATIENCE_SECONDS)
    assert panel.answers.locator(".pico-md").inner_text().startswith(received)
    panel.button("Stop").click()
    expect(panel.answers).to_contain_text("Stopped")
    panel.button("Regenerate").click()
    expect(panel.button("Stop")).to_be_visible()
    panel.message.press("Escape")
    expect(panel.answers).to_contain_text("Stopped")


def test_two_windows_keep_the_messages_of_both(context: BrowserContext, page: Page, lab: RunningServer) -> None:
    one = lab_sidebar(page, lab)
    one.ask("What is 30 + 1?")
    wait_for(lambda: len(saved_messages(lab, "What is 30 + 1?")) == 2)
    two = lab_sidebar(context.new_page(), lab)
    two.open_conversation("What is 30 + 1?")
    expect(two.answers).to_contain_text("31")
    two.ask("What is 30 + 2?")
    expect(one.answers.nth(1)).to_contain_text("32")
    one.ask("What is 30 + 3?")
    expect(two.answers.nth(2)).to_contain_text("33")
    wait_for(lambda: len(saved_messages(lab, "What is 30 + 1?")) == 6)


def test_an_answer_continues_while_another_conversation_is_open(page: Page, lab: RunningServer) -> None:
    folder = lab.log.parent / CHATS
    count = len(list(folder.glob("*.json")))
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    panel.send(LONG)
    expect(panel.button("Stop")).to_be_visible()
    panel.button("New conversation").click()
    panel.reason("On")
    expect(panel.ask(SUM)).to_contain_text("625")
    wait_for(lambda: len(list(folder.glob("*.json"))) == count + 2)
    panel.open_conversation("Repeat after me")
    panel.button("Stop").click()
    expect(panel.answers).to_contain_text("Stopped")


def test_an_export_does_not_overwrite_files(page: Page, lab: RunningServer) -> None:
    folder = lab.log.parent
    (folder / "What is 40 + 4.md").write_text("mine")
    panel = lab_sidebar(page, lab)
    panel.ask("What is 40 + 4?")
    for kind, name in (("Markdown", "What is 40 + 4 1.md"), ("notebook", "What is 40 + 4.ipynb")):
        panel.button("More").click()
        panel.root.get_by_role("menuitem", name=f"Export as {kind}").click()
        expect(page.get_by_role("tab", name=name)).to_be_visible()
        assert "40 + 4 = 44" in (folder / name).read_text()
    assert (folder / "What is 40 + 4.md").read_text() == "mine"
    expect(page.locator(".jp-NotebookPanel .jp-RenderedMarkdown").last).to_contain_text("40 + 4 = 44")
    nbformat.validate(nbformat.read(folder / "What is 40 + 4.ipynb", as_version=4))


def test_an_answer_continues_after_the_server_was_restarted(
    browser: Browser, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arguments = lab_arguments(tmp_path_factory.mktemp("settings"))
    with closing(browser.new_context()) as context:
        context.set_default_timeout(1000 * PATIENCE_SECONDS)
        page = context.new_page()
        # JupyterLab reports the lost connection in a dialog.
        page.add_locator_handler(page.locator(".jp-Dialog"), lambda dialog: dialog.get_by_role("button").last.click())
        with running_server(tmp_path, *arguments) as lab:
            panel = lab_sidebar(page, lab)
            panel.reason("Off")
            panel.send(LONG)
            wait_for(lambda: len(panel.answers.inner_text()) > 200, PATIENCE_SECONDS)
        expect(panel.answers.get_by_role("alert")).to_contain_text("could not answer")
        received = panel.answers.locator(".pico-md").inner_text()
        with running_server(tmp_path, *arguments, port=urlsplit(lab.url).port or 0, token=lab.token):
            panel.button("Continue").click()
            wait_for(lambda: len(panel.answers.locator(".pico-md").inner_text()) > len(received) + 20, PATIENCE_SECONDS)
            assert panel.answers.locator(".pico-md").inner_text().startswith(received)
            panel.button("Stop").click()
            expect(panel.answers).to_contain_text("Stopped")
            wait_for(
                lambda: [message["status"] for message in saved_messages(lab, LONG)] == ["done", "stopped"],
                PATIENCE_SECONDS,
            )
