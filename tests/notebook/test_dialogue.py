"""What the cells of a session said."""

from __future__ import annotations

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.dialogue import Cell, Dialogue
from pico_jupyter.sources.calls import ChatCall, TextPiece, Turn


def answer(text: str, dialogue: Dialogue, cell: Cell) -> None:
    said = [Turn(message["role"], message["content"]) for message in dialogue.before(cell)]
    written = Answer(ChatCall("tiny", (*said, Turn("user", "?"))))
    written.take(TextPiece(text))
    dialogue.add(cell, written)


def texts(dialogue: Dialogue, cell: Cell) -> list[str]:
    return [message["content"] for message in dialogue.before(cell)]


def test_a_cell_goes_on_from_the_one_before() -> None:
    dialogue = Dialogue()
    answer("a", dialogue, Cell("1", 1))
    answer("b", dialogue, Cell("2", 2))
    assert texts(dialogue, Cell("3", 3)) == ["?", "a", "?", "b"]
    assert repr(dialogue) == "<Dialogue [2 answers]>"


def test_a_cell_that_runs_again_goes_on_from_where_it_stood() -> None:
    dialogue = Dialogue()
    for run, cell in enumerate(("1", "2", "3")):
        answer(cell, dialogue, Cell(cell, run))
    assert texts(dialogue, Cell("2", 9)) == ["?", "1"]


def test_lines_of_one_cell_are_all_kept_until_it_runs_again() -> None:
    dialogue = Dialogue()
    answer("a", dialogue, Cell("1", 1))
    answer("b", dialogue, Cell("1", 1))
    assert texts(dialogue, Cell("1", 1)) == ["?", "a", "?", "b"]
    assert texts(dialogue, Cell("1", 2)) == []


def test_cells_without_an_id_are_added() -> None:
    dialogue = Dialogue()
    answer("a", dialogue, Cell("", 1))
    assert texts(dialogue, Cell("", 2)) == ["?", "a"]


def test_nothing_is_forgotten_for_an_answer_that_fails() -> None:
    dialogue = Dialogue()
    for run, cell in enumerate(("1", "2")):
        answer(cell, dialogue, Cell(cell, run))
    answer("", dialogue, Cell("1", 9))
    assert texts(dialogue, Cell("3", 10)) == ["?", "1", "?", "2"]


def test_an_answer_without_text_was_not_said() -> None:
    dialogue = Dialogue()
    answer("", dialogue, Cell("1", 1))
    assert len(dialogue) == 0


def test_it_begins_anew() -> None:
    dialogue = Dialogue()
    answer("a", dialogue, Cell("1", 1))
    dialogue.add(Cell("2", 2), Answer(ChatCall("tiny", ()), "b"), anew=True)
    assert texts(dialogue, Cell("3", 3)) == ["b"]
    dialogue.clear()
    assert texts(dialogue, Cell("4", 4)) == []
