"""Converts an exception of a handler to a response in its dialect. Logs it if the server's owner can act on it.

- Tornado calls `send_error` for every exception that a handler raises. The response is an HTTP status and a JSON body.
  GenerationHandler overrides `send_error` to send a frame if its stream has already started.
- An unexpected exception becomes a generic 500. Its message may quote a prompt, so it is neither sent nor logged.
"""

from __future__ import annotations

import traceback
import uuid
from functools import cached_property
from http.client import responses
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from jupyter_server.base.handlers import APIHandler
from tornado import web

from pico_jupyter.dialects.failures import error_headers
from pico_jupyter.errors import (
    EngineFailed,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PicoError,
    RequestTooLarge,
    Unauthenticated,
)

NO_TOKEN = "Missing or wrong token. Send the Jupyter server's token as 'Authorization: Bearer <token>'."
NO_COOKIE_TOKEN = "The X-XSRFToken header is missing or wrong; programs send 'Authorization: Bearer <token>' instead."
UNEXPECTED = "internal server error"

CLIENT_ERRORS = (InvalidRequest, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, RequestTooLarge)
BY_STATUS: dict[int, type[PicoError]] = {kind.http_status: kind for kind in CLIENT_ERRORS}
MESSAGES = {401: NO_TOKEN, 403: "Forbidden", 404: "Not found", 405: "Method not allowed", 413: "Request too large"}

Raised: TypeAlias = BaseException | None


class ErrorDialect(Protocol):
    """The error format of a dialect. The modules openai_answer and ollama_answer implement it."""

    JSON_TYPE: str

    def error_body(self, error: PicoError) -> bytes:
        """The JSON object that describes `error`."""
        ...


class ErrorResponder(APIHandler):
    """Base of DialectHandler that converts exceptions to error responses.

    dialect: the module that formats errors. methods: the HTTP methods that the path supports besides OPTIONS.
    """

    dialect: ErrorDialect
    methods: tuple[str, ...]
    closes_connection = False

    @cached_property
    def request_id(self) -> str:
        """A unique id of this request, in its response headers and in log lines."""
        return uuid.uuid4().hex

    def set_default_headers(self) -> None:
        """Add `x-request-id` to every response."""
        super().set_default_headers()
        self.set_header("x-request-id", f"req_{self.request_id}")

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Respond with the exception in `exc_info`, or with `status_code` if there is no exception."""
        _, raised, _ = kwargs.get("exc_info", (None, None, None))
        super().send_error(status_of(raised, status_code), error=as_pico_error(raised, status_code))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write headers and body of an error response."""
        error: PicoError = kwargs["error"]
        if hasattr(self, "_jupyter_current_user"):
            self.set_cors_headers()  # Tornado's send_error cleared the headers that prepare() had set.
        else:
            self.closes_connection = True  # Tornado does so after an error before prepare(), such as a malformed path.
        for name, value in error_headers(error).items():
            self.set_header(name, value)
        if self.closes_connection:
            self.set_header("Connection", "close")
        if isinstance(error, MethodNotAllowed):
            self.set_header("Allow", ", ".join((*self.methods, "OPTIONS")))
        self.finish(self.dialect.error_body(error), set_content_type=self.dialect.JSON_TYPE)

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Log an error that the server's owner can act on. Tornado calls this before send_error."""
        line = log_line(value) if value is not None else ""
        if line:
            self.log.error("pico_jupyter: request %s failed: %s", self.request_id, line)


def as_pico_error(raised: Raised, status: int = 500) -> PicoError:
    """The error that the client receives for `raised`, or for `status` if `raised` is None."""
    if isinstance(raised, PicoError):
        return raised
    if isinstance(raised, web.HTTPError):
        return _from_http_error(raised)
    return BY_STATUS.get(status, PicoError)(MESSAGES.get(status, UNEXPECTED))


def status_of(raised: Raised, status: int = 500) -> int:
    """The HTTP status for `raised`, or `status` if `raised` is None."""
    if isinstance(raised, web.HTTPError):
        return raised.status_code
    return as_pico_error(raised, status).http_status


def log_line(raised: BaseException) -> str:
    """The text to log for an exception, or "" for an error that only the client can correct.

    The messages of EngineFailed and of unexpected exceptions are left out, because they may quote a prompt.
    """
    if status_of(raised) < 500:
        return ""
    if isinstance(raised, EngineFailed):
        return type(raised).__name__
    if isinstance(raised, PicoError):
        return f"{type(raised).__name__}: {raised.message}"
    return f"{type(raised).__name__}\n{''.join(traceback.format_tb(raised.__traceback__))}"


def _from_http_error(raised: web.HTTPError) -> PicoError:
    status = raised.status_code
    kind = BY_STATUS.get(status, InvalidRequest if status < 500 else PicoError)
    message = raised.log_message or MESSAGES.get(status) or raised.reason or responses.get(status, UNEXPECTED)
    if "_xsrf" in message or "XSRF" in message:
        return Forbidden(NO_COOKIE_TOKEN)
    return kind(message % raised.args if raised.args else message)
