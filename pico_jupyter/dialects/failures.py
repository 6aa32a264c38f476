"""The parts of an error response that are the same in both dialects: headers, and the message about media."""

from __future__ import annotations

from pico_jupyter.dialects.media import describe_unsupported_media
from pico_jupyter.errors import MediaUnsupported, ModelLoadFailed, NotSupported, OutOfMemory, PicoError, Unauthenticated


def error_headers(error: PicoError) -> dict[str, str]:
    """Headers of an error response. x-should-retry stops the SDKs, which retry every status from 500 on."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ModelLoadFailed | OutOfMemory | NotSupported):
        headers["x-should-retry"] = "false"
    if error.http_status == 503:
        headers["Retry-After"] = str(max(error.retry_after, 1))
    return headers


def describe(error: PicoError) -> str:
    """The message of an error whose text is the same in both dialects."""
    if isinstance(error, MediaUnsupported) and error.model:
        return describe_unsupported_media(error.model)
    return error.message
