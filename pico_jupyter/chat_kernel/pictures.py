"""Pictures and clips that a cell names: by `%image PATH`, or by `![…](PATH)` in its prompt. Knows no model."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from urllib.parse import unquote

from pico_jupyter.chat_kernel.cell import Cell
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook.pictures import read_images, read_videos
from pico_jupyter.sources.calls import Attachment, Turn

# Code first, so that what it holds is passed over.
CODE_OR_PICTURE = re.compile(
    r"(?P<code>(?P<fence>`{3,}|~{3,})[\s\S]*?(?:(?P=fence)|\Z)|(?P<tick>`+)[^`][\s\S]*?(?<!`)(?P=tick)(?!`))"
    r"""|!\[[^\]\n]*\]\(\s*(?P<path><[^<>\n]+>|[^\s()<>]+(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"\n]*")?\s*\)"""
)
ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def read_question(cell: Cell) -> Turn:
    """The cell's prompt with all that it shows. Raises InvalidRequest, naming the file.

    A picture in the prompt that is on the web stays text: only `%image` has something fetched, and only by the server.
    """
    paths = list(cell.images)

    def take(found: re.Match[str]) -> str:
        path = (found["path"] or "").strip("<>")
        if not path or ELSEWHERE.match(path):
            return found[0]
        paths.append(unquote(path))
        return ""

    prompt = CODE_OR_PICTURE.sub(take, cell.prompt).strip()
    return Turn("user", prompt, tuple(attachment for path in paths for attachment in _attach(path)))


def _attach(path: str) -> Iterator[Attachment]:
    kind = (mimetypes.guess_type(path)[0] or "").partition("/")[0]
    if kind not in ("image", "video") and not ELSEWHERE.match(path):
        raise InvalidRequest(f"{path} is no picture and no clip by its name", param="%image")
    try:
        yield from read_videos(path) if kind == "video" else read_images(path)
    except InvalidRequest as error:
        raise InvalidRequest(error.message.removeprefix(f"{error.param}: "), param="%image") from None
