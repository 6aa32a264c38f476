"""ServerSource: a Source of answers from a Jupyter server, over its OpenAI endpoints."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from pico_jupyter.engine_reports import MemoryReport
from pico_jupyter.errors import EngineUnavailable, ModelNotFound, NotFound, PicoError
from pico_jupyter.sources.calls import (
    AnswerRequest,
    FinishPiece,
    ListedModel,
    Piece,
    ReasoningPiece,
    TextPiece,
    Turn,
    Usage,
    UsagePiece,
)
from pico_jupyter.sources.server_address import ServerAddress
from pico_jupyter.sources.server_errors import read_error_frame, read_error_response

PROBE_SECONDS = 5.0


class ServerSource:
    """A Source that asks the server at `address`."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"<ServerSource {self.address.url}>"

    def probe(self) -> None:
        """Raise PicoError if pico_jupyter does not answer within five seconds."""
        self._get("v1")

    def answers(self) -> bool:
        """Whether pico_jupyter answers within five seconds."""
        try:
            self.probe()
        except PicoError:
            return False
        return True

    async def embed(self, model: str, texts: Sequence[str], dimensions: int | None) -> list[bytes]:
        """See Source.embed."""
        body = {"model": model, "input": list(texts), "dimensions": dimensions, "encoding_format": "base64"}
        with _connection(self.address, None) as connection:
            try:
                answer = await asyncio.to_thread(self._exchange, connection, "POST", "v1/embeddings", body)
            except asyncio.CancelledError:
                _shut_down(connection)
                raise
        return [base64.b64decode(one["embedding"]) for one in answer["data"]]

    async def models(self) -> list[ListedModel]:
        """See Source.models."""
        return await asyncio.to_thread(self._models)

    async def memory(self) -> MemoryReport:
        """See Source.memory."""
        return msgspec.convert(await asyncio.to_thread(self._get, "v1/memory"), MemoryReport)

    async def load(self, name: str) -> None:
        """See Source.load. There is no timeout, because loading a large model takes minutes."""
        await self._post_chat({"model": name, "messages": []})

    async def unload(self, name: str) -> None:
        """See Source.unload."""
        await self._post_chat({"model": name, "messages": [], "keep_alive": 0})

    async def chat(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """See Source.chat."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | PicoError | None] = asyncio.Queue()

        def enqueue(piece: Piece | PicoError | None) -> None:
            # The loop may be closed while the reader thread still reads.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        with _connection(self.address, None) as connection:
            reader = threading.Thread(
                target=_read_answer, args=(connection, self.address, request, enqueue), daemon=True
            )
            reader.start()
            try:
                while (piece := await pieces.get()) is not None:
                    if isinstance(piece, PicoError):
                        raise piece
                    yield piece
            finally:
                _shut_down(connection)

    async def _post_chat(self, body: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(self._request, "POST", "api/chat", body, None)
        except NotFound as error:
            raise ModelNotFound(error.message, param="model", model=body["model"]) from None

    def _models(self) -> list[ListedModel]:
        listed = {model["id"]: model for model in self._get("v1/models")["data"]}
        resident = {_plain_name(model): model["size"] for model in self._get("api/ps")["models"]}
        return [_model(tag, listed, resident) for tag in self._get("api/tags")["models"]]

    def _get(self, path: str) -> dict[str, Any]:
        return self._request("GET", path, None, PROBE_SECONDS)

    def _request(self, method: str, path: str, body: object, timeout: float | None) -> dict[str, Any]:
        """Send one request and decode the answer. `timeout` is in seconds (None: no limit). Raises PicoError."""
        with _connection(self.address, timeout) as connection:
            return self._exchange(connection, method, path, body)

    def _exchange(self, connection: http.client.HTTPConnection, method: str, path: str, body: object) -> dict[str, Any]:
        with _as_unavailable():
            answer: dict[str, Any] = json.loads(_send(connection, self.address, method, f"pico/{path}", body).read())
            return answer


def get_json(address: ServerAddress, path: str, timeout: float = PROBE_SECONDS) -> Any:
    """Return the JSON at `path`, relative to the server's base URL. Raises PicoError."""
    return request_json(address, "GET", path, timeout=timeout)


def request_json(
    address: ServerAddress, method: str, path: str, body: object = None, *, timeout: float = PROBE_SECONDS
) -> Any:
    """Send a request and return the JSON of the answer, or None if it is empty. Raises PicoError."""
    with _as_unavailable(), _connection(address, timeout) as connection:
        answer = _send(connection, address, method, path, body).read()
        return json.loads(answer) if answer else None


def _read_answer(
    connection: http.client.HTTPConnection,
    address: ServerAddress,
    request: AnswerRequest,
    enqueue: Callable[[Piece | PicoError | None], None],
) -> None:
    """Enqueue the pieces of the answer, then None at its end or an error. Runs on its own thread."""
    try:
        with _as_unavailable():
            for piece in _answer(connection, address, request):
                enqueue(piece)
        enqueue(None)
    except PicoError as error:
        enqueue(error)


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    """Convert errors of a connection to EngineUnavailable."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException, AttributeError) as error:
        # http.client raises AttributeError if another thread shuts the connection down during a read.
        raise EngineUnavailable(f"the server cannot be reached: {type(error).__name__}: {error}") from None


def _answer(connection: http.client.HTTPConnection, address: ServerAddress, request: AnswerRequest) -> Iterator[Piece]:
    is_complete = False
    for line in _send(connection, address, "POST", "pico/v1/chat/completions", _body(request)):
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            is_complete = True
        elif line.startswith(b"data: "):
            yield from _pieces(json.loads(data))
    if not is_complete:
        raise EngineUnavailable("the server closed the connection before the answer was complete")


def _send(
    connection: http.client.HTTPConnection, address: ServerAddress, method: str, path: str, body: object
) -> http.client.HTTPResponse:
    """Send a request with the server's token and return the response. Raises PicoError unless it succeeds."""
    headers = {"Authorization": f"token {address.token}"} if address.token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body)
    connection.request(method, f"{urlsplit(address.url).path}{path}", data, headers)
    response = connection.getresponse()
    if response.status not in (http.client.OK, http.client.ACCEPTED):
        raise read_error_response(response.status, response.read(), response.getheader("Retry-After", ""))
    return response


def _body(request: AnswerRequest) -> dict[str, Any]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [*system, *map(_message, request.messages)],
        "stream": True,
        "stream_options": {"include_usage": True},
        "continue_final_message": request.continues,
    }
    if request.reasoning != "default":
        body["reasoning"] = {"effort": request.reasoning}
    if request.schema:
        holder = {"name": "answer", "schema": json.loads(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": holder}
    sampling = {"temperature": request.temperature, "max_tokens": request.max_tokens, "seed": request.seed}
    body.update({name: value for name, value in sampling.items() if value is not None})
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
        raise read_error_frame(chunk["error"])
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
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        yield UsagePiece(Usage(usage["prompt_tokens"], usage["completion_tokens"], reasoning, cached))


def _model(tag: dict[str, Any], listed: dict[str, dict[str, Any]], resident: dict[str, int]) -> ListedModel:
    """Build a ListedModel from an entry of api/tags. `listed` (v1/models) and `resident` (api/ps) are keyed by name."""
    name, details = _plain_name(tag), tag["details"]
    return ListedModel(
        name=name,
        size=tag["size"],
        quantization=details["quantization_level"],
        parameters=details["parameter_size"],
        capabilities=tuple(tag["capabilities"]),
        context=listed.get(name, {}).get("max_model_len", 0),
        resident=resident.get(name),
    )


def _plain_name(model: dict[str, Any]) -> str:
    return str(model["name"]).removesuffix(":latest")


@contextlib.contextmanager
def _connection(address: ServerAddress, timeout: float | None) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(address.url)
    host = parts.hostname or "localhost"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=_tls_context(host))
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def _tls_context(host: str) -> ssl.SSLContext:
    """Verify certificates, except on loopback: they are often self-signed there, and no network is involved."""
    context = ssl.create_default_context()
    if host == "localhost" or _is_loopback(host):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shut_down(connection: http.client.HTTPConnection) -> None:
    """End the read of another thread from `connection`. Closing the socket would not end the read."""
    sock: socket.socket | None = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
