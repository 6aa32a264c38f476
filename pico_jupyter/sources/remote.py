"""ServerSource: answers of the Jupyter server that this kernel belongs to. Knows its HTTP, not who serves it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyter_core.paths import jupyter_runtime_dir

from pico_jupyter.errors import EngineUnavailable, PicoError
from pico_jupyter.sources.calls import (
    ChatCall,
    FinishPiece,
    Piece,
    ReasoningPiece,
    Stats,
    TextPiece,
    Turn,
    UsagePiece,
)

PROBE_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class ServerAddress:
    """Where the server is; `url` ends in a slash."""

    url: str
    token: str


def find_server(environ: Mapping[str, str] = os.environ) -> ServerAddress | None:
    """The server that started this kernel, or that PICO_JUPYTER_URL names. No other server is ever tried."""
    if environ.get("PICO_JUPYTER_URL"):
        return ServerAddress(environ["PICO_JUPYTER_URL"].rstrip("/") + "/", environ.get("PICO_JUPYTER_TOKEN", ""))
    return read_address(Path(jupyter_runtime_dir()) / f"jpserver-{environ.get('JPY_PARENT_PID', '')}.json")


def read_address(info: Path) -> ServerAddress | None:
    """What a server's info file says, once it is there."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        facts = json.loads(info.read_text())
        return ServerAddress(str(facts["url"]), str(facts["token"]))
    return None


class ServerSource:
    """A Source that is a server. Only chats go this way: the page asks for all else itself."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address

    def __repr__(self) -> str:
        return f"<ServerSource {self._address.url}>"

    def answers(self) -> bool:
        """Whether a pico_jupyter is there."""
        try:
            with _connection(self._address, PROBE_SECONDS) as connection:
                return _get(connection, self._address, "pico/v1").status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    async def models(self) -> list[dict[str, Any]]:
        """The names of the models, which is all that is needed here."""

        def names() -> list[dict[str, Any]]:
            with _connection(self._address, PROBE_SECONDS) as connection:
                listed = json.loads(_get(connection, self._address, "pico/v1/models").read())
            return [{"name": model["id"]} for model in listed["data"]]

        return await asyncio.to_thread(names)

    async def load(self, name: str) -> None:
        """Nothing to do: the page asks the server itself."""

    async def unload(self, name: str) -> None:
        """Nothing to do: the page asks the server itself."""

    async def chat(self, call: ChatCall) -> AsyncGenerator[Piece, None]:
        """See Source.chat."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | PicoError | None] = asyncio.Queue()

        def tell(piece: Piece | PicoError | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        with _connection(self._address, None) as connection:
            reader = threading.Thread(target=_read_answer, args=(connection, self._address, call, tell), daemon=True)
            reader.start()
            try:
                while (piece := await pieces.get()) is not None:
                    if isinstance(piece, PicoError):
                        raise piece
                    yield piece
            finally:
                _cut(connection)


def _read_answer(connection: http.client.HTTPConnection, address: ServerAddress, call: ChatCall, tell: Any) -> None:
    """Runs on a thread of its own until the answer ends or the connection is cut."""
    try:
        for piece in _answer(connection, address, call):
            tell(piece)
        tell(None)
    except PicoError as error:
        tell(error)
    except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
        # AttributeError: http.client's own way of saying that the connection was cut under it.
        tell(EngineUnavailable(f"the server cannot be reached: {type(error).__name__}: {error}"))


def _answer(connection: http.client.HTTPConnection, address: ServerAddress, call: ChatCall) -> Iterator[Piece]:
    headers = {**_headers(address), "Content-Type": "application/json"}
    path = urlsplit(address.url).path + "pico/v1/chat/completions"
    connection.request("POST", path, json.dumps(_body(call)), headers)
    response = connection.getresponse()
    if response.status != http.client.OK:
        raise EngineUnavailable(json.loads(response.read())["error"]["message"])
    for line in response:
        data = line.removeprefix(b"data: ").strip()
        if line.startswith(b"data: ") and data != b"[DONE]":
            yield from _pieces(json.loads(data))


def _body(call: ChatCall) -> dict[str, Any]:
    system = [{"role": "system", "content": call.system}] if call.system else []
    body: dict[str, Any] = {
        "model": call.model,
        "messages": [*system, *map(_message, call.messages)],
        "stream": True,
        "stream_options": {"include_usage": True},
        "continue_final_message": call.continues,
    }
    if call.reasoning != "default":
        body["reasoning"] = {"effort": call.reasoning}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    return body


def _message(turn: Turn) -> dict[str, Any]:
    media = [
        {"type": f"{attachment.kind}_url", f"{attachment.kind}_url": {"url": attachment.data}}
        for attachment in turn.attachments
        if attachment.kind != "text"
    ]
    content = [*media, {"type": "text", "text": turn.text}] if media else turn.text
    return {"role": turn.role, "content": content}


def _pieces(chunk: dict[str, Any]) -> Iterator[Piece]:
    if "error" in chunk:
        raise EngineUnavailable(chunk["error"]["message"])
    for choice in chunk["choices"]:
        delta = choice["delta"]
        if delta.get("reasoning_content"):
            yield ReasoningPiece(delta["reasoning_content"])
        if delta.get("content"):
            yield TextPiece(delta["content"])
        if choice["finish_reason"]:
            yield FinishPiece(choice["finish_reason"])
    if usage := chunk.get("usage"):
        reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
        yield UsagePiece(Stats(usage["prompt_tokens"], usage["completion_tokens"], reasoning))


@contextlib.contextmanager
def _connection(address: ServerAddress, timeout: float | None) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(address.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "localhost", parts.port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, address: ServerAddress, path: str) -> http.client.HTTPResponse:
    connection.request("GET", urlsplit(address.url).path + path, headers=_headers(address))
    return connection.getresponse()


def _headers(address: ServerAddress) -> dict[str, str]:
    return {"Authorization": f"token {address.token}"} if address.token else {}


def _cut(connection: http.client.HTTPConnection) -> None:
    """End the connection under the thread that reads from it: closing alone would leave it waiting."""
    sock: socket.socket | None = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
