"""AnswerMessage: an answer as a message of the page."""

from __future__ import annotations

from pico_jupyter.panel.answer_message import AnswerMessage
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, ProgressPiece, ReasoningPiece, TextPiece


def test_the_kernel_is_the_writer_until_the_answer_ends() -> None:
    answer = AnswerMessage(AnswerRequest("tiny", ()))
    assert answer.message()["writer"] == "kernel"
    for piece in (
        ProgressPiece(1, 2),
        ReasoningPiece("h"),
        ReasoningPiece("m"),
        TextPiece("Hi"),
        FinishPiece("length"),
    ):
        answer.add(piece)
    assert repr(answer) == "<AnswerMessage streaming [2 characters]>"
    answer.end("done")
    message = answer.message()
    assert (message["content"], message["reasoning"], message["finish"], message["status"]) == (
        "Hi",
        "hm",
        "length",
        "done",
    )
    assert message["firstMs"] >= 0
    assert "writer" not in message
