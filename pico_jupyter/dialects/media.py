"""Finds images and videos in messages. Decodes and fetches nothing: a part keeps its source and its field's name."""

from __future__ import annotations

from pico_jupyter.dialects.fields import Fields, refuse_type
from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ImagePart, VideoPart

IMAGE_TYPES = ("image_url", "input_image")
VIDEO_TYPES = ("video_url", "input_video")
UNSUPPORTED_TYPES = ("input_audio", "audio_url", "file", "input_file")

_SCHEMES = ("data:", "http://", "https://", "jupyter:")
_SCHEME_LENGTH = max(len(scheme) for scheme in _SCHEMES)


def read_image_part(part: Fields) -> ImagePart:
    """{"type": "image_url" | "input_image", "image_url": URL | {"url": URL}}."""
    return ImagePart(_check_url(_find_url(part, "image_url"), "image", part.path), part.path)


def read_video_part(part: Fields) -> VideoPart:
    """{"type": "video_url" | "input_video", "video_url" | "video": URL | {"url": URL}}."""
    key = "video_url" if "video_url" in part else "video"
    return VideoPart(_check_url(_find_url(part, key), "video", part.path), part.path)


def read_ollama_images(fields: Fields) -> tuple[ImagePart, ...]:
    """The base64 texts in `images`; a data: URL and missing padding are tolerated."""
    parts = []
    for i, image in enumerate(fields.array("images") or ()):
        param = f"{fields.param('images')}[{i}]"
        if not isinstance(image, str):
            refuse_type(param, "a base64 string", image)
        parts.append(ImagePart(_as_data_url(image), param))
    return tuple(parts)


def refuse_media(model: str, param: str | None) -> MediaUnsupported:
    return MediaUnsupported(describe_unsupported_media(model), param=param, model=model)


def describe_unsupported_media(model: str) -> str:
    return (
        f"The request includes images, video or audio, but '{model}' cannot be loaded as a vision model. "
        "Choose a vision-capable model or remove the attachments."
    )


def _find_url(part: Fields, key: str) -> str | None:
    value = part.get(key)
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) else None


def _check_url(url: str | None, kind: str, param: str) -> str:
    # Files and bare paths are refused here: a request must never read the server's disk.
    if url is None or not url[:_SCHEME_LENGTH].lower().startswith(_SCHEMES):
        raise InvalidRequest(f"invalid {kind} input", param=param, code="invalid_value")
    return url


def _as_data_url(image: str) -> str:
    if image[:5].lower() == "data:":
        return image
    return f"data:;base64,{image}{'=' * (-len(image) % 4)}"
