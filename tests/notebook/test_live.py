"""Displays of an answer during generation."""

from __future__ import annotations

from typing import Any

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.live import Display, LiveDisplay, TextDisplay, WholeDisplay
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, Piece, ProgressPiece, ReasoningPiece, TextPiece, Turn

PIECES = (ReasoningPiece("12 + 35\n"), ReasoningPiece("hm"), TextPiece("4"), TextPiece("7"), FinishPiece("stop"))


class Clock:
    """Advances by `step` seconds with every call."""

    def __init__(self, step: float) -> None:
        self._now = 0.0
        self._step = step

    def __call__(self) -> float:
        self._now += self._step
        return self._now


class Outputs:
    """The messages that a front end has received."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, content: dict[str, Any]) -> None:
        self.messages.append((kind, content))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.messages]

    def last(self) -> dict[str, str]:
        data: dict[str, str] = self.messages[-1][1]["data"]
        return data


def show(display: Display, *pieces: Piece, stops: bool = False) -> Answer:
    answer = Answer(AnswerRequest("tiny", (Turn("user", "?"),)))
    for piece in pieces:
        answer.add(piece)
        display.update(piece, answer)
    if stops:
        answer.end("stopped")
    display.end(answer)
    return answer


def test_a_program_gets_one_output_at_the_end() -> None:
    outputs = Outputs()
    answer = show(WholeDisplay(outputs), *PIECES)
    assert outputs.messages == [
        ("display_data", {"data": answer._repr_mimebundle_(), "metadata": {}, "transient": {}}),
    ]


def test_a_user_gets_one_output_that_grows() -> None:
    outputs = Outputs()
    show(LiveDisplay(outputs, Clock(1.0)), *PIECES)
    assert outputs.kinds() == ["display_data", *["update_display_data"] * 5]
    assert len({content["transient"]["display_id"] for _, content in outputs.messages}) == 1
    markdown = [content["data"]["text/markdown"] for _, content in outputs.messages]
    assert "<details open>" in markdown[0]
    assert markdown[2].endswith("</details>\n\n4")


def test_growing_and_whole_outputs_end_with_equal_content() -> None:
    live, whole = Outputs(), Outputs()
    show(LiveDisplay(live, Clock(0.001)), *PIECES)
    show(WholeDisplay(whole), *PIECES)
    assert live.last() == whole.last()


def test_an_output_is_not_sent_for_every_piece() -> None:
    outputs = Outputs()
    show(LiveDisplay(outputs, Clock(0.01)), *[TextPiece("a")] * 100)
    assert len(outputs.messages) <= 12


def test_a_long_output_is_sent_less_often() -> None:
    outputs = Outputs()
    show(LiveDisplay(outputs, Clock(0.01)), TextPiece("a" * 90_000), *[TextPiece("a")] * 90)
    assert len(outputs.messages) == 2


def test_progress_is_displayed() -> None:
    outputs = Outputs()
    show(LiveDisplay(outputs, Clock(1.0)), ProgressPiece(1, 4), *PIECES)
    assert outputs.messages[0][1]["data"]["text/plain"] == "getting ready: 25 %"


def test_an_answer_without_pieces_leaves_no_output() -> None:
    outputs = Outputs()
    show(LiveDisplay(outputs), stops=True)
    show(WholeDisplay(outputs), stops=True)
    show(TextDisplay(lambda text: outputs("stream", {"text": text}), dims=True), stops=True)
    assert outputs.messages == []


def test_a_stopped_answer_is_marked() -> None:
    outputs = Outputs()
    show(WholeDisplay(outputs), TextPiece("4"), stops=True)
    assert outputs.last()["text/markdown"] == "4\n\n*Stopped.*"


def text(*pieces: Piece, dims: bool, step: float = 1.0) -> list[str]:
    written: list[str] = []
    show(TextDisplay(written.append, dims=dims, clock=Clock(step)), *pieces)
    return written


def test_terminals_get_dimmed_reasoning_and_then_the_text() -> None:
    written = text(*PIECES, dims=True)
    assert written == ["\x1b[2m12 + 35\n", "hm", "\x1b[0m\n\n4", "7", "\n"]


def test_without_colours_reasoning_is_between_tags() -> None:
    assert "".join(text(*PIECES, dims=False)) == "<think>\n12 + 35\nhm\n</think>\n\n47\n"
    assert "".join(text(TextPiece("47"), dims=False)) == "47\n"


def test_reasoning_without_text_is_closed() -> None:
    assert "".join(text(ReasoningPiece("hm"), FinishPiece("length"), dims=True)) == "\x1b[2mhm\x1b[0m\n"


def test_text_is_not_flushed_for_every_piece() -> None:
    written = text(*[TextPiece("a")] * 100, dims=True, step=0.005)
    assert "".join(written) == "a" * 100 + "\n"
    assert len(written) <= 12


def test_control_sequences_of_a_model_do_not_reach_the_terminal() -> None:
    assert "".join(text(TextPiece("a\x1b[3"), TextPiece("1mb"), dims=False)) == "a[31mb\n"
