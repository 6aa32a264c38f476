"""ChatPanel: the Python side of the panel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from comm.base_comm import BaseComm
from traitlets import TraitError

import pico_jupyter
from pico_jupyter.errors import EngineUnavailable, InvalidRequest
from pico_jupyter.panel import ChatPanel
from pico_jupyter.sources.calls import FinishPiece, ReasoningPiece, TextPiece, Usage, UsagePiece
from tests.e2e.running import wait_for
from tests.fakes.source import FakeSource

ANSWER = (ReasoningPiece("hm"), TextPiece("6"), TextPiece("25"), FinishPiece("stop"), UsagePiece(Usage(9, 4, 2)))


class PageComm(BaseComm):
    """A comm that keeps the custom messages that a widget sends."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        super().__init__(primary=False)

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        if data and data.get("method") == "custom":
            self.received.append(data["content"])


class Page:
    """Records the messages to the page, and sends messages of the page."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel
        panel.comm = comm = PageComm()
        self.received = comm.received

    def send(self, **message: Any) -> None:
        self._panel._handle_custom_msg(message, [])

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.received]


def test_it_is_part_of_the_public_surface() -> None:
    assert pico_jupyter.ChatPanel is ChatPanel
    with pytest.raises(AttributeError, match="nothing"):
        _ = pico_jupyter.nothing


def test_the_answer_is_returned_and_the_transcript_kept() -> None:
    source = FakeSource(*ANSWER)
    panel = ChatPanel("tiny", source=source, reasoning="on", system="Be brief.", temperature=0.0)
    assert panel.ask("348 + 277?") == "625"
    (call,) = source.calls
    assert (call.model, call.reasoning, call.system, call.temperature) == ("tiny", "on", "Be brief.", 0.0)
    question, answer = panel.messages
    assert (question["role"], question["content"]) == ("user", "348 + 277?")
    assert {key: answer[key] for key in ("role", "content", "reasoning", "status", "finish", "model", "stats")} == {
        "role": "assistant",
        "content": "625",
        "reasoning": "hm",
        "status": "done",
        "finish": "stop",
        "model": "tiny",
        "stats": {"promptTokens": 9, "completionTokens": 4, "reasoningTokens": 2, "cachedTokens": 0},
    }
    assert "writer" not in answer


def test_a_question_continues_the_transcript() -> None:
    source = FakeSource(*ANSWER)
    panel = ChatPanel(source=source, messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "A"}])
    panel.ask("b")
    assert [(turn.role, turn.content) for turn in source.calls[0].messages] == [
        ("user", "a"),
        ("assistant", "A"),
        ("user", "b"),
    ]
    assert source.calls[0].model == "tiny", "without a model, the first one answers"


async def test_it_can_be_awaited() -> None:
    assert await ChatPanel(source=FakeSource(*ANSWER)).aask("348 + 277?") == "625"


async def test_stop_ends_the_answer_and_keeps_the_text_so_far() -> None:
    source = FakeSource(TextPiece("6"), ends=False)
    panel = ChatPanel("tiny", source=source)
    asking = asyncio.create_task(panel.aask("348 + 277?"))
    await asyncio.to_thread(wait_for, lambda: source.calls)
    panel.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(wait_for, lambda: panel.messages[-1]["status"] == "stopped")
    assert panel.messages[-1]["content"] == "6"
    assert source.closed == 1


def test_a_failure_is_raised_and_recorded_in_the_transcript() -> None:
    panel = ChatPanel("tiny", source=FakeSource(TextPiece("6"), EngineUnavailable("out of memory")))
    with pytest.raises(EngineUnavailable, match="out of memory"):
        panel.ask("348 + 277?")
    assert {**panel.messages[-1], "status": "failed", "error": "out of memory", "content": "6"} == panel.messages[-1]


def test_invalid_messages_are_refused() -> None:
    panel = ChatPanel("tiny", source=FakeSource(*ANSWER), messages=[{"role": "poet", "content": "x"}])
    with pytest.raises(InvalidRequest, match=r"messages: .*poet"):
        panel.ask("b")


def test_the_reasoning_switch_has_three_values() -> None:
    with pytest.raises(TraitError):
        ChatPanel(reasoning="perhaps")


def test_the_repr_is_stable_and_the_bundle_has_the_transcript() -> None:
    panel = ChatPanel("tiny", source=FakeSource(*ANSWER), reasoning="off")
    panel.ask("348 + 277?")
    assert repr(panel) == "ChatPanel(model='tiny', reasoning='off', 2 messages)"
    data, _ = panel._repr_mimebundle_()
    assert data["text/plain"] == repr(panel)
    reasoning = "<details><summary>Thinking</summary>\n\nhm\n\n</details>"
    assert data["text/markdown"] == f"**You**\n\n348 + 277?\n\n**tiny**\n\n{reasoning}\n\n625"
    assert data["application/vnd.pico-jupyter.panel+json"] == {"version": 1}
    assert "application/vnd.jupyter.widget-view+json" in data


def test_a_page_without_a_server_is_answered() -> None:
    page = Page(ChatPanel(source=FakeSource(*ANSWER)))
    page.send(type="chat", id="1", content={"model": "tiny", "messages": [{"id": "x", "role": "user", "content": "?"}]})
    wait_for(lambda: page.kinds()[-1:] == ["done"])
    pieces = [piece for message in page.received[:-1] for piece in message["pieces"]]
    assert pieces[0] == {"kind": "reasoning", "text": "hm"}
    assert [piece["kind"] for piece in pieces] == ["reasoning", "text", "text", "finish", "usage"]
    assert {message["id"] for message in page.received} == {"1"}


def test_a_page_lists_loads_and_unloads_models() -> None:
    source = FakeSource()
    page = Page(ChatPanel(source=source))
    page.send(type="models", id="1")
    page.send(type="load", id="2", content={"name": "tiny"})
    page.send(type="unload", id="3", content={"name": "tiny"})
    wait_for(lambda: len(page.received) == 3)
    (listed,) = (message["models"] for message in page.received if message["type"] == "models")
    assert [model["name"] for model in listed] == ["tiny"]
    assert source.moved == [("load", "tiny"), ("unload", "tiny")]


def test_a_page_gets_the_memory_report() -> None:
    page = Page(ChatPanel(source=FakeSource()))
    page.send(type="memory", id="1")
    wait_for(lambda: page.received)
    told = page.received[0]["memory"]
    assert told["loading"] == {"model": "tiny", "done": 300, "total": 900}
    assert list(told["needs"]) == [{"model": "tiny", "size": 900, "fit": "fits", "is_tight": False, "unload": ()}]


def test_a_page_stops_its_answer() -> None:
    source = FakeSource(TextPiece("6"), ends=False)
    page = Page(ChatPanel(source=source))
    page.send(type="chat", id="1", content={"model": "tiny", "messages": []})
    wait_for(lambda: page.received)
    page.send(type="abort", id="1")
    wait_for(lambda: source.closed == 1)


def test_a_page_gets_the_message_of_an_error() -> None:
    page = Page(ChatPanel(source=FakeSource(EngineUnavailable("out of memory"))))
    page.send(type="chat", id="1", content={"model": "tiny", "messages": []})
    page.send(type="chat", id="2", content={"model": 7})
    wait_for(lambda: len(page.received) == 2)
    told = {message["id"]: message["message"] for message in page.received}
    assert told["1"] == "out of memory"
    assert "str" in told["2"]


def test_act_sends_the_text_to_the_page_and_returns() -> None:
    panel = ChatPanel("tiny", source=FakeSource())
    page = Page(panel)
    panel.transport = "http"
    panel.act("add a cell")
    assert page.received == [{"type": "act", "text": "add a cell"}]


@pytest.mark.parametrize(("transport", "text"), [("", "add a cell"), ("kernel", "add a cell"), ("http", "  ")])
def test_act_without_a_page_or_a_text_is_refused(transport: str, text: str) -> None:
    panel = ChatPanel("tiny", source=FakeSource())
    panel.transport = transport
    with pytest.raises(InvalidRequest):
        panel.act(text)
