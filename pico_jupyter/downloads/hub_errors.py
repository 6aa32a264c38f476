"""Describes failures of the hub, of the network and of the disk for people: what happened, and what to do."""

from __future__ import annotations

import errno
import importlib
from http import HTTPStatus
from typing import Any

from huggingface_hub import constants, get_session
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pico_jupyter.downloads.jobs import JobFailed
from pico_jupyter.errors import PicoError
from pico_jupyter.sizes import at_least

# huggingface_hub 1 uses the package httpx, and version 2 uses httpx2.
TransportError: type[Exception] = importlib.import_module(
    type(get_session()).__module__.partition(".")[0]
).TransportError
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TOKEN_HELP = "create a token at {endpoint}/settings/tokens and set HF_TOKEN, or run `hf auth login`"


class WrongFile(Exception):
    """The content of a file differs from what the hub announced."""


def is_transient(error: Exception) -> bool:
    """Whether a retry may succeed, as after a failure of the network, an overloaded hub, or too many requests."""
    if isinstance(error, HfHubHTTPError):
        return _status(error) in (408, 425, 429) or _status(error) >= 500
    return isinstance(error, TransportError)


def retry_after(error: Exception) -> int:
    """The seconds that the hub asks clients to wait; 0 if it does not ask for a delay."""
    response = error.response if isinstance(error, HfHubHTTPError) else None
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return int(text) if text.isdecimal() else 0


def describe_failure(error: Exception, model: str = "", missing: int = 0) -> JobFailed:
    """Describe the failure of a job for `model`. `missing` is the number of bytes that were still to be written."""
    if isinstance(error, PicoError):
        return JobFailed(type(error).__name__, error.message)
    if isinstance(error, OfflineModeIsEnabled):
        reason = "HF_HUB_OFFLINE is set, so the hub is not used. Unset it, or copy the model's folder to this machine."
        return JobFailed("HubUnavailable", reason)
    if isinstance(error, HfHubHTTPError):
        return _describe_status(error, model)
    if isinstance(error, TransportError):
        return JobFailed("HubUnavailable", _unreachable(error))
    if isinstance(error, OSError) and error.errno in FULL:
        return JobFailed("PicoError", disk_full(missing))
    if isinstance(error, OSError):
        return JobFailed(
            "PicoError", f"the cache {constants.HF_HUB_CACHE} cannot be written: {error.strerror or error}"
        )
    if isinstance(error, WrongFile):
        return JobFailed("PicoError", str(error))
    return JobFailed("PicoError", f"unexpected failure: {type(error).__name__}: {error}")


def disk_full(missing: int) -> str:
    """The text of the error if the disk has no space for `missing` bytes."""
    return (
        f"the disk with {constants.HF_HUB_CACHE} has no room for the remaining {at_least(missing)}. Delete files or "
        "models, then resume. HF_HOME moves the cache to another disk."
    )


def _describe_status(error: HfHubHTTPError, model: str) -> JobFailed:
    endpoint, status = constants.ENDPOINT, _status(error)
    token_help = TOKEN_HELP.format(endpoint=endpoint)
    if isinstance(error, GatedRepoError):
        steps = f"Accept its conditions at {endpoint}/{model}, {token_help}. Then try again."
        return JobFailed("Forbidden", f"{model} is gated: the hub gives it only to accounts with access. {steps}")
    if isinstance(error, RevisionNotFoundError):
        return JobFailed("NotFound", f"{model} has no such revision at {endpoint}")
    if isinstance(error, RepositoryNotFoundError) or status == HTTPStatus.NOT_FOUND:
        private = f"If it is private, {token_help}."
        return JobFailed("NotFound", f"there is no model {model} at {endpoint}. Check the name. {private}")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return JobFailed("Forbidden", f"the hub refuses access to {model} ({status}): check HF_TOKEN, or {token_help}.")
    wait = retry_after(error)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        later = f"in {wait} s" if wait else "later"
        reason = (
            f"the hub limits the number of requests for now (429). Try again {later}. With HF_TOKEN it allows more."
        )
        return JobFailed("HubUnavailable", reason, wait)
    if status >= 500:
        return JobFailed("HubUnavailable", f"the hub at {endpoint} has a failure ({status}). Try again later.", wait)
    return JobFailed("PicoError", f"the hub refused the request: status {status}")


def _unreachable(error: Exception) -> str:
    return (
        f"the hub at {constants.ENDPOINT} cannot be reached ({type(error).__name__}). Check the network and the proxy "
        "(HTTPS_PROXY), or name a mirror with HF_ENDPOINT. Then resume."
    )


def _status(error: Any) -> int:
    response = error.response
    return 0 if response is None else int(response.status_code)
