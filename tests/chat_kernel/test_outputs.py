from __future__ import annotations

from typing import Any

import pytest

from pico_jupyter.chat_kernel.notes import Note
from pico_jupyter.chat_kernel.outputs import AnswerOutput, CellOutput, Reader
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, ReasoningPiece, TextPiece, Usage, UsagePiece

WHOLE = (ReasoningPiece("Hm."), TextPiece("Hi."), FinishPiece("stop"), UsagePiece(Usage(3, 1200, 1)))


class Page:
    """The published messages."""

    def __init__(self, reader: Reader) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.output = CellOutput(lambda kind, content: self.messages.append((kind, content)), reader)
        self.answer = Answer(AnswerRequest("tiny", ()))
        self.growing = AnswerOutput(self.output, self.answer)

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1][1]

    @property
    def printed(self) -> str:
        return "".join(content["text"] for _, content in self.messages)


def test_an_answer_grows_in_one_output_of_a_cell() -> None:
    page = Page("cells")
    for piece in WHOLE:
        page.growing.add(piece)
    page.growing.end()
    kinds = [kind for kind, _ in page.messages]
    assert kinds[0] == "display_data"
    assert set(kinds[1:]) == {"update_display_data"}
    assert len({content["transient"]["display_id"] for _, content in page.messages}) == 1


@pytest.mark.parametrize("reader", ["cells", "file"])
def test_the_output_of_an_answer_keeps_its_text_and_figures(reader: Reader) -> None:
    page = Page(reader)
    for piece in WHOLE:
        page.growing.add(piece)
    page.growing.end()
    assert page.last["metadata"] == {"pico_jupyter": {"answer": "Hi.", "model": "tiny", "finish_reason": "stop"}}
    assert page.last["data"]["text/markdown"].endswith("Hi.\n\n<small>tiny · 1,200 tokens</small>")
    assert page.last["data"]["text/plain"] == "Hi."


def test_a_terminal_gets_the_figures_in_brackets() -> None:
    page = Page("text")
    page.growing.add(TextPiece("Hi \x1b[31mred"))
    page.answer.end("stopped")
    page.growing.end()
    assert page.printed == "Hi [31mred\n[tiny · stopped]\n"


@pytest.mark.parametrize("reader", ["cells", "file", "text"])
def test_an_answer_that_was_stopped_before_it_began_leaves_a_note(reader: Reader) -> None:
    page = Page(reader)
    page.answer.end("stopped")
    page.growing.end()
    assert "Stopped." in str(page.messages)
    assert "pico_jupyter" not in str(page.messages)


def test_an_answer_that_failed_before_it_began_leaves_no_output() -> None:
    page = Page("cells")
    page.answer.end("failed")
    page.growing.end()
    assert page.messages == []


def test_notes_are_markdown_or_text() -> None:
    note = Note("*a*", "a")
    page, terminal = Page("cells"), Page("text")
    page.output.note(note)
    terminal.output.note(note)
    assert page.last["data"] == {"text/markdown": "*a*", "text/plain": "a"}
    assert terminal.printed == "a\n"
    assert repr(page.output) == "<CellOutput for cells>"
