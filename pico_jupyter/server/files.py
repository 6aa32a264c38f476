"""Reads files of the running server as one caller may read them: by its contents manager and its authorizer only."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import Any
from urllib.parse import unquote

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from pico_jupyter.errors import Forbidden, InvalidRequest
from pico_jupyter.server.allowance import Allowance

NO_SUCH_FILE = "there is no such file"
REASONS = {403: "the server may not read it", 404: NO_SUCH_FILE}


async def read_file(url: str, caller: JupyterHandler, allowance: Allowance) -> bytes:
    """The bytes of the file that jupyter:PATH names. Raises InvalidRequest or Forbidden with the reason."""
    user = caller.current_user
    if not await ensure_async(caller.authorizer.is_authorized(caller, user, "read", "contents")):
        raise Forbidden("the user is not authorized to read files of this server")
    path = read_path(url)
    try:
        content = await _read_content(path, caller.contents_manager, allowance)
    except (web.HTTPError, OSError) as error:
        # What they say may name folders of the server's disk.
        raise InvalidRequest(REASONS.get(getattr(error, "status_code", 0), "the server cannot read it")) from None
    data = await asyncio.to_thread(b64decode, content)
    allowance.take(len(data))
    return data


def read_path(url: str) -> str:
    """The path that jupyter:PATH names, below the server's root. Raises InvalidRequest."""
    try:
        path = unquote(url.partition(":")[2], errors="strict").strip("/")
    except UnicodeDecodeError:
        raise InvalidRequest("its path is not UTF-8") from None
    if not path or "\0" in path or ".." in path.replace("\\", "/").split("/"):
        raise InvalidRequest("its path is none below the server's root")
    return path


async def _read_content(path: str, contents: Any, allowance: Allowance) -> str:
    """The file in base64. Its size is asked for first, so that a large one is not read in vain."""
    if not contents.allow_hidden and await ensure_async(contents.is_hidden(path)):
        raise InvalidRequest(NO_SUCH_FILE)
    model = await ensure_async(contents.get(path, content=False))
    if model["type"] != "file":
        raise InvalidRequest(f"it is a {model['type']}")
    allowance.check(model.get("size") or 0)
    model = await ensure_async(contents.get(path, content=True, type="file", format="base64"))
    content: str = model["content"]
    return content
