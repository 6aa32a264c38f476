"""ContentFormat: how a chat template expects text, images and videos in a message. Detected by test renderings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pico_jupyter.errors import TemplateFailed

# The content of a message in the forms that templates accept: a string, or a list of parts.
Content: TypeAlias = "str | list[dict[str, str]]"
Render: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], str]

_WORD = "Qzj"  # occurs in no template
_TEXT = {"type": "text", "text": _WORD}


@dataclass(frozen=True, slots=True)
class ContentFormat:
    """The forms of content that a chat template renders.

    `accepts_strings`: the content may be a string. Some templates drop a string silently and render only lists of
    parts (`accepts_parts`). A placeholder is the text that the template writes for an image or a video; "" if it
    supports none.
    """

    accepts_strings: bool = True
    accepts_parts: bool = field(default=False, compare=False)
    image_placeholder: str = ""
    video_placeholder: str = ""

    def placeholder(self, kind: Literal["image", "video"]) -> str:
        """The placeholder of one kind of media."""
        return self.image_placeholder if kind == "image" else self.video_placeholder


def detect_content_format(render: Render) -> ContentFormat:
    """Detect the format by rendering small conversations. `render` may raise TemplateFailed."""
    text_part = _render_content(render, [_TEXT])
    accepts_parts = text_part is not None and _WORD in text_part and not _is_dumped(text_part)
    string = _render_content(render, _WORD)

    def placeholder(kind: str) -> str:
        if not accepts_parts:
            return ""
        return _added_text(text_part, _render_content(render, [{"type": kind}, _TEXT]))

    return ContentFormat(
        accepts_strings=string is not None and _WORD in string,
        accepts_parts=accepts_parts,
        image_placeholder=placeholder("image"),
        video_placeholder=placeholder("video"),
    )


def _render_content(render: Render, content: Content) -> str | None:
    try:
        return render([{"role": "user", "content": content}])
    except TemplateFailed:
        return None


def _added_text(without: str | None, with_part: str | None) -> str:
    """The text that a part adds to a rendering; "" if a rendering failed or printed the part as JSON or as a dict."""
    if without is None or with_part is None:
        return ""
    start = _common_prefix_length(without, with_part)
    end = _common_prefix_length(without[start:][::-1], with_part[start:][::-1])
    added = with_part[start : len(with_part) - end].strip()
    return "" if _is_dumped(added) else added


def _is_dumped(text: str) -> bool:
    """Whether a template has printed a part as JSON or as a Python dict."""
    return '"type"' in text or "'type'" in text


def _common_prefix_length(a: str, b: str) -> int:
    is_equal = [x == y for x, y in zip(a, b, strict=False)]
    return [*is_equal, False].index(False)
