"""Moves the server's token from other headers to `Authorization: Bearer`, which Jupyter reads, and names users."""

from __future__ import annotations

import base64
import binascii
import re

from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider
from jupyter_server.base.handlers import JupyterHandler
from tornado.httputil import HTTPHeaders

JUPYTER_SCHEME = re.compile(r"(token|bearer)\s", re.IGNORECASE)
BASIC_SCHEME = "basic "


def normalise_credentials(headers: HTTPHeaders) -> None:
    """Convert `X-API-Key` or Basic credentials in `headers` to `Authorization: Bearer`.

    The token is the password of the Basic credentials, or the user name if the password is empty. X-API-Key has
    precedence over Basic. An existing `Authorization: token` or `Authorization: Bearer` is kept.
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


def owner_of(handler: JupyterHandler) -> str:
    """Return the name of the user.

    With a token or a password, jupyter_server 2 gives each client without a cookie a random name. All these
    clients belong to one user, the owner of the token.
    """
    is_personal = type(handler.identity_provider) in (IdentityProvider, PasswordIdentityProvider)
    return "" if is_personal else str(handler.current_user.username)
