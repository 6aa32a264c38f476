import pytest

from pico_jupyter.dialects.failures import describe, error_headers
from pico_jupyter.errors import (
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    MediaUnsupported,
    ModelLoadFailed,
    NotSupported,
    OutOfMemory,
    PicoError,
    QueueFull,
    Unauthenticated,
)


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (InvalidRequest("x"), {}),
        (Unauthenticated("x"), {"WWW-Authenticate": "Bearer"}),
        (QueueFull("x", retry_after=7), {"Retry-After": "7"}),
        (QueueFull("x"), {"Retry-After": "1"}),
        (EngineUnavailable("x", retry_after=2), {"Retry-After": "2"}),
        (ModelLoadFailed("x"), {"x-should-retry": "false"}),
        (OutOfMemory("x"), {"x-should-retry": "false"}),
        (NotSupported("x"), {"x-should-retry": "false"}),
        (EngineFailed("x"), {}),
    ],
)
def test_headers_state_whether_and_when_to_retry(error: PicoError, headers: dict[str, str]) -> None:
    assert error_headers(error) == headers


def test_media_without_a_model_keep_their_own_message() -> None:
    assert describe(MediaUnsupported("no audio")) == "no audio"
    assert describe(InvalidRequest("x")) == "x"
