"""`jupyter pico run`: a conversation in the terminal, with a running server or with an engine of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias
from uuid import uuid4

import msgspec

from pico_jupyter.cli.attachments import Attachment, as_file_name, read_attachment
from pico_jupyter.cli.settings import ServerAddress, http_request
from pico_jupyter.client import EngineClient
from pico_jupyter.errors import EngineUnavailable, PicoError
from pico_jupyter.types import (
    ChatPrompt,
    Finished,
    GenerationRequest,
    Message,
    Progress,
    ReasoningDelta,
    SamplingParams,
    TextDelta,
    TextPart,
)

DIM, RESET = "\x1b[2m", "\x1b[0m"
HELP = """\
/think on|off|default   switch reasoning
/system TEXT            set the system message (empty: none)
/image FILE             show a picture with the next question
/video FILE             show a clip with the next question
/clear                  forget the conversation
/bye                    leave (also Ctrl-D); Ctrl-C stops an answer"""

Piece: TypeAlias = tuple[Literal["thinking", "text", "status"], str]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said, and what it showed before."""

    role: Literal["system", "user", "assistant"]
    text: str
    media: tuple[Attachment, ...] = ()


@dataclass(slots=True)
class Conversation:
    """What has been said, and how to say more. `media` go along with the next question."""

    model: str
    reasoning: bool | None = None
    system: str = ""
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    media: list[Attachment] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Add the user's next turn."""
        self.turns.append(Turn("user", question, tuple(self.media)))
        self.media.clear()

    def messages(self) -> list[Turn]:
        """The turns with the system message in front, if there is one."""
        system = [Turn("system", self.system)] if self.system else []
        return [*system, *self.turns]


class ChatSource(Protocol):
    """Something that answers a conversation: a server or an engine."""

    def answer(self, conversation: Conversation) -> Iterator[Piece]:
        """Stream the next answer. Closing the iterator aborts it. Raises PicoError."""
        ...


class ServerChat:
    """Answers by a running Jupyter server, over its Ollama endpoint."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address

    def __repr__(self) -> str:
        return f"<ServerChat {self._address.url}>"

    def answer(self, conversation: Conversation) -> Iterator[Piece]:
        """Stream the next answer; closing the iterator closes the connection, which aborts at the engine."""
        sampling = {
            "temperature": conversation.temperature,
            "seed": conversation.seed,
            "num_predict": conversation.max_tokens,
        }
        body = {
            "model": conversation.model,
            "messages": [{"role": turn.role, "content": _content(turn)} for turn in conversation.messages()],
            "think": conversation.reasoning,
            "options": {name: value for name, value in sampling.items() if value is not None},
        }
        with _open(self._address, "api/chat", body) as response:
            for line in response:
                yield from _pieces(msgspec.json.decode(line))


def _content(turn: Turn) -> str | list[dict[str, Any]]:
    if not turn.media:
        return turn.text
    return [*(attachment.content_part() for attachment in turn.media), {"type": "text", "text": turn.text}]


def _pieces(chunk: dict[str, Any]) -> Iterator[Piece]:
    if "error" in chunk:
        raise PicoError(chunk["error"])
    message = chunk["message"]
    if message.get("thinking"):
        yield "thinking", message["thinking"]
    if message["content"]:
        yield "text", message["content"]


@contextlib.contextmanager
def _open(address: ServerAddress, path: str, body: object = None) -> Iterator[Any]:
    try:
        with urllib.request.urlopen(http_request(address, path, body)) as response:
            yield response
    except urllib.error.HTTPError as error:
        raise PicoError(_error_text(error)) from None
    except OSError as error:
        raise EngineUnavailable(f"cannot reach {address.url}: {error}") from None


def _error_text(error: urllib.error.HTTPError) -> str:
    try:
        return str(msgspec.json.decode(error.read())["error"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return f"the server answered {error.code} {error.reason}"


def fetch(address: ServerAddress, path: str, body: object = None) -> dict[str, Any]:
    """GET (or POST, with a body) a JSON object from the server. Raises PicoError."""
    with _open(address, path, body) as response:
        answer: dict[str, Any] = msgspec.json.decode(response.read())
        return answer


class LocalChat:
    """Answers by an engine of its own, which it closes in the end."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self._loop = asyncio.new_event_loop()

    def __repr__(self) -> str:
        return f"<LocalChat {self._engine!r}>"

    def answer(self, conversation: Conversation) -> Iterator[Piece]:
        """Stream the next answer; closing the iterator aborts it, and so does Ctrl-C while waiting."""
        pieces = self._stream(conversation)
        try:
            while (piece := self._wait(anext(pieces, None))) is not None:
                yield piece
        finally:
            self._loop.run_until_complete(pieces.aclose())

    def _wait(self, awaitable: Awaitable[Piece | None]) -> Piece | None:
        task = asyncio.ensure_future(awaitable, loop=self._loop)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            self._loop.run_until_complete(asyncio.wait([task]))
            raise

    async def _stream(self, conversation: Conversation) -> AsyncGenerator[Piece, None]:
        request = GenerationRequest(
            id=uuid4().hex,
            model=conversation.model,
            prompt=ChatPrompt(tuple(_message(turn) for turn in conversation.messages())),
            sampling=SamplingParams(temperature=conversation.temperature, seed=conversation.seed),
            fallback_sampling=SamplingParams(temperature=0.8, top_p=0.9, top_k=40),
            reasoning=conversation.reasoning,
            reasoning_required=conversation.reasoning is True,
            max_tokens=conversation.max_tokens,
        )
        async with aclosing(self._engine.generate(request)) as deltas:
            async for delta in deltas:
                match delta:
                    case ReasoningDelta():
                        yield "thinking", delta.text
                    case TextDelta():
                        yield "text", delta.text
                    case Progress(phase="load", total=total) if total:
                        yield "status", f"loading {delta.done * 100 // total} %"
                    case Finished():
                        return
                    case _:
                        pass

    def __enter__(self) -> LocalChat:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._engine.aclose())
        self._loop.close()


def _message(turn: Turn) -> Message:
    return Message(turn.role, (*(attachment.part() for attachment in turn.media), TextPart(turn.text)))


def print_answer(source: ChatSource, conversation: Conversation) -> str:
    """Print an answer as it comes, thinking dimmed, and return its visible text. Ctrl-C aborts the answer."""
    colour = sys.stdout.isatty()
    text: list[str] = []
    last = ""
    pieces = source.answer(conversation)
    try:
        for kind, piece in pieces:
            if kind == "status":
                print(f"{piece}\r", end="", file=sys.stderr, flush=True)
                continue
            if kind != last:
                print(_transition(last, kind, colour), end="")
                last = kind
            print(piece, end="", flush=True)
            if kind == "text":
                text.append(piece)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
        if last:
            print(RESET if colour else "", flush=True)
    return "".join(text)


def _transition(last: str, kind: str, colour: bool) -> str:
    if kind == "thinking":
        return DIM if colour else "<think>\n"
    if last == "thinking":
        return f"{RESET}\n\n" if colour else "\n</think>\n\n"
    return ""


def converse(source: ChatSource, conversation: Conversation) -> None:
    """A prompt, an answer, and so on, until Ctrl-D or /bye."""
    print(f"{conversation.model}: /? for help, Ctrl-D to leave", file=sys.stderr)
    while True:
        try:
            line = input(">>> ").strip()
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            print("\nCtrl-D or /bye to leave", file=sys.stderr)
            continue
        if line in {"/bye", "/exit", "/quit"}:
            return
        if line.startswith("/"):
            print(_command(conversation, line), file=sys.stderr)
        elif line:
            _turn(source, conversation, line)


def _turn(source: ChatSource, conversation: Conversation, question: str) -> None:
    conversation.ask(question)
    try:
        conversation.turns.append(Turn("assistant", print_answer(source, conversation)))
    except KeyboardInterrupt:
        conversation.turns.pop()
        print("stopped", file=sys.stderr)
    except PicoError as error:
        conversation.turns.pop()
        print(f"error: {error.message}", file=sys.stderr)


def _command(conversation: Conversation, line: str) -> str:
    word, _, rest = line[1:].partition(" ")
    switch = {"on": True, "off": False, "default": None}
    match word:
        case "think" if rest.strip() in switch:
            conversation.reasoning = switch[rest.strip()]
            return f"reasoning: {rest.strip()}"
        case "system":
            conversation.system = rest.strip()
            return "system message set" if rest.strip() else "no system message"
        case "image" | "video" if rest.strip():
            return _attach(conversation, word, as_file_name(rest.strip()))
        case "clear":
            conversation.turns.clear()
            conversation.media.clear()
            return "the conversation is empty"
        case _:
            return HELP


def _attach(conversation: Conversation, kind: Literal["image", "video"], name: str) -> str:
    try:
        conversation.media.append(read_attachment(kind, name))
    except PicoError as error:
        return f"error: {error.message}"
    return f"{name} goes along with the next question"
