"""Writes the parts of an error response that both dialects share: the headers and the text about media."""

from __future__ import annotations

from pico_jupyter.dialects.media import describe_unsupported_media
from pico_jupyter.errors import MediaUnsupported, ModelLoadFailed, NotSupported, OutOfMemory, PicoError, Unauthenticated


def error_headers(error: PicoError) -> dict[str, str]:
    """Return the headers of an error response. SDKs retry a status of 500 or more, unless x-should-retry is false."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ModelLoadFailed | OutOfMemory | NotSupported):
        headers["x-should-retry"] = "false"
    if error.http_status == 503:
        headers["Retry-After"] = str(max(error.retry_after, 1))
    return headers


def describe(error: PicoError) -> str:
    """Return the text of an error for which the dialect has no text of its own."""
    if isinstance(error, MediaUnsupported) and error.model:
        return describe_unsupported_media(error.model)
    return error.message
