"""Downloads a file over HTTP from a public address, without credentials, cookies, proxies or decompression.

- Each redirect is checked like the first URL: scheme, host, and all addresses of the host (see addresses.py).
- A cancelled download closes its connection. This module uses HTTP1Connection, because SimpleAsyncHTTPClient of tornado
  6.6 keeps the connection open, and logs "Uncaught exception" when a callback stops a body by raising.
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
from pico_jupyter.server.byte_budget import ByteBudget

MAX_REDIRECTS = 5
STREAM_BUFFER_BYTES = 1024 * 1024
# The size of the body is not limited here, because ByteBudget limits it with a better message.
LIMITS = HTTP1ConnectionParameters(
    no_keep_alive=True, max_header_size=64 * 1024, max_body_size=sys.maxsize, decompress=False
)
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}
HEADERS = {
    "User-Agent": "pico_jupyter",
    "Accept": "image/*, video/*, */*;q=0.1",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed and checked URL. `host` is ASCII (IDNA); `path` is ASCII and includes the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Downloader:
    """Downloads files over HTTP and HTTPS.

    look_up: returns the addresses of a host. is_public: decides whether an address is allowed.
    make_tls: returns the TLS context that verifies certificates; called once, in a thread.
    """

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

    async def fetch(self, url: str, budget: ByteBudget) -> bytes:
        """Return the file at `url`. Raises InvalidRequest with the reason. There is no timeout."""
        target = parse_target(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._request(target, budget)
            if not response.location:
                return response.whole_body()
            target = parse_target(response.location, base=target.url)
        raise InvalidRequest("there are too many redirects")

    async def _request(self, target: Target, budget: ByteBudget) -> _Response:
        stream = await self._connect(target)
        try:
            response = _Response(stream, budget)
            with contextlib.suppress(StreamClosedError):
                await _send_request(stream, target).read_response(response)
        finally:
            stream.close()
        return response

    async def _connect(self, target: Target) -> IOStream:
        tls = await self._load_tls() if target.scheme == "https" else None
        try:
            return await self._tcp.connect(
                target.host, target.port, ssl_options=tls, max_buffer_size=STREAM_BUFFER_BYTES
            )
        except OSError:
            raise InvalidRequest(f"its host cannot be reached over {target.scheme}") from None

    async def _load_tls(self) -> ssl.SSLContext:
        # Loading the system's certificates blocks for tens of milliseconds, so it runs once and in a thread.
        if self._tls is None:
            self._tls = await asyncio.to_thread(self._make_tls)
        return self._tls


class _Response(HTTPMessageDelegate):
    """Receives a response, and closes the stream as soon as the rest is not needed.

    tornado logs exceptions of its delegates, so a refusal is stored until whole_body() raises it.
    """

    def __init__(self, stream: IOStream, budget: ByteBudget) -> None:
        self.location = ""
        self._stream = stream
        self._budget = budget
        self._body = bytearray()
        self._refusal: InvalidRequest | None = InvalidRequest("its host did not send a complete HTTP response")
        self._stopped = False

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Stop at a redirect, and at a response that cannot be used."""
        assert isinstance(start_line, ResponseStartLine)
        if start_line.code in REDIRECTS and "Location" in headers:
            self.location = headers["Location"]
            self._stop()
        elif start_line.code >= 200:
            self._stop_if_refused(lambda: self._check(start_line.code, headers))

    def data_received(self, chunk: bytes) -> None:
        """Append a part of the body. tornado calls this for buffered data even after the stream is closed."""
        if not self._stopped:
            self._stop_if_refused(lambda: self._budget.spend(len(chunk)))
            self._body += chunk

    def finish(self) -> None:
        """Accept the complete response, unless its body is empty."""
        if not self._stopped:
            self._refusal = None if self._body else InvalidRequest("the file is empty")

    def whole_body(self) -> bytes:
        """The body. Raises InvalidRequest if the response was refused or is incomplete."""
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

    def _check(self, code: int, headers: HTTPHeaders) -> None:
        if code != 200:
            raise InvalidRequest(f"its host responds with status {code}")
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise InvalidRequest("its host sent a compressed response")
        length = headers.get("Content-Length", "")
        if length.isdecimal():
            self._budget.check(int(length))


def parse_target(url: str, base: str = "") -> Target:
    """Parse and check a URL, which may be relative to `base`. Raises InvalidRequest."""
    try:
        url = urljoin(base, url)
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise InvalidRequest("its URL is malformed") from None
    if parts.scheme not in PORTS:
        raise InvalidRequest("only http: and https: URLs can be fetched")
    if "@" in parts.netloc:
        raise InvalidRequest("its URL must not contain a user name or a password")
    if not host:
        raise InvalidRequest("its URL has no host")
    return Target(url, parts.scheme, host, port, _ascii_path(parts.path, parts.query))


def _ascii_path(path: str, query: str) -> str:
    allowed = "/%:@!$&'()*+,;=~"
    encoded = quote(path or "/", safe=allowed)
    return f"{encoded}?{quote(query, safe=f'{allowed}?')}" if query else encoded


def _send_request(stream: IOStream, target: Target) -> HTTP1Connection:
    connection = HTTP1Connection(stream, is_client=True, params=LIMITS)
    headers = HTTPHeaders({"Host": target.authority, **HEADERS})
    connection.write_headers(RequestStartLine("GET", target.path, ""), headers)
    connection.finish()
    return connection
