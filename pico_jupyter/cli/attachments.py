"""Pictures and clips from this machine's disk that go along with a question. Knows no server and no engine."""

from __future__ import annotations

import base64
import mimetypes
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ImagePart, VideoPart

Kind: TypeAlias = Literal["image", "video"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """The bytes of a file, and what they are to be taken for. `name` is the file as the user wrote it."""

    kind: Kind
    name: str
    data: bytes = field(repr=False)

    def part(self) -> ImagePart | VideoPart:
        """As an engine takes it."""
        return ImagePart(self.name, self.data) if self.kind == "image" else VideoPart(self.name, self.data)

    def content_part(self) -> dict[str, Any]:
        """As a server takes it."""
        mime = mimetypes.guess_type(self.name)[0] or ""
        url = f"data:{mime};base64,{base64.b64encode(self.data).decode()}"
        key = f"{self.kind}_url"
        return {"type": key, key: {"url": url}}


def read_attachment(kind: Kind, name: str) -> Attachment:
    """Read a file. Raises InvalidRequest, which names it."""
    try:
        return Attachment(kind, name, Path(name).expanduser().read_bytes())
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidRequest(f"cannot read {name}: {reason}") from None


def as_file_name(typed: str) -> str:
    """The file that is meant: one that is dropped on a terminal is typed in quotes, or with backslashes."""
    try:
        words = shlex.split(typed)
    except ValueError:
        return typed
    return words[0] if len(words) == 1 else typed
