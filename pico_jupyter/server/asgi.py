"""Runs an ASGI application for a request to a tornado handler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
# Tornado and Jupyter set these, and the application does not change them.
KEPT_HEADERS = ("content-length", "transfer-encoding", "connection", "date", "server")


async def run_asgi(handler: RequestHandler, application: Application, body: bytes, disconnected: asyncio.Event) -> None:
    """Answer the request of `handler` with an ASGI application.

    Set `disconnected` when the client has disconnected: then the application receives `http.disconnect`.
    """
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if disconnected.is_set():
            return
        if message["type"] == "http.response.start":
            handler.set_status(message["status"])
            for name, value in message.get("headers", ()):
                if name.decode("latin-1").lower() not in KEPT_HEADERS:
                    handler.set_header(name.decode("latin-1"), value.decode("latin-1"))
        elif message["type"] == "http.response.body":
            handler.write(message.get("body", b""))
            with suppress(StreamClosedError):
                await handler.flush()

    await application(scope_of(handler), receive, send)
    if not disconnected.is_set():
        handler.finish()


def scope_of(handler: RequestHandler) -> Message:
    """The ASGI scope of a request."""
    request = handler.request
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.protocol,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.get_all()
        ],
        "client": (request.remote_ip, 0),
        "server": None,
    }
