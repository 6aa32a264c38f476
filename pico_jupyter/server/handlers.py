"""The base of all handlers: who may call, how much they may send, and how a failure is told. Knows no engine's work.

Before the first byte of an answer a failure is a status, after it a frame: `send_error` alone decides, whatever raised.
No prompt text reaches a log: bodies are never logged, and of unexpected exceptions only kind and place.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from pico_jupyter.dialects.failures import error_headers
from pico_jupyter.errors import (
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PicoError,
    RequestTooLarge,
    Unauthenticated,
)
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.credentials import normalise_credentials
from pico_jupyter.server.error_responses import NO_TOKEN, as_pico_error, log_line, status_of

RESOURCE = "pico"
PREFLIGHT_SECONDS = 600
# A refused body beyond this is not waited for.
MAX_DRAINED_BYTES = 256 * 1024 * 1024
ALL_METHODS = "GET, POST, DELETE, HEAD, OPTIONS"

Verb = TypeVar("Verb", bound=Callable[..., Awaitable[None]])


class ErrorDialect(Protocol):
    """How a dialect tells failures; its module satisfies this."""

    JSON_TYPE: str

    def error_body(self, error: PicoError) -> bytes:
        """The JSON object that tells `error`."""
        ...


def permitted(action: str) -> Callable[[Verb], Verb]:
    """Let a verb be called by those only who are known and may do `action`: read, execute or write.

    One decorator for Jupyter's two, so that none is forgotten and the resource is always named: Jupyter's bare
    `@authorized` keeps the first resource that it sees.
    """

    def decorate(verb: Verb) -> Verb:
        return cast(Verb, web.authenticated(authorized(action=action, resource=RESOURCE)(verb)))

    return decorate


@web.stream_request_body
class DialectHandler(APIHandler):
    """Base of the handlers of every dialect.

    The body is collected as bytes and never read as a form: a form-typed JSON body with `&token=` in it would override
    the caller's credentials.
    """

    dialect: ErrorDialect
    methods: tuple[str, ...]

    def initialize(self, context: ServerContext) -> None:
        """Take what the rule carries."""
        self.context = context
        self._received = bytearray()
        self._is_dropping = False
        self._is_closing = False

    async def prepare(self) -> None:  # type: ignore[override]  # as in APIHandler itself
        """Refuse, before a body is kept, whatever can be refused."""
        try:
            await self.admit()
        except (PicoError, web.HTTPError) as refusal:
            if self._body_is_not_waited_for():
                self._is_closing = True
                raise
            self._refuse_after_body(refusal)

    async def admit(self) -> None:
        """Raise whatever speaks against the request before its body is known."""
        normalise_credentials(self.request.headers)
        await APIHandler.prepare(self)
        method = self.request.method or ""
        verb = getattr(self, method.lower())
        if self.current_user is None and not getattr(verb, "__allow_unauthenticated", False):
            raise Unauthenticated(NO_TOKEN)
        if method not in (*self.methods, "OPTIONS"):
            raise MethodNotAllowed(f"{method} is not allowed here")
        if self._announced_bytes() > self.context.max_request_bytes:
            raise self._too_large()

    def _announced_bytes(self) -> int:
        length = self.request.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else 0

    def _body_is_not_waited_for(self) -> bool:
        return "Expect" in self.request.headers or self._announced_bytes() > MAX_DRAINED_BYTES

    def _refuse_after_body(self, refusal: Exception) -> None:
        """Let the body through, unread, be it empty. Tornado closes a connection whose request was not read to its end,
        and a client loses the answer, or the request that it sends next.
        """

        async def refuse(*_: str) -> None:
            raise refusal

        self._is_dropping = True
        setattr(self, (self.request.method or "").lower(), refuse)

    def check_xsrf_cookie(self) -> None:
        """Missing credentials are told as such, and a server without authentication serves callers without Origin.

        Browsers send Origin with every cross-site POST, and foreign origins are refused, so that no page on the web
        reaches a server that has its authentication switched off.
        """
        if not hasattr(self, "_jupyter_current_user"):
            return  # Tornado asks before the caller is known; JupyterHandler.prepare asks again.
        if self.current_user is None:
            raise Unauthenticated(NO_TOKEN)
        if not self.identity_provider.auth_enabled and "Origin" not in self.request.headers:
            return
        super().check_xsrf_cookie()

    def get_login_url(self) -> str:
        """Programs have no use for a login page: `web.authenticated` asks for it when credentials are missing."""
        raise Unauthenticated(NO_TOKEN)

    async def authorize(self, action: str) -> None:
        """For what only the body tells: refuse a caller who may not do `action`. Raises Forbidden."""
        user = self.current_user
        if not await ensure_async(self.authorizer.is_authorized(self, user, action, RESOURCE)):
            raise Forbidden(f"User is not authorized to {action} on resource: {RESOURCE}.")

    def data_received(self, chunk: bytes) -> None:
        """Collect the body; what is beyond the limit is dropped."""
        if len(self._received) + len(chunk) > self.context.max_request_bytes:
            self._is_dropping = True
        if self._is_dropping:
            self._received.clear()
        else:
            self._received.extend(chunk)

    def body(self) -> bytes:
        """The whole body. Raises RequestTooLarge."""
        if self._is_dropping:
            raise self._too_large()
        return bytes(self._received)

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"the request body is larger than {self.context.max_request_bytes} bytes")

    @allow_unauthenticated
    def options(self, *_: str) -> None:
        """Answer a browser's preflight. It carries no credentials; set_cors_headers has judged its Origin."""
        requested = self.request.headers.get("Access-Control-Request-Headers", "authorization, content-type")
        self.set_header("Access-Control-Allow-Methods", ALL_METHODS)
        self.set_header("Access-Control-Allow-Headers", requested)
        self.set_header("Access-Control-Max-Age", str(PREFLIGHT_SECONDS))
        self.set_status(204)
        self.finish()

    @property
    def request_id(self) -> str:
        """A unique word for this request."""
        if not hasattr(self, "_request_id"):
            self._request_id = uuid.uuid4().hex
        return self._request_id

    def set_default_headers(self) -> None:
        """Give every answer, refusals included, an id that people can quote."""
        super().set_default_headers()
        self.set_header("x-request-id", f"req_{self.request_id}")

    def respond(self, body: bytes, content_type: str = "") -> None:
        """Finish with one whole body: JSON, unless another type is given."""
        self.finish(body, set_content_type=content_type or self.dialect.JSON_TYPE)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Tell a failure before the first byte of the answer: as a status."""
        _, raised, _ = kwargs.get("exc_info", (None, None, None))
        super().send_error(status_of(raised, status_code), error=as_pico_error(raised, status_code))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell a failure in the dialect's shape, with the headers that tell programs what to do next."""
        error: PicoError = kwargs["error"]
        if hasattr(self, "_jupyter_current_user"):
            self.set_cors_headers()  # send_error has cleared what prepare had set
        for name, value in error_headers(error).items():
            self.set_header(name, value)
        if self._is_closing:
            self.set_header("Connection", "close")
        if isinstance(error, MethodNotAllowed):
            self.set_header("Allow", ", ".join((*self.methods, "OPTIONS")))
        self.respond(self.dialect.error_body(error))

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log what the server's owner can act on. A refused request is told to its caller only."""
        line = log_line(value) if value is not None else ""
        if line:
            self.log.error("pico_jupyter: request %s failed: %s", self.request_id, line)


class NoEndpointHandler(DialectHandler):
    """A path that means nothing: told in the dialect's shape, where Jupyter would show a page."""

    methods = DialectHandler.SUPPORTED_METHODS

    async def admit(self) -> None:
        """Tell callers who are known; the others are refused as everywhere."""
        await super().admit()
        if self.request.method != "OPTIONS":
            raise NotFound("There is no such endpoint")
