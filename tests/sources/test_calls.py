"""Requests, pieces and models of all sources."""

from __future__ import annotations

from pico_jupyter.sources.calls import (
    Attachment,
    FinishPiece,
    ListedModel,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    Turn,
    choose_model,
)


def test_attached_texts_precede_the_question() -> None:
    turn = Turn("user", "why?", (Attachment("text", "a.py", "x = 1\n"), Attachment("image", "b.png", "data:")))
    assert turn.text == "a.py:\n```\nx = 1\n```\n\nwhy?"


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert "`````\n````\n`````" in Turn("user", "", (Attachment("text", "a", "````"),)).text


def test_all_pieces_can_be_printed_by_their_text() -> None:
    pieces = (ProgressPiece(1, 2), ReasoningPiece("hm, "), TextPiece("5"), FinishPiece("stop"))
    assert "".join(piece.text for piece in pieces) == "hm, 5"


def test_the_first_model_that_accepts_the_media_is_chosen() -> None:
    text, eyes, film = (ListedModel(name, capabilities=(name,)) for name in ("completion", "vision", "video"))
    picture, clip = (Turn("user", "", (Attachment(kind, "", ""),)) for kind in ("image", "video"))
    assert choose_model([eyes, text]) == text
    assert choose_model([text, eyes, film], [picture]) == eyes
    assert choose_model([text, eyes, film], [picture, clip]) == film
    assert choose_model([text], [clip]) == text
