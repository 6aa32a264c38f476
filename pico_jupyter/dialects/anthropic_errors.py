"""Writes errors in the format of Anthropic's API."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from pico_jupyter.dialects.failures import describe
from pico_jupyter.dialects.framing import encode_json
from pico_jupyter.errors import ContextLengthExceeded, ModelNotFound, PicoError

JSON_TYPE = "application/json"

# An unknown path is not reported as not_found_error, because Claude Code displays that type as an unknown model.
_KINDS = {401: "authentication_error", 403: "permission_error", 413: "request_too_large", 503: "overloaded_error"}


class AnthropicErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong."""

    type: str
    message: str


class AnthropicError(msgspec.Struct, frozen=True, kw_only=True):
    """An error. In a stream it is the last event."""

    type: Literal["error"] = "error"
    error: AnthropicErrorDetail
    request_id: str | UnsetType = UNSET


class AnthropicErrors:
    """The error format of the responses to one request."""

    JSON_TYPE = JSON_TYPE

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def __repr__(self) -> str:
        return f"<AnthropicErrors {self._request_id}>"

    def error_body(self, error: PicoError) -> bytes:
        """Encode an error as a JSON object."""
        return encode_json(describe_anthropic_error(error, self._request_id))


def describe_anthropic_error(error: PicoError, request_id: str) -> AnthropicError:
    """Return the object that describes an error."""
    detail = AnthropicErrorDetail(_kind(error), _message(error))
    return AnthropicError(error=detail, request_id=request_id)


def _kind(error: PicoError) -> str:
    if isinstance(error, ModelNotFound):
        return "not_found_error"
    return _KINDS.get(error.http_status, "invalid_request_error" if error.http_status < 500 else "api_error")


def _message(error: PicoError) -> str:
    if isinstance(error, ModelNotFound):
        return f"model: {error.model}"
    if isinstance(error, ContextLengthExceeded):
        # Claude Code shortens the conversation after an error that begins like this.
        return f"prompt is too long: {error.message}"
    return describe(error)
