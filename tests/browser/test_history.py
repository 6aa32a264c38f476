"""Conversations that are kept: on disk, over reloads, in two windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.panels import CHATS, LONG, PATIENCE_SECONDS, SUM, lab_sidebar, reload, sidebar
from tests.e2e.running import RunningServer, wait_for


def kept(lab: RunningServer, question: str) -> list[dict[str, Any]]:
    """The messages of the conversation that begins so, as its file has them; [] while there is none."""
    for path in sorted((lab.log.parent / CHATS).glob("*.json"), key=lambda path: -path.stat().st_mtime):
        messages = _messages(path)
        if messages and messages[0]["content"] == question:
            return messages
    return []


def _messages(path: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(path.read_text())["messages"])
    except ValueError:
        return []  # it is being written


def test_a_conversation_is_a_file_that_is_found_renamed_and_deleted(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 20 + 22?")
    wait_for(lambda: [message["status"] for message in kept(lab, "What is 20 + 22?")] == ["done", "done"])
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
    wait_for(lambda: kept(lab, "What is 20 + 22?") == [])
    expect(panel.answers).to_have_count(0)


def test_a_reload_in_the_middle_of_an_answer_loses_nothing(page: Page, lab: RunningServer) -> None:
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


def test_two_windows_keep_what_both_say(context: BrowserContext, page: Page, lab: RunningServer) -> None:
    one = lab_sidebar(page, lab)
    one.ask("What is 30 + 1?")
    wait_for(lambda: len(kept(lab, "What is 30 + 1?")) == 2)
    two = lab_sidebar(context.new_page(), lab)
    two.open_conversation("What is 30 + 1?")
    expect(two.answers).to_contain_text("31")
    two.ask("What is 30 + 2?")
    expect(one.answers.nth(1)).to_contain_text("32")
    one.ask("What is 30 + 3?")
    expect(two.answers.nth(2)).to_contain_text("33")
    wait_for(lambda: len(kept(lab, "What is 30 + 1?")) == 6)


def test_an_answer_goes_on_while_another_conversation_is_open(page: Page, lab: RunningServer) -> None:
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


def test_a_conversation_is_exported(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 40 + 4?")
    panel.button("More").click()
    panel.root.get_by_role("menuitem", name="Export as Markdown").click()
    exported = lab.log.parent / "What is 40 + 4.md"
    wait_for(exported.exists)
    wait_for(lambda: "44" in exported.read_text())
