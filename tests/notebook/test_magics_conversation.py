"""What the cells of a session said."""

from __future__ import annotations

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.magics_conversation import CellRun, MagicsConversation
from pico_jupyter.sources.calls import AnswerRequest, TextPiece, Turn


def answer(text: str, dialogue: MagicsConversation, cell: CellRun) -> None:
    said = [Turn(message["role"], message["content"]) for message in dialogue.before(cell)]
    written = Answer(AnswerRequest("tiny", (*said, Turn("user", "?"))))
    written.add(TextPiece(text))
    dialogue.add(cell, written)


def texts(dialogue: MagicsConversation, cell: CellRun) -> list[str]:
    return [message["content"] for message in dialogue.before(cell)]


def test_a_cell_goes_on_from_the_one_before() -> None:
    dialogue = MagicsConversation()
    answer("a", dialogue, CellRun("1", 1))
    answer("b", dialogue, CellRun("2", 2))
    assert texts(dialogue, CellRun("3", 3)) == ["?", "a", "?", "b"]
    assert repr(dialogue) == "<MagicsConversation [2 answers]>"


def test_a_cell_that_runs_again_goes_on_from_where_it_stood() -> None:
    dialogue = MagicsConversation()
    for run, cell in enumerate(("1", "2", "3")):
        answer(cell, dialogue, CellRun(cell, run))
    assert texts(dialogue, CellRun("2", 9)) == ["?", "1"]


def test_lines_of_one_cell_are_all_kept_until_it_runs_again() -> None:
    dialogue = MagicsConversation()
    answer("a", dialogue, CellRun("1", 1))
    answer("b", dialogue, CellRun("1", 1))
    assert texts(dialogue, CellRun("1", 1)) == ["?", "a", "?", "b"]
    assert texts(dialogue, CellRun("1", 2)) == []


def test_cells_without_an_id_are_added() -> None:
    dialogue = MagicsConversation()
    answer("a", dialogue, CellRun("", 1))
    assert texts(dialogue, CellRun("", 2)) == ["?", "a"]


def test_nothing_is_forgotten_for_an_answer_that_fails() -> None:
    dialogue = MagicsConversation()
    for run, cell in enumerate(("1", "2")):
        answer(cell, dialogue, CellRun(cell, run))
    answer("", dialogue, CellRun("1", 9))
    assert texts(dialogue, CellRun("3", 10)) == ["?", "1", "?", "2"]


def test_an_answer_without_text_was_not_said() -> None:
    dialogue = MagicsConversation()
    answer("", dialogue, CellRun("1", 1))
    assert len(dialogue) == 0


def test_it_begins_anew() -> None:
    dialogue = MagicsConversation()
    answer("a", dialogue, CellRun("1", 1))
    dialogue.add(CellRun("2", 2), Answer(AnswerRequest("tiny", ()), "b"), forgets=True)
    assert texts(dialogue, CellRun("3", 3)) == ["b"]
    dialogue.clear()
    assert texts(dialogue, CellRun("4", 4)) == []
