"""Answer: its fields, and its representations for front ends."""

from __future__ import annotations

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.sources.calls import (
    AnswerRequest,
    Attachment,
    FinishPiece,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    Turn,
    Usage,
    UsagePiece,
    read_turns,
)

PIECES = (
    ProgressPiece(1, 2),
    ReasoningPiece("h"),
    ReasoningPiece("m"),
    TextPiece("6"),
    TextPiece("25"),
    FinishPiece("stop"),
    UsagePiece(Usage(9, 4, 2, 7)),
)


def written(*pieces: object, call: AnswerRequest | None = None) -> Answer:
    answer = Answer(call or AnswerRequest("tiny", (Turn("user", "348 + 277?"),)))
    for piece in pieces or PIECES:
        answer.add(piece)
    return answer


def test_an_answer_is_the_sum_of_its_pieces() -> None:
    answer = written()
    assert (answer.text, answer.reasoning, answer.model, answer.finish_reason) == ("625", "hm", "tiny", "stop")
    assert answer.usage == Usage(prompt_tokens=9, completion_tokens=4, reasoning_tokens=2, cached_tokens=7)
    assert str(answer) == "625"
    assert repr(answer) == "<Answer of tiny: '625'>"


def test_its_messages_are_the_conversation_and_can_be_read_again() -> None:
    picture = Attachment("image", "a.png", "data:image/png;base64,AA==")
    call = AnswerRequest(
        "tiny", (Turn("user", "a"), Turn("assistant", "A"), Turn("user", "b", (picture,))), system="Hm."
    )
    messages = written(TextPiece("B"), call=call).messages
    assert messages[:3] == [
        {"role": "system", "content": "Hm."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "A"},
    ]
    assert messages[-1] == {"role": "assistant", "content": "B"}
    assert read_turns(messages[1:]) == (*call.messages, Turn("assistant", "B"))


def test_markdown_has_folded_reasoning_and_escaped_html() -> None:
    answer = written(ReasoningPiece("hm"), TextPiece("<b>6</b>"), FinishPiece("stop"))
    assert answer._repr_mimebundle_() == {
        "text/markdown": "<details><summary>Thinking</summary>\n\nhm\n\n</details>\n\n&#60;b>6&#60;/b>",
        "text/plain": "<b>6</b>",
    }


def test_reasoning_is_unfolded_until_text_arrives() -> None:
    assert written(ReasoningPiece("hm")).to_markdown().startswith("<details open>")


def test_an_early_end_is_marked_in_the_markdown() -> None:
    assert written(TextPiece("6"), FinishPiece("length")).to_markdown().endswith("reached its token limit.*")
    stopped = written(TextPiece("6"))
    stopped.end("stopped")
    assert stopped.to_markdown() == "6\n\n*Stopped.*"
    whole = written()
    whole.end("stopped")
    assert whole.finish_reason == "stop"
