"""The conversation in the terminal, over a scripted source."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pico_jupyter.cli.attachments import Attachment
from pico_jupyter.cli.chat import Conversation, LocalChat, Piece, ServerChat, Turn, converse, print_answer
from pico_jupyter.cli.settings import ServerAddress
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.ollama_request import OllamaAnswerCall, parse_ollama_chat
from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import ChatPrompt, ImagePart, Message, TextPart, VideoPart
from tests.server.scripted import ScriptedEngine


class ScriptedSource:
    """Answers with the given pieces; records what it was asked and whether its answer was closed early."""

    def __init__(self, *pieces: Piece | BaseException) -> None:
        self.pieces = pieces
        self.asked: list[list[tuple[str, str]]] = []
        self.shown: list[list[str]] = []
        self.closed = 0

    def answer(self, conversation: Conversation) -> Iterator[Piece]:
        self.asked.append([(turn.role, turn.text) for turn in conversation.messages()])
        self.shown = [[attachment.name for attachment in turn.media] for turn in conversation.turns]
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
    conversation = Conversation("m", turns=[Turn("user", "hi"), Turn("assistant", "hello")])
    typed("/think off", "/system be brief", "/clear", "/what", "/bye")
    converse(ScriptedSource(), conversation)
    assert conversation == Conversation("m", reasoning=False, system="be brief", turns=[])
    assert "/think on|off|default" in capsys.readouterr().err


def test_pictures_and_clips_go_along_with_the_next_question_only(
    typed: Type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat.png", "cat.mp4"):
        (tmp_path / name).write_bytes(b"x")
    source = ScriptedSource(("text", "a cat"))
    typed(f"/image {tmp_path}/cat.png", f"/video {tmp_path}/cat.mp4", "what is this?", "really?")
    converse(source, Conversation("m"))
    assert source.shown == [[f"{tmp_path}/cat.png", f"{tmp_path}/cat.mp4"], [], []]
    assert "cat.png goes along with the next question" in capsys.readouterr().err


def test_a_picture_that_is_not_there_does_not_end_the_conversation(
    typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ScriptedSource(("text", "hello"))
    typed("/image nowhere/cat.png", "hi")
    converse(source, Conversation("m"))
    assert source.shown == [[]]
    assert "error: cannot read nowhere/cat.png: No such file or directory\n" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["/image", "/video "])
def test_without_a_file_the_help_is_shown(typed: Type, capsys: pytest.CaptureFixture[str], command: str) -> None:
    typed(command)
    converse(ScriptedSource(), Conversation("m"))
    assert "/image FILE" in capsys.readouterr().err


def test_a_conversation_that_is_cleared_shows_nothing_any_more(typed: Type) -> None:
    conversation = Conversation("m", media=[CAT])
    typed("/clear")
    converse(ScriptedSource(), conversation)
    assert conversation.media == []


CAT = Attachment("image", "cat.png", b"cat")
FILM = Attachment("video", "film.mp4", b"film")


def seeing() -> Conversation:
    """A conversation that asks about a picture and a clip."""
    conversation = Conversation("tiny", media=[CAT, FILM])
    conversation.ask("what?")
    return conversation


def test_an_engine_of_its_own_gets_the_bytes() -> None:
    engine = ScriptedEngine()
    with LocalChat(engine) as source:
        print_answer(source, seeing())
    assert engine.requests[0].prompt == ChatPrompt(
        (Message("user", (ImagePart("cat.png", b"cat"), VideoPart("film.mp4", b"film"), TextPart("what?"))),)
    )


@pytest.fixture
def posted() -> Iterator[tuple[ServerAddress, list[bytes]]]:
    """A server that answers nothing, and the bodies that it got."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield ServerAddress(f"http://127.0.0.1:{server.server_port}/", ""), bodies
        server.shutdown()
        thread.join()


def test_a_server_gets_them_as_its_endpoint_takes_them(posted: tuple[ServerAddress, list[bytes]]) -> None:
    address, bodies = posted
    print_answer(ServerChat(address), seeing())
    call = parse_ollama_chat(bodies[0], request_id="r", settings=DialectSettings())
    assert isinstance(call, OllamaAnswerCall)
    assert call.request.prompt == ChatPrompt(
        (
            Message(
                "user",
                (
                    ImagePart("messages[0].content[0]", b"cat"),
                    VideoPart("messages[0].content[1]", b"film"),
                    TextPart("what?"),
                ),
            ),
        ),
        truncate=True,
    )


def test_a_server_gets_plain_text_where_nothing_is_shown(posted: tuple[ServerAddress, list[bytes]]) -> None:
    address, bodies = posted
    print_answer(ServerChat(address), Conversation("m", turns=[Turn("user", "hi")]))
    assert json.loads(bodies[0])["messages"] == [{"role": "user", "content": "hi"}]
