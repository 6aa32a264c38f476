"""Which error a client receives for an exception, and what is logged."""

from __future__ import annotations

import pytest
from tornado.web import HTTPError

from pico_jupyter.errors import EngineFailed, Forbidden, InvalidRequest, ModelLoadFailed, PicoError, QueueFull
from pico_jupyter.server.error_responses import as_pico_error, log_line, status_of

SECRET = "Rumpelstiltskin"


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (QueueFull("busy"), 503, "busy"),
        (HTTPError(404), 404, "Not found"),
        (HTTPError(404, "gone"), 404, "gone"),
        (HTTPError(400, "bad %s", "field"), 400, "bad field"),
        (HTTPError(429), 429, "Too Many Requests"),
        (HTTPError(599), 599, "internal server error"),
        (HTTPError(502, reason="No Upstream"), 502, "No Upstream"),
        (ValueError(SECRET), 500, "internal server error"),
        (None, 405, "Method not allowed"),
    ],
)
def test_an_exception_becomes_a_status_and_a_message(raised: Exception | None, status: int, message: str) -> None:
    given = status if raised is None else 500
    assert status_of(raised, given) == status
    assert as_pico_error(raised, given).message == message


@pytest.mark.parametrize("status", [402, 418, 429])
def test_an_unknown_status_below_500_becomes_invalid_request(status: int) -> None:
    assert type(as_pico_error(HTTPError(status))) is InvalidRequest


def test_an_unknown_status_from_500_on_becomes_the_base_error() -> None:
    assert type(as_pico_error(HTTPError(599))) is PicoError


@pytest.mark.parametrize("text", ["'_xsrf' argument missing from POST", "XSRF cookie does not match POST argument"])
def test_a_missing_xsrf_header_is_explained(text: str) -> None:
    error = as_pico_error(HTTPError(403, text))
    assert type(error) is Forbidden
    assert "X-XSRFToken" in error.message


def raised_by(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001  # the tests raise any kind
        return caught


@pytest.mark.parametrize("error", [EngineFailed(SECRET), RuntimeError(SECRET), KeyError(SECRET)])
def test_an_error_that_may_quote_a_prompt_is_logged_by_type_only(error: Exception) -> None:
    line = log_line(raised_by(error))
    assert line.startswith(type(error).__name__)
    assert SECRET not in line


def test_an_unexpected_error_is_logged_with_its_place() -> None:
    assert "raised_by" in log_line(raised_by(RuntimeError("x")))


def test_a_model_that_fails_to_load_is_logged_with_the_reason() -> None:
    assert log_line(ModelLoadFailed("weights are missing")) == "ModelLoadFailed: weights are missing"


@pytest.mark.parametrize("error", [InvalidRequest(SECRET), HTTPError(404)])
def test_a_refused_request_is_not_logged(error: Exception) -> None:
    assert log_line(error) == ""
