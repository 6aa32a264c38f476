"""Errors of a server become PicoErrors."""

from __future__ import annotations

import json

import pytest

from pico_jupyter import errors
from pico_jupyter.dialects import openai_answer
from pico_jupyter.errors import PicoError
from pico_jupyter.sources.server_errors import read_error_frame, read_error_response

ERRORS = (
    errors.InvalidRequest("no", param="temperature"),
    errors.ContextLengthExceeded("too long"),
    errors.Unauthenticated("who?"),
    errors.Forbidden("not you"),
    errors.NotFound("nothing"),
    errors.MethodNotAllowed("not so"),
    errors.RequestTooLarge("too much"),
    errors.NotSupported("not here"),
    errors.QueueFull("busy", retry_after=7),
    errors.EngineUnavailable("starting"),
    errors.EngineFailed("broken"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_the_server_keeps_its_class_and_fields(error: PicoError) -> None:
    raised = read_error_response(error.http_status, openai_answer.error_body(error), str(error.retry_after))
    assert type(raised) is type(error)
    assert (raised.message, raised.code, raised.retry_after) == (error.message, error.code, error.retry_after)
    assert raised.param == error.param or isinstance(error, errors.ContextLengthExceeded)


def test_an_unknown_model_raises_model_not_found() -> None:
    body = openai_answer.error_body(errors.ModelNotFound("x", model="absent"))
    raised = read_error_response(404, body)
    assert isinstance(raised, errors.ModelNotFound)
    assert raised.message == "The model 'absent' does not exist"


@pytest.mark.parametrize("error", [ERRORS[0], ERRORS[1], ERRORS[8], ERRORS[-1]], ids=lambda error: type(error).__name__)
def test_an_error_frame_keeps_its_class_without_a_status(error: PicoError) -> None:
    raised = read_error_frame(json.loads(openai_answer.error_body(error))["error"])
    assert type(raised) is type(error)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (502, b"<html>Bad gateway</html>", errors.EngineUnavailable, "the server answered 502 Bad Gateway"),
        (500, b"", errors.EngineFailed, "the server answered 500 Internal Server Error"),
        (418, b"[]", errors.EngineFailed, "the server answered 418"),
        (599, b"", errors.EngineUnavailable, "the server answered 599"),
        (404, b'{"error": "model \'x\' not found"}', errors.NotFound, "model 'x' not found"),
        (403, b'{"message": "_xsrf", "reason": null}', errors.Forbidden, "_xsrf"),
        (400, b'{"error": {}}', errors.InvalidRequest, "the server gave no reason"),
    ],
)
def test_an_error_of_a_proxy_gets_a_class_by_its_status(
    status: int, body: bytes, kind: type[PicoError], message: str
) -> None:
    raised = read_error_response(status, body)
    assert type(raised) is kind
    assert raised.message.startswith(message)
