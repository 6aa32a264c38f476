"""Writes errors in the format of Anthropic's API, for clients that expect this API here."""

from __future__ import annotations

from typing import Literal

import msgspec

from pico_jupyter.dialects.failures import describe
from pico_jupyter.dialects.framing import encode_json
from pico_jupyter.errors import PicoError

JSON_TYPE = "application/json"

# An unknown path is not reported as not_found_error, because Claude Code displays that type as an unknown model.
_KINDS = {401: "authentication_error", 403: "permission_error", 413: "request_too_large"}


class AnthropicErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong."""

    type: str
    message: str


class AnthropicError(msgspec.Struct, frozen=True, kw_only=True):
    """An error."""

    type: Literal["error"] = "error"
    error: AnthropicErrorDetail


def error_body(error: PicoError) -> bytes:
    """Encode an error as a JSON object."""
    other = "invalid_request_error" if error.http_status < 500 else "api_error"
    detail = AnthropicErrorDetail(_KINDS.get(error.http_status, other), describe(error))
    return encode_json(AnthropicError(error=detail))
