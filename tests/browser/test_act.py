"""Act mode: the assistant works in real notebooks. The answers of the model are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.browser.panels import CHATS, Panel, lab_sidebar, open_notebook, sidebar, wait_for_kernel, write_notebook
from tests.e2e.running import RunningServer, wait_for

Answer = str | tuple[str, dict[str, Any]]
# A step of the recorded model: a text, a call, or a function from the last result to one of both.
Step = Answer | Callable[[str], Answer]

ADD: Step = ("insert_cell", {"source": "print(12 + 35)"})


def run_inserted(result: str) -> Answer:
    return "run_cell", {"cell": result.removeprefix("Inserted cell ").removesuffix(".")}


def play(context: BrowserContext, *steps: Step) -> list[Any]:
    """Answer the questions of the page with these steps, one each. The returned list collects the requests."""
    requests: list[Any] = []

    def answer(route: Route) -> None:
        body = route.request.post_data_json
        requests.append(body)
        step = steps[min(len(requests), len(steps)) - 1]
        last = body["messages"][-1]
        route.fulfill(
            content_type="text/event-stream",
            body=frames(step(str(last["content"])) if callable(step) else step, len(requests)),
        )

    context.route("**/v1/chat/completions*", answer)
    return requests


def frames(answer: Answer, number: int) -> str:
    """The stream of an answer, as the server sends it."""
    if isinstance(answer, str):
        delta: dict[str, Any] = {"content": answer}
        reason = "stop"
    else:
        name, arguments = answer
        function = {"name": name, "arguments": json.dumps(arguments)}
        delta = {"tool_calls": [{"index": 0, "id": f"call_{number}", "type": "function", "function": function}]}
        reason = "tool_calls"
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
    ]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


@pytest.fixture
def cells(page: Page, lab: RunningServer) -> Locator:
    return open_notebook(page, lab, "act.ipynb", "first = 1", "second = 2")


@pytest.fixture
def panel(page: Page, cells: Locator) -> Panel:
    return act(sidebar(page))


def act(panel: Panel) -> Panel:
    panel.root.get_by_role("radio", name="Act", exact=True).click()
    return panel


def card(panel: Panel) -> Locator:
    return panel.root.locator(".pico-approval")


def decide(panel: Panel, word: str) -> None:
    card(panel).get_by_role("button", name=word, exact=True).click()


def result(requests: list[Any], index: int) -> str:
    """The result of a tool that the request `index` carries."""
    return str(requests[index]["messages"][-1]["content"])


def test_a_cell_is_added_and_run_with_approval_and_undone(
    context: BrowserContext, panel: Panel, cells: Locator
) -> None:
    requests = play(context, ADD, run_inserted, "The cell printed 47.")
    panel.send("add a cell that prints 12 + 35 and run it")
    expect(card(panel)).to_contain_text("Add a cell to act.ipynb?")
    expect(card(panel)).to_contain_text("print(12 + 35)")
    expect(cells).to_have_count(2)
    decide(panel, "Accept")
    expect(cells).to_have_count(3)
    expect(card(panel)).to_contain_text("Run cell")
    decide(panel, "Accept")
    expect(panel.answers.last).to_contain_text("The cell printed 47.")
    expect(cells.nth(1)).to_contain_text("47")
    assert result(requests, 2) == "Output:\n47"
    assert requests[0]["messages"][0]["content"].startswith("You are an assistant in the Jupyter notebook act.ipynb.")
    assert [request["tool_choice"] for request in requests] == ["required", "auto", "auto"]
    assert [tool["function"]["name"] for tool in requests[0]["tools"]][:2] == ["read_notebook", "read_cell"]
    steps = panel.root.get_by_role("list", name="Steps")
    expect(steps.nth(0)).to_contain_text("Add a code cell")
    expect(steps.nth(1)).to_contain_text("Run cell")
    cells.nth(0).locator(".jp-InputPrompt").click()
    panel.page.keyboard.press("z")  # undo in command mode
    expect(cells).to_have_count(2)


def test_a_rejected_call_changes_nothing_and_the_model_learns_it(
    context: BrowserContext, panel: Panel, cells: Locator
) -> None:
    requests = play(context, ADD, "I did not add it.")
    panel.send("add a cell")
    decide(panel, "Reject")
    expect(panel.answers.last).to_contain_text("I did not add it.")
    expect(cells).to_have_count(2)
    assert result(requests, 1) == "Error: The user rejected this."


def test_an_edit_is_shown_as_a_diff_and_accepted_for_the_turn(
    context: BrowserContext, panel: Panel, cells: Locator
) -> None:
    requests = play(
        context,
        ("read_notebook", {}),
        ("edit_cell", {"cell": "cell0", "find": "1", "replace": "10"}),
        ("edit_cell", {"cell": "cell1", "source": "second = 20"}),
        "Done.",
    )
    panel.send("change both")
    expect(card(panel).locator(".pico-diff-removed")).to_contain_text("first = 1")
    expect(card(panel).locator(".pico-diff-added")).to_contain_text("first = 10")
    decide(panel, "Accept all of this turn")
    expect(panel.answers.last).to_contain_text("Done.")
    expect(cells.nth(0).locator(".cm-content")).to_have_text("first = 10")
    expect(cells.nth(1).locator(".cm-content")).to_have_text("second = 20")
    assert result(requests, 1).startswith("act.ipynb, 2 cells\n1 cell0 code [ ] first = 1")
    cells.nth(1).locator(".cm-content").click()
    panel.page.keyboard.press("Control+z")
    expect(cells.nth(1).locator(".cm-content")).to_have_text("second = 2")


def test_a_cell_that_was_not_read_is_not_changed(context: BrowserContext, panel: Panel, cells: Locator) -> None:
    requests = play(context, ("edit_cell", {"cell": "cell0", "source": "x"}), "Sorry.")
    panel.send("change it")
    expect(panel.answers.last).to_contain_text("Sorry.")
    assert result(requests, 1).startswith("Error:")
    assert "first = 1" in result(requests, 1)
    expect(cells.nth(0).locator(".cm-content")).to_have_text("first = 1")


def test_a_cell_that_the_user_changed_meanwhile_is_not_overwritten(
    context: BrowserContext, panel: Panel, cells: Locator
) -> None:
    requests = play(
        context, ("read_cell", {"cell": "cell0"}), ("edit_cell", {"cell": "cell0", "source": "x"}), "Sorry."
    )
    panel.send("change it")
    expect(card(panel)).to_be_visible()
    cells.nth(0).locator(".cm-content").click()
    panel.page.keyboard.press("End")
    panel.page.keyboard.type("00")
    decide(panel, "Accept")
    expect(panel.answers.last).to_contain_text("Sorry.")
    expect(cells.nth(0).locator(".cm-content")).to_have_text("first = 100")
    assert "changed" in result(requests, 2)


def test_an_error_of_a_cell_is_given_back_to_the_model(context: BrowserContext, panel: Panel, cells: Locator) -> None:
    requests = play(context, ("insert_cell", {"source": "1 / 0"}), run_inserted, "It divides by zero.")
    panel.send("divide")
    decide(panel, "Accept all of this turn")
    expect(panel.answers.last).to_contain_text("It divides by zero.")
    assert result(requests, 2) == "Error:\nZeroDivisionError: division by zero\n(line 1)"


def test_two_failed_calls_in_a_row_end_the_turn(context: BrowserContext, panel: Panel) -> None:
    requests = play(context, ("run_cell", {"cell": "none"}))
    panel.send("run it")
    expect(panel.root.get_by_text("Ended: two errors in a row")).to_be_visible()
    assert len(requests) == 2


def test_the_turn_ends_at_the_step_limit(context: BrowserContext, panel: Panel) -> None:
    requests = play(context, ("read_notebook", {}))
    panel.send("loop")
    expect(panel.root.get_by_text("Paused: step limit reached")).to_be_visible()
    assert len(requests) == 12


def test_stop_ends_the_turn_while_a_cell_runs(context: BrowserContext, panel: Panel, cells: Locator) -> None:
    requests = play(context, ("insert_cell", {"source": "import time; time.sleep(8)"}), run_inserted, "never")
    panel.send("sleep")
    decide(panel, "Accept all of this turn")
    expect(cells.nth(1).locator(".jp-InputPrompt")).to_have_text("[*]:")
    panel.button("Stop").click()
    expect(panel.answers.last).to_contain_text("Stopped")
    assert len(requests) == 2


def test_escape_stops_a_turn_that_waits_for_approval(context: BrowserContext, panel: Panel, cells: Locator) -> None:
    play(context, ADD, "never")
    panel.send("add a cell")
    expect(card(panel)).to_be_focused()
    panel.page.keyboard.press("Escape")
    expect(card(panel)).to_have_count(0)
    expect(cells).to_have_count(2)


def test_act_says_why_it_cannot_work(page: Page, lab: RunningServer) -> None:
    panel = act(lab_sidebar(page, lab))
    expect(panel.root.get_by_text("Open a notebook first.")).to_be_visible()


def test_the_turn_keeps_its_notebook_when_another_one_comes_to_the_front(
    context: BrowserContext, page: Page, panel: Panel, lab: RunningServer
) -> None:
    requests = play(context, ADD, run_inserted, "Done.")
    panel.send("add a cell")
    expect(card(panel)).to_contain_text("act.ipynb")
    write_notebook(lab.log.parent, "other.ipynb", "other = 1")
    page.evaluate("() => void window.jupyterapp.commands.execute('docmanager:open', { path: 'other.ipynb' })")
    expect(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")).to_have_count(1)
    decide(panel, "Accept all of this turn")
    expect(panel.answers.last).to_contain_text("Done.")
    assert result(requests, 2) == "Output:\n47"
    expect(page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell")).to_have_count(1)


def test_a_notebook_that_is_closed_ends_the_calls(context: BrowserContext, page: Page, panel: Panel) -> None:
    requests = play(context, ADD, "It is closed.")
    panel.send("add a cell")
    expect(card(panel)).to_be_visible()
    page.evaluate("() => void window.jupyterapp.shell.currentWidget.dispose()")
    decide(panel, "Accept")
    expect(panel.answers.last).to_contain_text("It is closed.")
    assert result(requests, 1).startswith("Error:")


def test_the_steps_are_in_the_file_of_the_conversation(
    context: BrowserContext, panel: Panel, lab: RunningServer, cells: Locator
) -> None:
    requests = play(context, ("read_notebook", {}), "Two cells.", "Still two.")
    panel.send("how many cells?")
    expect(panel.answers.last).to_contain_text("Two cells.")
    panel.send("and now?")
    expect(panel.answers.last).to_contain_text("Still two.")
    roles = [message["role"] for message in requests[2]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    files = lab.log.parent / CHATS
    wait_for(lambda: any("Still two." in path.read_text() for path in files.glob("*.json")))
    (saved,) = [path.read_text() for path in files.glob("*.json") if "Still two." in path.read_text()]
    assert "act.ipynb, 2 cells" in saved


def test_a_dead_kernel_is_reported(context: BrowserContext, page: Page, panel: Panel, cells: Locator) -> None:
    requests = play(context, ("insert_cell", {"source": "import os; os._exit(1)"}), run_inserted, "The kernel died.")
    panel.send("exit")
    decide(panel, "Accept all of this turn")
    expect(panel.answers.last).to_contain_text("The kernel died.")
    assert "kernel" in result(requests, 2)
    wait_for_kernel(page)
