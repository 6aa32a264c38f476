"""Where clients put the server's token, brought to the one place where Jupyter looks. Knows no handler."""

from __future__ import annotations

import base64
import binascii
import re

from tornado.httputil import HTTPHeaders

JUPYTER_SCHEME = re.compile(r"(token|bearer)\s", re.IGNORECASE)
BASIC_SCHEME = "basic "


def normalise_credentials(headers: HTTPHeaders) -> None:
    """Turn `X-API-Key` and Basic credentials into `Authorization: Bearer`, which Jupyter understands.

    The password of Basic credentials is the token, or the user name where there is no password; a Jupyter scheme that
    is already there wins.
    """
    authorization = headers.get("Authorization", "")
    if JUPYTER_SCHEME.match(authorization):
        return
    token = headers.get("X-API-Key", "") or _basic_password(authorization)
    if token:
        headers["Authorization"] = f"Bearer {token}"


def _basic_password(authorization: str) -> str:
    if not authorization.lower().startswith(BASIC_SCHEME):
        return ""
    try:
        user, _, password = base64.b64decode(authorization[len(BASIC_SCHEME) :]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or user
