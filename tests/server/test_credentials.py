"""normalise_credentials: every form of a token becomes Bearer."""

from __future__ import annotations

import base64

import pytest
from tornado.httputil import HTTPHeaders

from pico_jupyter.server.credentials import normalise_credentials


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("given", "authorization"),
    [
        ({"X-API-Key": "t"}, "Bearer t"),
        ({"Authorization": basic("user:t")}, "Bearer t"),
        ({"Authorization": basic("user:with:colons")}, "Bearer with:colons"),
        ({"Authorization": basic("t:")}, "Bearer t"),
        ({"Authorization": basic("t")}, "Bearer t"),
        ({"Authorization": basic("user:t").replace("Basic", "bAsIc")}, "Bearer t"),
        ({"Authorization": basic("user:no"), "X-API-Key": "t"}, "Bearer t"),
        ({"Authorization": "Bearer t", "X-API-Key": "no"}, "Bearer t"),
        ({"Authorization": "token t", "X-API-Key": "no"}, "token t"),
        ({"Authorization": "Basic not base64"}, "Basic not base64"),
        ({"Authorization": "Basic /w=="}, "Basic /w=="),
        ({"Authorization": "Digest x"}, "Digest x"),
        ({}, None),
    ],
)
def test_a_token_in_any_form_becomes_bearer(given: dict[str, str], authorization: str | None) -> None:
    headers = HTTPHeaders(given)
    normalise_credentials(headers)
    assert headers.get("Authorization") == authorization
