"""Downloads a file that a caller names, from public addresses only. Knows nothing of requests and of pictures.

Redirects are followed by hand, so that each is judged like the first URL. Nothing of the caller goes along: no cookie,
no credentials, no proxy of the environment. Nothing is decompressed. Who stops waiting closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.server.addresses import Address, Lookup, PublicResolver, is_public, look_up
from pico_jupyter.server.allowance import Allowance

MAX_REDIRECTS = 5
MAX_HEADER_BYTES = 64 * 1024
STREAM_BUFFER_BYTES = 1024 * 1024
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """What one connection asks for. `host` is ASCII, and so is `path`, which has the query in it."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Downloader:
    """Fetches over HTTP. `is_public` judges the addresses that `look_up` finds; what `make_tls` makes, certificates."""

    def __init__(
        self,
        *,
        look_up: Lookup = look_up,
        is_public: Callable[[Address], bool] = is_public,
        make_tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._tcp = TCPClient(PublicResolver(look_up=look_up, is_public=is_public))
        self._make_tls = make_tls
        self._tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return "<Downloader>"

    async def fetch(self, url: str, allowance: Allowance) -> bytes:
        """The bytes that the URL stands for. Raises InvalidRequest with the reason, and takes as long as the other end
        pleases.
        """
        target = read_target(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._ask(target, allowance)
            if not answer.location:
                return answer.whole_body()
            target = read_target(target.url, answer.location)
        raise InvalidRequest("it is redirected too often")

    async def _ask(self, target: Target, allowance: Allowance) -> _Answer:
        stream = await self._connect(target)
        try:
            answer = _Answer(stream, allowance)
            with contextlib.suppress(StreamClosedError):
                await _send(stream, target).read_response(answer)
        finally:
            stream.close()
        return answer

    async def _connect(self, target: Target) -> IOStream:
        tls = await self._load_tls() if target.scheme == "https" else None
        try:
            return await self._tcp.connect(
                target.host, target.port, ssl_options=tls, max_buffer_size=STREAM_BUFFER_BYTES
            )
        except OSError:
            raise InvalidRequest(f"its host cannot be reached by {target.scheme}") from None

    async def _load_tls(self) -> ssl.SSLContext:
        """Made when it is needed, beside the event loop: the system's certificates are many."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(self._make_tls)
        return self._tls


class _Answer(HTTPMessageDelegate):
    """Takes in what the other end says, up to where it is of use, and closes the stream there.

    Tornado logs what its delegates raise, so a reason to refuse is kept until somebody asks for the body.
    """

    def __init__(self, stream: IOStream, allowance: Allowance) -> None:
        self.location = ""
        self._stream = stream
        self._allowance = allowance
        self._body = bytearray()
        self._refusal: InvalidRequest | None = InvalidRequest("its host broke off")
        self._stopped = False

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Judge the answer by what it says of itself."""
        assert isinstance(start_line, ResponseStartLine)
        if start_line.code in REDIRECTS and "Location" in headers:
            self.location = headers["Location"]
            self._stop()
        elif start_line.code >= 200:
            self._stop_if_refused(lambda: self._judge(start_line.code, headers))

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body. What had come before the stream was closed is told all the same."""
        if not self._stopped:
            self._stop_if_refused(lambda: self._allowance.take(len(chunk)))
            self._body += chunk

    def finish(self) -> None:
        """The answer is whole."""
        if not self._stopped:
            self._refusal = None if self._body else InvalidRequest("it is empty")

    def whole_body(self) -> bytes:
        """The body. Raises InvalidRequest when it is of no use."""
        if self._refusal is not None:
            raise self._refusal
        return bytes(self._body)

    def _stop(self) -> None:
        self._stopped = True
        self._stream.close()

    def _stop_if_refused(self, check: Callable[[], None]) -> None:
        try:
            check()
        except InvalidRequest as refusal:
            self._refusal = refusal
            self._stop()

    def _judge(self, code: int, headers: HTTPHeaders) -> None:
        if code != 200:
            raise InvalidRequest(f"its host answers {code}")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise InvalidRequest("its host sends it compressed")
        length = headers.get("Content-Length", "")
        if length.isdecimal():
            self._allowance.check(int(length))


def read_target(url: str, location: str = "") -> Target:
    """What the URL, or a `location` that it redirects to, asks for. Raises InvalidRequest."""
    try:
        url = urljoin(url, location)
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise InvalidRequest("its URL is malformed") from None
    if parts.scheme not in PORTS:
        raise InvalidRequest("only http: and https: URLs are fetched")
    if "@" in parts.netloc:
        raise InvalidRequest("no user name and no password may stand in its URL")
    if not host:
        raise InvalidRequest("its URL names no host")
    return Target(url, parts.scheme, host, port, _ascii_path(parts.path, parts.query))


def _ascii_path(path: str, query: str) -> str:
    allowed = "/%:@!$&'()*+,;=~"
    encoded = quote(path or "/", safe=allowed)
    return f"{encoded}?{quote(query, safe=f'{allowed}?')}" if query else encoded


def _send(stream: IOStream, target: Target) -> HTTP1Connection:
    # The limit of a body is the allowance, which says so in words.
    parameters = HTTP1ConnectionParameters(
        no_keep_alive=True, max_header_size=MAX_HEADER_BYTES, max_body_size=sys.maxsize, decompress=False
    )
    connection = HTTP1Connection(stream, is_client=True, params=parameters)
    headers = {"Host": target.authority, "User-Agent": "pico_jupyter", "Accept": "image/*, video/*, */*;q=0.1"}
    headers |= {"Accept-Encoding": "identity", "Connection": "close"}
    connection.write_headers(RequestStartLine("GET", target.path, ""), HTTPHeaders(headers))
    connection.finish()
    return connection
