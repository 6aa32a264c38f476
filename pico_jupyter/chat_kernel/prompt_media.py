"""Attaches images and videos to a prompt: those that `%image PATH` names, and those of `![…](PATH)` in the prompt."""

from __future__ import annotations

import mimetypes
import re
from urllib.parse import unquote

from pico_jupyter.chat_kernel.cell import PromptCell
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.attachments import attach_file
from pico_jupyter.sources.calls import Attachment, Turn

# Matches code first, so that images in code are skipped.
CODE_OR_IMAGE = re.compile(
    r"(?P<code>(?P<fence>`{3,}|~{3,})[\s\S]*?(?:(?P=fence)|\Z)|(?P<tick>`+)[^`][\s\S]*?(?<!`)(?P=tick)(?!`))"
    r"""|!\[[^\]\n]*\]\(\s*(?P<path><[^<>\n]+>|[^\s()<>]+(?:\([^\s()]*\)[^\s()]*)*)(?:\s+"[^"\n]*")?\s*\)"""
)
URL_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def read_prompt(cell: PromptCell) -> Turn:
    """Return the prompt with its attachments. Raises InvalidRequest that names the path.

    `![…](URL)` stays text. Only the server fetches URLs, and only those of `%image`.
    """
    paths = list(cell.images)

    def attach(found: re.Match[str]) -> str:
        path = (found["path"] or "").strip("<>")
        if not path or URL_SCHEME.match(path):
            return found[0]
        paths.append(unquote(path))
        return ""

    prompt = CODE_OR_IMAGE.sub(attach, cell.prompt).strip()
    return Turn("user", prompt, tuple(map(_attach, paths)))


def _attach(path: str) -> Attachment:
    kind = (mimetypes.guess_type(path)[0] or "").partition("/")[0]
    if kind not in ("image", "video") and not URL_SCHEME.match(path):
        raise InvalidRequest(f"{path}: the name is not that of an image or a video", param="%image")
    return attach_file("video" if kind == "video" else "image", path, param="%image")
