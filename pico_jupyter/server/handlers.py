"""The base of all handlers: authentication, authorization, CORS, and the limit on the size of the body.

Errors become responses in error_responses.py. Bodies are never logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from pico_jupyter.errors import Forbidden, MethodNotAllowed, NotFound, PicoError, RequestTooLarge, Unauthenticated
from pico_jupyter.server.context import ServerContext
from pico_jupyter.server.credentials import normalise_credentials
from pico_jupyter.server.error_responses import NO_TOKEN, ErrorResponder

RESOURCE = "pico"
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
PREFLIGHT_SECONDS = 600
# The body of a refused request is read if it is at most this large. Otherwise the connection is closed.
MAX_DRAINED_BYTES = 256 * 1024 * 1024
MAX_ECHOED_PATH = 64
SERVED = (
    "This server has v1/chat/completions, v1/chat, v1/responses, v1/completions, v1/embeddings, v1/rerank and "
    "v1/models of OpenAI's API, v1/messages and v1/messages/count_tokens of Anthropic's API, and api/chat, "
    "api/generate, api/embed, api/tags, api/ps, api/show, api/pull, api/delete and api/version of Ollama's API."
)
FOREIGN_ORIGIN = (
    "Pages of this origin may not use this server. The server's owner can allow an origin with ServerApp.allow_origin."
)
ALL_METHODS = "GET, POST, PATCH, DELETE, HEAD, OPTIONS"

# Parsing a body of this many bytes on the event loop would delay other requests noticeably.
LARGE_BODY = 64 * 1024

Params = ParamSpec("Params")
Call = TypeVar("Call")
Verb = TypeVar("Verb", bound=Callable[..., Awaitable[None]])


def permitted(action: str) -> Callable[[Verb], Verb]:
    """Require a client that is authenticated, and authorized for `action` ("read", "execute" or "write").

    Decorates a handler's method for one HTTP verb. The resource is always named, because `@authorized` without one
    in jupyter_server 2 uses the resource of its first call for all later calls.
    """

    def decorate(verb: Verb) -> Verb:
        return cast(Verb, web.authenticated(authorized(action=action, resource=RESOURCE)(verb)))

    return decorate


@web.stream_request_body
class DialectHandler(ErrorResponder):
    """Base of the handlers of all dialects. Subclasses set `dialect` and `methods`.

    The body is collected as bytes and never parsed as a form. Otherwise, if a client sent JSON with the Content-Type of
    a form, Jupyter would use a `&token=` in the JSON instead of the client's credentials.
    """

    def initialize(self, context: ServerContext) -> None:
        """Tornado calls this with the arguments of the routing rule."""
        self.context = context
        self._received = bytearray()
        self._discards_body = False

    async def prepare(self) -> None:  # type: ignore[override]  # as in APIHandler itself
        """Check the request before its body arrives."""
        try:
            await self.check_access()
        except (PicoError, web.HTTPError) as refusal:
            if "Expect" in self.request.headers or self._content_length() > MAX_DRAINED_BYTES:
                self.closes_connection = True
                raise
            self._refuse_after_body(refusal)

    async def check_access(self) -> None:
        """Check credentials, HTTP method and Content-Length. Raises PicoError or HTTPError."""
        normalise_credentials(self.request.headers)
        await APIHandler.prepare(self)
        method = self.request.method or ""
        verb = getattr(self, method.lower())
        if self.current_user is None and not getattr(verb, "__allow_unauthenticated", False):
            raise Unauthenticated(NO_TOKEN)
        if method not in (*self.methods, "OPTIONS"):
            raise MethodNotAllowed(f"{method} is not allowed here")
        if self._content_length() > self.context.max_request_bytes:
            raise self._too_large()

    def _content_length(self) -> int:
        length = self.request.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else 0

    def _refuse_after_body(self, refusal: Exception) -> None:
        """Discard the body, then raise `refusal` from the handler's method. If the body were not read, tornado would
        close the connection, and the client could lose the response, or its next request on the connection.
        """

        async def refuse(*_: str) -> None:
            raise refusal

        self._discards_body = True
        setattr(self, (self.request.method or "").lower(), refuse)

    def check_xsrf_cookie(self) -> None:
        """Require credentials and a valid XSRF cookie. If authentication is off, requests without Origin pass.

        This is safe, because browsers send Origin with every cross-site POST, and foreign origins are refused.
        """
        if not hasattr(self, "_jupyter_current_user"):
            return  # Tornado calls this before the user is known; JupyterHandler.prepare calls it again.
        if self.current_user is None:
            raise Unauthenticated(NO_TOKEN)
        if not self.identity_provider.auth_enabled and "Origin" not in self.request.headers:
            return
        super().check_xsrf_cookie()

    def check_origin(self, origin_to_satisfy_tornado: str = "") -> bool:
        """Refuse pages of foreign origins, with an error that names the cause. Jupyter's own refusal is a bare 404."""
        if super().check_origin(origin_to_satisfy_tornado):
            return True
        raise Unauthenticated(NO_TOKEN) if self.current_user is None else Forbidden(FOREIGN_ORIGIN)

    def set_cors_headers(self) -> None:
        """Allow the same origins as in the answer to a preflight: those of ServerApp.allow_origin and allow_origin_pat.

        Jupyter also allows every origin in answers to requests with a token. A browser never reads these answers,
        because the preflight has failed before.
        """
        super().set_cors_headers()
        is_configured = self.allow_origin or self.allow_origin_pat or ALLOW_ORIGIN in self.settings.get("headers", {})
        if not is_configured:
            self.clear_header(ALLOW_ORIGIN)

    def get_login_url(self) -> str:
        """Refuse instead of redirecting to a login page. `web.authenticated` calls this for missing credentials."""
        raise Unauthenticated(NO_TOKEN)

    async def authorize(self, action: str) -> None:
        """Check that the user may perform `action`, which depends on the body. Raises Forbidden."""
        user = self.current_user
        if not await ensure_async(self.authorizer.is_authorized(self, user, action, RESOURCE)):
            raise Forbidden(f"User is not authorized to {action} on resource: {RESOURCE}.")

    def data_received(self, chunk: bytes) -> None:
        """Append a chunk of the body. A body over the limit is discarded."""
        if len(self._received) + len(chunk) > self.context.max_request_bytes:
            self._discards_body = True
        if self._discards_body:
            self._received.clear()
        else:
            self._received.extend(chunk)

    def body(self) -> bytes:
        """The whole body. Raises RequestTooLarge if it was over the limit."""
        if self._discards_body:
            raise self._too_large()
        return bytes(self._received)

    async def parse(
        self, parser: Callable[Concatenate[bytes, Params], Call], *args: Params.args, **kwargs: Params.kwargs
    ) -> Call:
        """Return `parser(body, …)`. A large body is parsed on a thread, so that other requests do not wait."""
        body = self.body()
        if len(body) < LARGE_BODY:
            return parser(body, *args, **kwargs)
        return await asyncio.to_thread(parser, body, *args, **kwargs)

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"the request body is larger than {self.context.max_request_bytes} bytes")

    @allow_unauthenticated
    def options(self, *_: str) -> None:
        """Answer a browser's preflight request, which carries no credentials. set_cors_headers checks its Origin."""
        requested = self.request.headers.get("Access-Control-Request-Headers", "authorization, content-type")
        self.set_header("Access-Control-Allow-Methods", ALL_METHODS)
        self.set_header("Access-Control-Allow-Headers", requested)
        self.set_header("Access-Control-Max-Age", str(PREFLIGHT_SECONDS))
        self.set_status(204)
        self.finish()

    def respond(self, body: bytes, content_type: str = "") -> None:
        """Send the response with this body, which is JSON unless `content_type` is given."""
        self.finish(body, set_content_type=content_type or self.dialect.JSON_TYPE)


class NoEndpointHandler(DialectHandler):
    """Answers unknown paths with 404 in the dialect's format, instead of Jupyter's HTML page."""

    methods = DialectHandler.SUPPORTED_METHODS

    async def check_access(self) -> None:
        """Raise NotFound for every authenticated request except a preflight."""
        await super().check_access()
        if self.request.method != "OPTIONS":
            path = self.request.path[:MAX_ECHOED_PATH]
            raise NotFound(f"There is no such endpoint: {self.request.method} {path}. {SERVED}")
