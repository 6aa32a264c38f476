"""The conversation in the terminal, over a scripted source."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator

import pytest

from pico_jupyter.cli.chat import Conversation, Piece, converse, print_answer
from pico_jupyter.errors import EngineFailed


class ScriptedSource:
    """Answers with the given pieces; records what it was asked and whether its answer was closed early."""

    def __init__(self, *pieces: Piece | BaseException) -> None:
        self.pieces = pieces
        self.asked: list[list[tuple[str, str]]] = []
        self.closed = 0

    def answer(self, conversation: Conversation) -> Iterator[Piece]:
        self.asked.append(list(conversation.messages()))
        try:
            for piece in self.pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.closed += 1


Type = Callable[..., None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    def type_lines(*lines: str | BaseException) -> None:
        left = iter(lines)

        def read(prompt: str = "") -> str:
            line = next(left, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr(builtins, "input", read)

    return type_lines


def test_thinking_is_marked_where_it_cannot_be_dimmed(capsys: pytest.CaptureFixture[str]) -> None:
    source = ScriptedSource(("thinking", "1 + 1"), ("text", "tw"), ("text", "o"))
    assert print_answer(source, Conversation("m")) == "two"
    assert capsys.readouterr().out == "<think>\n1 + 1\n</think>\n\ntwo\n"


def test_a_conversation_goes_on_with_what_was_said(typed: Type) -> None:
    source = ScriptedSource(("text", "hello"))
    typed("hi", "again")
    converse(source, Conversation("m", system="be brief"))
    assert source.asked[1] == [("system", "be brief"), ("user", "hi"), ("assistant", "hello"), ("user", "again")]


def test_an_interrupted_answer_is_stopped_and_forgotten(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    source = ScriptedSource(("text", "hel"), KeyboardInterrupt())
    typed("hi", KeyboardInterrupt(), "/bye")
    conversation = Conversation("m")
    converse(source, conversation)
    assert conversation.turns == []
    assert source.closed == 1
    assert "stopped" in capsys.readouterr().err


def test_a_failed_answer_does_not_end_the_conversation(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    source = ScriptedSource(EngineFailed("boom"))
    typed("hi", "again")
    converse(source, Conversation("m"))
    assert len(source.asked) == 2
    assert capsys.readouterr().err.count("error: boom") == 2


def test_commands_change_the_conversation(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = Conversation("m", turns=[("user", "hi"), ("assistant", "hello")])
    typed("/think off", "/system be brief", "/clear", "/what", "/bye")
    converse(ScriptedSource(), conversation)
    assert conversation == Conversation("m", reasoning=False, system="be brief", turns=[])
    assert "/think on|off|default" in capsys.readouterr().err
