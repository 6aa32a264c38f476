"""Finds images and videos in messages, and decodes what came along. Fetches nothing: other URLs are handed on."""

from __future__ import annotations

from binascii import a2b_base64
from typing import NoReturn

from pico_jupyter.dialects.fields import Fields, refuse_type
from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ImagePart, VideoPart

IMAGE_TYPES = ("image_url", "input_image")
VIDEO_TYPES = ("video_url", "input_video")
UNSUPPORTED_TYPES = ("input_audio", "audio_url", "file", "input_file")

_FETCHED_SCHEMES = ("http://", "https://", "jupyter:")
_SCHEME_LENGTH = max(len(scheme) for scheme in _FETCHED_SCHEMES)
# Where a data: URL's comma is looked for: the rest of it may be many megabytes.
_HEAD_LENGTH = 256
# Between pieces other threads get their turn.
_PIECE_LENGTH = 1024 * 1024
_WHITESPACE = b" \t\r\n\f\v"
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")


def read_image_part(part: Fields) -> ImagePart | VideoPart:
    """{"type": "image_url" | "input_image", "image_url": URL | {"url": URL}}; a data: URL may say that it is a clip."""
    url = _find_url(part, "image_url")
    if url is not None and url[:11].lower() == "data:video/":
        return _read_video(url, part.path)
    return ImagePart(part.path, *_read_source(url, "image", part.path))


def read_video_part(part: Fields) -> VideoPart:
    """{"type": "video_url" | "input_video", "video_url" | "video": URL | {"url": URL}}."""
    key = "video_url" if "video_url" in part else "video"
    return _read_video(_find_url(part, key), part.path)


def read_ollama_images(fields: Fields) -> tuple[ImagePart, ...]:
    """The base64 texts in `images`, and data: URLs, which clients send in their place."""
    parts = []
    for i, image in enumerate(fields.array("images") or ()):
        param = f"{fields.param('images')}[{i}]"
        if not isinstance(image, str):
            refuse_type(param, "a base64 string", image)
        data = _decode_data_url(image) if _is_data_url(image) else _decode_base64(image)
        parts.append(ImagePart(param, data or _refuse("image", param)))
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


def _read_video(url: str | None, param: str) -> VideoPart:
    return VideoPart(param, *_read_source(url, "video", param))


def _read_source(url: str | None, kind: str, param: str) -> tuple[bytes, str]:
    """The bytes that the URL holds, or the URL that is still to be fetched."""
    # Files and bare paths are refused here: a request must never read the server's disk.
    if url is not None and url[:_SCHEME_LENGTH].lower().startswith(_FETCHED_SCHEMES):
        return b"", url
    data = _decode_data_url(url) if url is not None and _is_data_url(url) else b""
    return data or _refuse(kind, param), ""


def _refuse(kind: str, param: str) -> NoReturn:
    raise InvalidRequest(f"invalid {kind} input", param=param, code="invalid_value")


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _decode_data_url(url: str) -> bytes:
    """The bytes of data:[MIME type][;parameters];base64,TEXT; b"" when it is something else."""
    comma = url.find(",", 0, _HEAD_LENGTH)
    if comma < 0 or not url[:comma].rstrip().lower().endswith(";base64"):
        return b""
    return _decode_base64(url, comma + 1)


def _decode_base64(text: str, start: int = 0) -> bytes:
    """The bytes that `text` encodes from `start` on; b"" when it is not base64. Padding may be missing.

    Text in the URL-safe alphabet and text with white space in it is cleaned first, which takes more copies.
    """
    return _decode_exactly(text, start) or _decode_exactly(_clean(text[start:]), 0)


def _clean(text: str) -> str:
    return text.encode("ascii", "replace").translate(_FROM_URLSAFE, _WHITESPACE).decode("ascii")


def _decode_exactly(text: str, start: int) -> bytes:
    length = len(text) - start - text[-2:].count("=")
    pieces = (text[i : i + _PIECE_LENGTH] for i in range(start, len(text), _PIECE_LENGTH))
    try:
        data = b"".join(a2b_base64(piece + "=" * (-len(piece) % 4)) for piece in pieces)
    except ValueError:
        return b""
    # The decoder skips what is not of the alphabet, and stops at padding in the middle: then bytes are missing.
    is_whole = length % 4 != 1 and len(data) == length * 3 // 4
    return data if is_whole else b""
