"""The conversation in the terminal, over a scripted source."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pico_jupyter.cli.terminal_chat import TerminalChat, parse_path
from pico_jupyter.errors import ContextLengthExceeded, EngineFailed, ReasoningUnsupported
from pico_jupyter.sources.calls import (
    AnswerRequest,
    Attachment,
    FinishPiece,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    Turn,
)
from tests.fakes.source import FakeSource

HELLO = (TextPiece("hello"), FinishPiece("stop"))
CAT = Attachment("image", "cat.png", "data:image/png;base64,Y2F0")

Type = Callable[..., None]
StartChat = Callable[..., TerminalChat]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types the given lines at the prompt, then Ctrl-D. An exception is raised in place of a line."""

    def type_lines(*lines: str | BaseException) -> None:
        rest = iter(lines)

        def read(prompt: str = "") -> str:
            line = next(rest, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr(builtins, "input", read)

    return type_lines


@pytest.fixture
def start() -> Iterator[StartChat]:
    """Starts a conversation over a source, with a request's fields."""
    with asyncio.Runner() as runner:

        def start_chat(source: FakeSource, **fields: object) -> TerminalChat:
            return TerminalChat(source, runner, AnswerRequest("tiny", **{"messages": (), **fields}))

        yield start_chat


def test_reasoning_is_marked_where_it_cannot_be_dimmed(start: StartChat, capsys: pytest.CaptureFixture[str]) -> None:
    start(FakeSource(ReasoningPiece("1 + 1"), TextPiece("tw"), TextPiece("o"))).ask("1 + 1?")
    assert capsys.readouterr().out == "<think>\n1 + 1\n</think>\n\ntwo\n"


def test_progress_is_not_part_of_the_output(start: StartChat, capsys: pytest.CaptureFixture[str]) -> None:
    start(FakeSource(ProgressPiece(1, 4), *HELLO)).ask("hi")
    assert capsys.readouterr() == ("hello\n", "getting ready: 25 %\r")


def test_a_question_continues_the_conversation(start: StartChat, typed: Type) -> None:
    source = FakeSource(*HELLO)
    typed("hi", "again")
    start(source, system="be brief").converse()
    assert source.calls[1].system == "be brief"
    assert source.calls[1].messages == (Turn("user", "hi"), Turn("assistant", "hello"), Turn("user", "again"))


def test_an_interrupted_answer_is_stopped_and_forgotten(
    start: StartChat, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FakeSource(TextPiece("hel"), KeyboardInterrupt())
    typed("hi", KeyboardInterrupt(), "/bye")
    chat = start(source)
    chat.converse()
    assert chat.request.messages == ()
    assert source.closed == 1
    assert "stopped" in capsys.readouterr().err


def test_a_failed_answer_does_not_end_the_conversation(
    start: StartChat, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FakeSource(EngineFailed("boom"))
    typed("hi", "again")
    start(source).converse()
    assert [request.messages for request in source.calls] == [(Turn("user", "hi"),), (Turn("user", "again"),)]
    assert capsys.readouterr().err.count("error: boom") == 2


def test_a_full_context_can_be_cleared(start: StartChat, typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed("hi")
    start(FakeSource(ContextLengthExceeded("the prompt is too long"))).converse()
    assert "error: the prompt is too long; /clear starts a new conversation" in capsys.readouterr().err


def test_a_model_without_reasoning_refuses_to_reason(start: StartChat) -> None:
    source = FakeSource(*HELLO)
    with pytest.raises(ReasoningUnsupported, match='"tiny" does not support thinking'):
        start(source, reasoning="on").ask("hi")
    assert source.calls == []


def test_commands_change_the_conversation(start: StartChat, typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    chat = start(FakeSource(), messages=(Turn("user", "hi"), Turn("assistant", "hello")))
    typed("/think off", "/system be brief", "/clear", "/what", "/bye")
    chat.converse()
    assert chat.request == AnswerRequest("tiny", (), reasoning="off", system="be brief")
    assert "/think on|off|default" in capsys.readouterr().err


def test_images_and_videos_are_sent_with_the_next_question_only(
    start: StartChat, typed: Type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat.png", "cat.mp4"):
        (tmp_path / name).write_bytes(b"x")
    source = FakeSource(*HELLO)
    typed(f"/image {tmp_path}/cat.png", f"/video {tmp_path}/cat.mp4", "what is this?", "really?")
    start(source).converse()
    sent = [[attachment.name for attachment in turn.attachments] for turn in source.calls[1].messages]
    assert sent == [["cat.png", "cat.mp4"], [], []]
    assert "cat.png will be sent with the next question" in capsys.readouterr().err


def test_a_missing_image_does_not_end_the_conversation(
    start: StartChat, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FakeSource(*HELLO)
    typed("/image nowhere/cat.png", "hi")
    start(source).converse()
    assert source.calls[0].messages == (Turn("user", "hi"),)
    assert "error: cannot read 'nowhere/cat.png': No such file or directory\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["/image", "/video "])
def test_without_a_file_the_help_is_printed(
    start: StartChat, typed: Type, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    typed(command)
    start(FakeSource()).converse()
    assert "/image FILE" in capsys.readouterr().err


def test_clearing_the_conversation_drops_its_attachments(start: StartChat, typed: Type) -> None:
    chat = start(FakeSource())
    chat.attachments.append(CAT)
    typed("/clear")
    chat.converse()
    assert chat.attachments == []


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("a/cat.png", "a/cat.png"),
        ("my cat.png", "my cat.png"),
        (r"my\ cat.png", "my cat.png"),
        ("'my cat.png'", "my cat.png"),
        ("it's.png", "it's.png"),
    ],
)
def test_a_path_may_be_quoted_or_escaped(typed: str, path: str) -> None:
    assert parse_path(typed) == path
