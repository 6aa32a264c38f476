"""The conversation of the magics, in the order of execution."""

from __future__ import annotations

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.magics_conversation import CellRun, MagicsConversation
from pico_jupyter.sources.calls import AnswerRequest, TextPiece, Turn


def answer(text: str, conversation: MagicsConversation, cell: CellRun) -> None:
    said = [Turn(message["role"], message["content"]) for message in conversation.before(cell)]
    written = Answer(AnswerRequest("tiny", (*said, Turn("user", "?"))))
    written.add(TextPiece(text))
    conversation.add(cell, written)


def texts(conversation: MagicsConversation, cell: CellRun) -> list[str]:
    return [message["content"] for message in conversation.before(cell)]


def test_a_cell_continues_the_one_before() -> None:
    conversation = MagicsConversation()
    answer("a", conversation, CellRun("1", 1))
    answer("b", conversation, CellRun("2", 2))
    assert texts(conversation, CellRun("3", 3)) == ["?", "a", "?", "b"]
    assert repr(conversation) == "<MagicsConversation [2 answers]>"


def test_a_cell_that_runs_again_continues_from_its_first_run() -> None:
    conversation = MagicsConversation()
    for run, cell in enumerate(("1", "2", "3")):
        answer(cell, conversation, CellRun(cell, run))
    assert texts(conversation, CellRun("2", 9)) == ["?", "1"]


def test_all_lines_of_one_cell_are_kept_until_it_runs_again() -> None:
    conversation = MagicsConversation()
    answer("a", conversation, CellRun("1", 1))
    answer("b", conversation, CellRun("1", 1))
    assert texts(conversation, CellRun("1", 1)) == ["?", "a", "?", "b"]
    assert texts(conversation, CellRun("1", 2)) == []


def test_cells_without_an_id_are_appended() -> None:
    conversation = MagicsConversation()
    answer("a", conversation, CellRun("", 1))
    assert texts(conversation, CellRun("", 2)) == ["?", "a"]


def test_an_answer_that_fails_drops_nothing() -> None:
    conversation = MagicsConversation()
    for run, cell in enumerate(("1", "2")):
        answer(cell, conversation, CellRun(cell, run))
    answer("", conversation, CellRun("1", 9))
    assert texts(conversation, CellRun("3", 10)) == ["?", "1", "?", "2"]


def test_an_answer_without_text_is_not_added() -> None:
    conversation = MagicsConversation()
    answer("", conversation, CellRun("1", 1))
    assert len(conversation) == 0


def test_a_new_conversation_drops_all_answers() -> None:
    conversation = MagicsConversation()
    answer("a", conversation, CellRun("1", 1))
    conversation.add(CellRun("2", 2), Answer(AnswerRequest("tiny", ()), "b"), starts_over=True)
    assert texts(conversation, CellRun("3", 3)) == ["b"]
    conversation.clear()
    assert texts(conversation, CellRun("4", 4)) == []
