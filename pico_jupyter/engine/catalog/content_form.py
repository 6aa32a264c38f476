"""ContentForm: how a chat template takes pictures and clips, found out by rendering it. Knows no model, no request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pico_jupyter.errors import TemplateFailed

# A message's content as templates take it: text, or parts in their order.
Content: TypeAlias = "str | list[dict[str, str]]"
Render: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], str]

_WORD = "Qzj"
_TEXT = {"type": "text", "text": _WORD}


@dataclass(frozen=True, slots=True)
class ContentForm:
    """`takes_text`: a content that is text is rendered; some templates silently drop it, and want parts.

    The marks are what a part of that kind becomes; "" where the template has no place for it.
    """

    takes_text: bool = True
    image_mark: str = ""
    video_mark: str = ""

    def mark_of(self, kind: Literal["image", "video"]) -> str:
        return self.image_mark if kind == "image" else self.video_mark


def probe_content(render: Render) -> ContentForm:
    """Find out a template's form by what it makes of small conversations; `render` raises TemplateFailed."""
    bare = _rendered(render, [_TEXT])
    takes_parts = bare is not None and _WORD in bare and "'type'" not in bare and '"type"' not in bare
    text = _rendered(render, _WORD)
    return ContentForm(
        takes_text=text is not None and _WORD in text,
        image_mark=_difference(bare, _rendered(render, [{"type": "image"}, _TEXT])) if takes_parts else "",
        video_mark=_difference(bare, _rendered(render, [{"type": "video"}, _TEXT])) if takes_parts else "",
    )


def _rendered(render: Render, content: Content) -> str | None:
    try:
        return render([{"role": "user", "content": content}])
    except TemplateFailed:
        return None


def _difference(without: str | None, with_part: str | None) -> str:
    """What the second text has in the place where the first has less; "" where that reads like a dumped object."""
    if without is None or with_part is None:
        return ""
    start = _common(without, with_part)
    end = _common(without[start:][::-1], with_part[start:][::-1])
    mark = with_part[start : len(with_part) - end].strip()
    return "" if '"type"' in mark or "'type'" in mark else mark


def _common(a: str, b: str) -> int:
    return next((index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
