"""What a raised exception means to the caller and to the log. Knows no dialect and no handler."""

from __future__ import annotations

import traceback
from http.client import responses
from typing import TypeAlias

from tornado import web

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

BY_STATUS: dict[int, type[PicoError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: RequestTooLarge,
}
MESSAGES = {401: NO_TOKEN, 403: "Forbidden", 404: "Not found", 405: "Method not allowed", 413: "Request too large"}

Raised: TypeAlias = BaseException | None


def as_pico_error(raised: Raised, status: int = 500) -> PicoError:
    """The failure that the caller is told. What nobody foresaw tells nothing of itself."""
    if isinstance(raised, PicoError):
        return raised
    if isinstance(raised, web.HTTPError):
        return _from_http_error(raised)
    return BY_STATUS.get(status, PicoError)(MESSAGES.get(status, UNEXPECTED))


def status_of(raised: Raised, status: int = 500) -> int:
    """The status of the answer, should it not have begun yet."""
    if isinstance(raised, web.HTTPError):
        return raised.status_code
    return as_pico_error(raised, status).http_status


def log_line(raised: BaseException) -> str:
    """What the server's owner can act on; "" for what concerns the caller only. Never holds text of a prompt.

    Messages of failures inside a model's work, and of exceptions that nobody foresaw, may quote what was worked on, so
    only their kind and place are logged.
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
