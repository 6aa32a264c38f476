"""What both dialects say alike about a failure: headers, and words for the causes that need the model's name."""

from __future__ import annotations

from pico_jupyter.dialects.media import describe_unsupported_media
from pico_jupyter.errors import MediaUnsupported, ModelLoadFailed, NotSupported, OutOfMemory, PicoError, Unauthenticated


def error_headers(error: PicoError) -> dict[str, str]:
    """Headers for an error response. The SDKs try every status from 500 on again, unless they are told not to."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ModelLoadFailed | OutOfMemory | NotSupported):
        headers["x-should-retry"] = "false"
    if error.http_status == 503:
        headers["Retry-After"] = str(max(error.retry_after, 1))
    return headers


def describe(error: PicoError) -> str:
    """The message of a failure that both dialects put in the same words."""
    if isinstance(error, MediaUnsupported) and error.model:
        return describe_unsupported_media(error.model)
    return error.message
