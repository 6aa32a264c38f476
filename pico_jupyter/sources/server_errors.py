"""Converts the errors of a server's OpenAI endpoints, as response bodies or as frames of a stream, to PicoErrors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import responses
from typing import Any

from pico_jupyter.errors import (
    Conflict,
    EngineFailed,
    EngineUnavailable,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    NotSupported,
    PicoError,
    RequestTooLarge,
    Unauthenticated,
)

CLIENT_ERRORS = (InvalidRequest, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, Conflict, RequestTooLarge)
SERVER_ERRORS = (NotSupported, EngineUnavailable, EngineFailed)
BY_STATUS: dict[int, type[PicoError]] = {kind.http_status: kind for kind in (*CLIENT_ERRORS, *SERVER_ERRORS)}
# For frames, which have no HTTP status.
BY_TYPE: dict[str, type[PicoError]] = {
    "authentication_error": Unauthenticated,
    "permission_error": Forbidden,
    "not_found_error": NotFound,
    "invalid_request_error": InvalidRequest,
}


def _with_subclasses(kind: type[PicoError]) -> Iterator[type[PicoError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


BY_CODE = {kind.default_code: kind for kind in _with_subclasses(PicoError) if kind.default_code}


def read_error_response(status: int, body: bytes, retry_after: str = "") -> PicoError:
    """Return the error of a response. `retry_after` is the value of its Retry-After header, or ""."""
    kind = BY_STATUS.get(status, EngineUnavailable if status > 500 else EngineFailed)
    answer = _object(body)
    error = answer.get("error")
    if isinstance(error, dict):
        return _error(error, kind, int(retry_after) if retry_after.isdecimal() else 0)
    message = error or answer.get("message") or f"the server answered {status} {responses.get(status, '')}".rstrip()
    return kind(str(message))


def read_error_frame(error: dict[str, Any]) -> PicoError:
    """Return the PicoError that an error frame describes."""
    return _error(error, BY_TYPE.get(str(error.get("type")), EngineFailed))


def _error(error: dict[str, Any], kind: type[PicoError], retry_after: int = 0) -> PicoError:
    code, param = error.get("code"), error.get("param")
    exact = BY_CODE.get(str(code), kind)
    return exact(
        str(error.get("message") or "the server gave no reason"),
        param=None if param is None else str(param),
        code=None if code is None else str(code),
        retry_after=retry_after,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
