"""What the panel asks for."""

from __future__ import annotations

from pico_jupyter.sources.calls import Attachment, FinishPiece, ProgressPiece, ReasoningPiece, TextPiece, Turn


def test_texts_go_in_front_of_the_question() -> None:
    turn = Turn("user", "why?", (Attachment("text", "a.py", "x = 1\n"), Attachment("image", "b.png", "data:")))
    assert turn.text == "a.py:\n```\nx = 1\n```\n\nwhy?"


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert "`````\n````\n`````" in Turn("user", "", (Attachment("text", "a", "````"),)).text


def test_all_pieces_can_be_printed_by_their_text() -> None:
    pieces = (ProgressPiece(1, 2), ReasoningPiece("hm, "), TextPiece("5"), FinishPiece("stop"))
    assert "".join(piece.text for piece in pieces) == "hm, 5"
