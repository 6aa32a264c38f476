"""What a server's errors mean: bodies and frames of its OpenAI dialect in, our own errors out."""

from __future__ import annotations

import http
import json
from collections.abc import Iterator
from typing import Any

from pico_jupyter.errors import (
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

BY_STATUS: dict[int, type[PicoError]] = {
    kind.http_status: kind
    for kind in (
        InvalidRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTooLarge,
        NotSupported,
        EngineUnavailable,
        EngineFailed,
    )
}
# In a frame, which has no status.
BY_TYPE: dict[str, type[PicoError]] = {
    "authentication_error": Unauthenticated,
    "permission_error": Forbidden,
    "not_found_error": NotFound,
    "invalid_request_error": InvalidRequest,
}


def _tree(kind: type[PicoError]) -> Iterator[type[PicoError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


BY_CODE = {kind.default_code: kind for kind in _tree(PicoError) if kind.default_code}


def read_refusal(status: int, body: bytes, retry_after: str = "") -> PicoError:
    """The error of an answer with `status` and the header Retry-After."""
    kind = BY_STATUS.get(status, EngineUnavailable if status > 500 else EngineFailed)
    told = _object(body)
    error = told.get("error")
    if isinstance(error, dict):
        return _error(error, kind, int(retry_after) if retry_after.isdecimal() else 0)
    reason = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else ""
    message = error or told.get("message") or f"the server answered {status} {reason}".rstrip()
    return kind(str(message))


def read_error_frame(error: dict[str, Any]) -> PicoError:
    """The error in a frame of a stream that had begun."""
    return _error(error, BY_TYPE.get(str(error.get("type")), EngineFailed))


def _error(error: dict[str, Any], kind: type[PicoError], retry_after: int = 0) -> PicoError:
    code, param = error.get("code"), error.get("param")
    exact = BY_CODE.get(str(code), kind)
    return exact(
        str(error.get("message") or "the server gives no reason"),
        param=None if param is None else str(param),
        code=None if code is None else str(code),
        retry_after=retry_after,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
