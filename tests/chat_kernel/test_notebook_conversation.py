from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pico_jupyter.chat_kernel.notebook_conversation import CellContent, CellExchange, NotebookConversation
from pico_jupyter.sources.calls import Turn


def said(question: str, *, starts_over: bool = False) -> CellContent:
    return CellContent(CellExchange(Turn("user", question), f"answer to {question}"), starts_over)


def questions(conversation: NotebookConversation, cell: str) -> list[str]:
    turns = conversation.before(cell)
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    return [turn.content for turn in turns if turn.role == "user"]


def filled(*cells: str) -> NotebookConversation:
    conversation = NotebookConversation()
    for cell in cells:
        conversation.set(cell, said(cell))
    return conversation


def recover(cell: str) -> CellContent:
    return said(f"saved {cell}")


def test_a_new_cell_continues_all_cells() -> None:
    assert questions(filled("a", "b"), "c") == ["a", "b"]


def test_a_cell_continues_only_the_cells_above_it() -> None:
    assert questions(filled("a", "b", "c"), "b") == ["a"]


def test_a_cell_that_runs_again_keeps_its_position() -> None:
    conversation = filled("a", "b", "c")
    conversation.set("a", said("another"))
    assert questions(conversation, "c") == ["another", "b"]


def test_a_cell_without_an_answer_adds_nothing() -> None:
    conversation = filled("a", "b")
    conversation.set("a", CellContent())
    assert questions(conversation, "c") == ["b"]


def test_a_new_conversation_ignores_the_cells_above() -> None:
    conversation = filled("a")
    conversation.set("new", CellContent(starts_over=True))
    conversation.set("b", said("b"))
    conversation.set("c", said("c", starts_over=True))
    assert questions(conversation, "c") == ["b"]
    assert questions(conversation, "d") == ["c"]


def test_the_saved_order_has_precedence() -> None:
    conversation = filled("b", "a", "c")
    conversation.arrange(["a", "b", "c"], recover)
    assert questions(conversation, "c") == ["a", "b"]


def test_saved_cells_that_did_not_run_here_are_recovered() -> None:
    conversation = filled("b")
    conversation.arrange(["a", "b"], recover)
    assert questions(conversation, "c") == ["saved a", "b"]


def test_a_cell_that_is_not_saved_yet_stays_after_its_neighbour() -> None:
    conversation = filled("a", "new", "b")
    conversation.arrange(["a", "between", "b"], recover)
    assert questions(conversation, "end") == ["a", "new", "saved between", "b"]


def test_a_cell_that_is_no_longer_saved_is_removed() -> None:
    conversation = filled("a", "b")
    conversation.arrange(["a", "b"], recover)
    conversation.arrange(["b"], recover)
    assert questions(conversation, "c") == ["b"]


def test_cells_can_be_removed() -> None:
    conversation = filled("a", "b")
    conversation.remove(["a", "unknown"])
    assert questions(conversation, "c") == ["b"]
    assert repr(conversation) == "<NotebookConversation [1 exchanges in 1 cells]>"


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.permutations("abcdefgh"), st.integers(0, 8))
def test_no_cell_is_lost_and_saved_ones_are_in_their_order(ran: list[str], order: list[str], saved: int) -> None:
    conversation = filled(*ran)
    conversation.arrange(order[:saved], recover)
    cells = [question.removeprefix("saved ") for question in questions(conversation, "end")]
    assert sorted(cells) == sorted({*ran, *order[:saved]})
    assert [cell for cell in cells if cell in order[:saved]] == order[:saved]
