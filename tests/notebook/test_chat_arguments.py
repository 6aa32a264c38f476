"""The arguments of `Pico.chat`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.chat_arguments import read_arguments
from pico_jupyter.sources.calls import AnswerRequest, Attachment, TextPiece, Turn


def test_a_question_alone_uses_all_defaults() -> None:
    assert read_arguments("hi", {}) == AnswerRequest("", (Turn("user", "hi"),))


def test_every_argument_reaches_the_request() -> None:
    call = read_arguments(
        "hi",
        {
            "model": "tiny",
            "system": "Be brief.",
            "images": "data:image/png;base64,AA==",
            "videos": [b"mp4"],
            "temperature": np.float32(0.5),
            "max_tokens": np.int64(9),
            "seed": -1,
        },
    )
    picture = Attachment("image", "images[0]", "data:image/png;base64,AA==")
    clip = Attachment("video", "videos[0]", "data:video/mp4;base64,bXA0")
    assert call == AnswerRequest(
        "tiny", (Turn("user", "hi", (picture, clip)),), system="Be brief.", temperature=0.5, max_tokens=9, seed=-1
    )


@pytest.mark.parametrize(
    ("switch", "reasoning"),
    [(True, "on"), ("on", "on"), (False, "off"), ("off", "off"), (None, "default"), ("default", "default")],
)
def test_the_reasoning_switch_has_several_spellings(switch: Any, reasoning: str) -> None:
    assert read_arguments("hi", {"reasoning": switch}).reasoning == reasoning


def test_an_answer_is_continued_with_its_model_and_system_message() -> None:
    answer = Answer(AnswerRequest("tiny", (Turn("user", "a"),), system="Be brief."))
    answer.add(TextPiece("A"))
    turns = (Turn("user", "a"), Turn("assistant", "A"), Turn("user", "b"))
    assert read_arguments("b", {"history": answer}) == AnswerRequest("tiny", turns, system="Be brief.")
    other = read_arguments("b", {"history": answer, "model": "large", "system": "Shout."})
    assert (other.model, other.system, other.messages) == ("large", "Shout.", turns)


def test_messages_are_continued() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "A"},
    ]
    call = read_arguments("b", {"history": messages})
    assert call.system == "Be brief."
    assert [turn.content for turn in call.messages] == ["a", "A", "b"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"reasoning": "perhaps"}, "reasoning: 'perhaps' is not 'on', 'off' or 'default'"),
        ({"reasoning": ["on"]}, "reasoning: .* is not 'on'"),
        ({"temperature": 2.5}, "temperature: 2.5 is not a number from 0 to 2"),
        ({"temperature": float("nan")}, "temperature: nan is not a number"),
        ({"temperature": "0"}, "temperature: '0' is not a number"),
        ({"temperature": True}, "temperature: True is not a number"),
        ({"max_tokens": 0}, "max_tokens: 0 is not an integer from 1"),
        ({"max_tokens": 1.5}, "max_tokens: 1.5 is not an integer"),
        ({"seed": "x"}, "seed: 'x' is not an integer"),
        ({"seed": 2**63}, "seed: 9223372036854775808 is not an integer"),
        ({"model": 3}, "model: must be text, not int"),
        ({"system": b"x"}, "system: must be text, not bytes"),
        ({"history": "a"}, "history: must be an Answer or a list of messages, not str"),
        ({"history": {"role": "user"}}, "history: must be an Answer or a list of messages, not dict"),
        ({"history": [{"role": "poet", "content": "x"}]}, "history: messages: .*poet"),
        ({"history": ["x"]}, "history: messages: "),
    ],
)
def test_a_wrong_argument_is_named(options: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as raised:
        read_arguments("hi", options)
    assert raised.value.param == next(iter(options))


def test_a_question_must_be_text() -> None:
    with pytest.raises(InvalidRequest, match="the question must be text, not list"):
        read_arguments(["hi"], {})
