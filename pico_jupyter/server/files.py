"""Reads a file through the Jupyter server's authorizer and contents manager, with the rights of the client."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import Any
from urllib.parse import unquote

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from pico_jupyter.errors import Forbidden, InvalidRequest
from pico_jupyter.server.byte_budget import ByteBudget

NO_SUCH_FILE = "there is no such file"
REASONS = {403: "the server has no permission to read it", 404: NO_SUCH_FILE}


async def read_file(url: str, handler: JupyterHandler, budget: ByteBudget) -> bytes:
    """The bytes of the file that the URL jupyter:PATH names.

    handler: the handler of the client's request. Raises InvalidRequest or Forbidden with the reason.
    """
    user = handler.current_user
    if not await ensure_async(handler.authorizer.is_authorized(handler, user, "read", "contents")):
        raise Forbidden("the user is not authorized to read files of this server")
    path = read_path(url)
    try:
        content = await _read_content(path, handler.contents_manager, budget)
    except (web.HTTPError, OSError) as error:
        # Their messages may contain paths of the server's disk.
        raise InvalidRequest(REASONS.get(getattr(error, "status_code", 0), "the server cannot read it")) from None
    data = await asyncio.to_thread(b64decode, content)
    budget.spend(len(data))
    return data


def read_path(url: str) -> str:
    """The decoded PATH of jupyter:PATH, relative to the server's root. Raises InvalidRequest."""
    try:
        path = unquote(url.partition(":")[2], errors="strict").strip("/")
    except UnicodeDecodeError:
        raise InvalidRequest("the path is not valid UTF-8") from None
    if not path or "\0" in path or ".." in path.replace("\\", "/").split("/"):
        raise InvalidRequest("the path is outside the server's root")
    return path


async def _read_content(path: str, contents: Any, budget: ByteBudget) -> str:
    """The content of the file in base64. The size is checked before the file is read."""
    if not contents.allow_hidden and await ensure_async(contents.is_hidden(path)):
        raise InvalidRequest(NO_SUCH_FILE)
    model = await ensure_async(contents.get(path, content=False))
    if model["type"] != "file":
        raise InvalidRequest(f"it is a {model['type']}")
    budget.check(model.get("size") or 0)
    model = await ensure_async(contents.get(path, content=True, type="file", format="base64"))
    content: str = model["content"]
    return content
