"""A chat in JupyterLab's sidebar."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.panels import LONG, PATIENCE_SECONDS, SUM, lab_sidebar
from tests.e2e.running import RunningServer, wait_for


def test_an_empty_conversation_describes_the_model_and_suggests_questions(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    expect(panel.root.get_by_text("toy model")).to_be_visible()
    panel.button("Get a model").click()
    panel.root.get_by_text("Other ways", exact=True).click()
    expect(panel.root.get_by_text("jupyter pico pull")).to_be_visible()
    panel.button("Close").click()
    panel.button("What can you do?").click()
    expect(panel.figures).to_be_visible()


def test_with_reasoning_on_the_model_thinks_before_a_correct_answer(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("On")
    answer = panel.ask(SUM)
    expect(answer.locator(".pico-md").last).to_have_text("348 + 277 = 625")
    thought = answer.get_by_role("button", name=re.compile("^Thought for"))
    expect(thought).to_have_attribute("aria-expanded", "false")
    thought.click()
    expect(answer.get_by_role("region", name="Reasoning")).to_contain_text("8+7")
    answer.get_by_role("button", name="Copy answer").click()
    expect(answer.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "348 + 277 = 625"


def test_with_reasoning_off_the_model_answers_directly(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    answer = panel.ask(SUM)
    expect(answer).to_contain_text("348 + 277 =")
    expect(answer.get_by_role("button", name=re.compile("Thought|Thinking"))).to_have_count(0)


def test_thinking_is_open_while_the_model_thinks(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("On")
    page.evaluate(
        """() => {
            window.seen = new Set();
            new MutationObserver(() => {
                const head = document.querySelector('.pico-think-head');
                if (head) window.seen.add(`${head.textContent.slice(0, 8)} ${head.getAttribute('aria-expanded')}`);
            }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
        }"""
    )
    panel.ask(SUM)
    assert {"Thinking true", "Thought  false"} <= set(page.evaluate("[...window.seen]"))


def test_an_answer_is_regenerated_and_a_question_edited(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.reason("On")
    panel.ask("What is 1 + 1?")
    panel.button("Regenerate").click()
    expect(panel.answers).to_have_count(1)
    expect(panel.figures).to_be_visible()
    panel.root.get_by_role("article", name="You").hover()
    panel.button("Edit and resend").click()
    editor = panel.root.get_by_role("textbox", name="Edit message")
    editor.fill(SUM)
    editor.press("Enter")
    expect(panel.answers.last).to_contain_text("348 + 277 = 625")
    expect(panel.answers).to_have_count(1)
    panel.button("Delete answer").click()
    expect(panel.answers).to_have_count(0)


def test_arrow_up_restores_the_last_question(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    panel.message.press("ArrowUp")
    expect(panel.message).to_have_value("What is 1 + 1?")


def test_a_failure_is_shown_and_retried(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    page.route("**/v1/chat/completions*", lambda route: route.fulfill(status=503, json={"error": {"message": "full"}}))
    panel.send("hello")
    expect(panel.root.get_by_role("alert")).to_contain_text("full")
    page.unroute("**/v1/chat/completions*")
    panel.button("Retry").click()
    expect(panel.figures).to_be_visible()
    expect(panel.root.get_by_role("alert")).to_have_count(0)


def test_the_models_are_listed_with_their_capabilities_and_unloaded(page: Page, lab: RunningServer) -> None:
    panel = lab_sidebar(page, lab)
    panel.ask("What is 1 + 1?")
    panel.button("Model: pico-tiny").click()
    loaded = panel.root.get_by_role("group", name="In memory").get_by_role(
        "option", name=re.compile(r"^pico-tiny\b(?!-)")
    )
    expect(loaded).to_contain_text("Reasoning")
    expect(loaded).to_contain_text("4K context")
    panel.button("Unload").click()
    on_disk = panel.root.get_by_role("group", name="On disk").get_by_role(
        "option", name=re.compile(r"^pico-tiny\b(?!-)")
    )
    expect(on_disk).to_be_visible()
    with lab.http() as client:
        assert "pico-tiny:latest" not in [model["name"] for model in client.get("api/ps").json()["models"]]


def test_scrolling_up_ends_the_automatic_scrolling(page: Page, lab: RunningServer) -> None:
    page.set_viewport_size({"width": 1000, "height": 420})
    panel = lab_sidebar(page, lab)
    panel.reason("Off")
    panel.send(LONG)
    scroll = panel.root.get_by_role("log")
    jump = panel.button("Jump to the latest message")
    wait_for(lambda: scroll.evaluate("box => box.scrollHeight > 2.5 * box.clientHeight"), PATIENCE_SECONDS)
    scroll.evaluate("box => box.scrollTo(0, 0)")
    expect(jump).to_be_visible()
    length = len(panel.answers.inner_text())
    wait_for(lambda: len(panel.answers.inner_text()) > length + 50, PATIENCE_SECONDS)
    assert scroll.evaluate("box => box.scrollTop") == 0
    jump.click()
    wait_for(lambda: scroll.evaluate("box => box.scrollTop + box.clientHeight > box.scrollHeight - 50"))
    panel.button("Stop").click()
    expect(panel.answers).to_contain_text("Stopped")
