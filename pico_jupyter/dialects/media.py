"""Reads the images and videos of a request: decodes base64, and keeps the URLs that the server has to fetch."""

from __future__ import annotations

from binascii import a2b_base64

from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import ImagePartFields, InputVideoPartFields, MediaSource
from pico_jupyter.errors import MediaUnsupported
from pico_jupyter.types import ImagePart, VideoPart

_FETCHED_SCHEMES = ("http://", "https://", "jupyter:")
_SCHEME_LENGTH = max(len(scheme) for scheme in _FETCHED_SCHEMES)
# The comma of a data: URL is searched only in this many characters. The whole URL may have many megabytes.
_HEAD_LENGTH = 256
# a2b_base64 holds the GIL. Decoding in pieces lets other threads run in between.
_PIECE_LENGTH = 1024 * 1024
_WHITESPACE = b" \t\r\n\f\v"
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")


def read_image_part(part: ImagePartFields, param: str) -> ImagePart | VideoPart:
    """Read the image at `param`. A data: URL with a video type becomes a video. Raises InvalidRequest."""
    url = _url(part.image_url)
    if url[:11].lower() == "data:video/":
        return VideoPart(param, *_read_source(url, "video", param))
    return ImagePart(param, *_read_source(url, "image", param))


def read_video_part(part: InputVideoPartFields, param: str) -> VideoPart:
    """Read the video at `param`. Raises InvalidRequest."""
    return VideoPart(param, *_read_source(_url(part.video_url or part.video), "video", param))


def read_ollama_images(images: list[str], param: str) -> tuple[ImagePart, ...]:
    """Decode the images at `param`: base64, or data: URLs, which some clients send. Raises InvalidRequest."""
    return tuple(_read_ollama_image(image, f"{param}[{i}]") for i, image in enumerate(images))


def refuse_media(model: str, param: str | None) -> MediaUnsupported:
    return MediaUnsupported(describe_unsupported_media(model), param=param, model=model)


def describe_unsupported_media(model: str) -> str:
    return (
        f"The request includes images, video or audio, but '{model}' cannot be loaded as a vision model. "
        "Choose a vision-capable model or remove the attachments."
    )


def _url(source: MediaSource | str | None) -> str:
    return source.url if isinstance(source, MediaSource) else source or ""


def _read_ollama_image(image: str, param: str) -> ImagePart:
    data = _decode_data_url(image) if _is_data_url(image) else _decode_base64(image)
    if not data:
        raise invalid(param, "invalid image input")
    return ImagePart(param, data)


def _read_source(url: str, kind: str, param: str) -> tuple[bytes, str]:
    """Return (bytes, "") for a data: URL, or (b"", url) for a URL that the server has to fetch."""
    if url[:_SCHEME_LENGTH].lower().startswith(_FETCHED_SCHEMES):
        return b"", url
    # file: URLs and plain paths are refused, because they could name any file of the server.
    data = _decode_data_url(url) if _is_data_url(url) else b""
    if not data:
        raise invalid(param, f"invalid {kind} input")
    return data, ""


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _decode_data_url(url: str) -> bytes:
    """Decode a URL of the form data:[MIME type][;parameters];base64,TEXT. Returns b"" for other text."""
    comma = url.find(",", 0, _HEAD_LENGTH)
    if comma < 0 or not url[:comma].rstrip().lower().endswith(";base64"):
        return b""
    return _decode_base64(url, comma + 1)


def _decode_base64(text: str, start: int = 0) -> bytes:
    """Decode base64 from index `start` on. Returns b"" for other text. Padding may be missing.

    The URL-safe alphabet and white space are replaced only if needed, because the replacement copies the text.
    """
    return _decode_exactly(text, start) or _decode_exactly(_clean(text[start:]), 0)


def _clean(text: str) -> str:
    return text.encode("ascii", "replace").translate(_FROM_URLSAFE, _WHITESPACE).decode("ascii")


def _decode_exactly(text: str, start: int) -> bytes:
    unpadded_length = len(text) - start - text[-2:].count("=")
    pieces = (text[i : i + _PIECE_LENGTH] for i in range(start, len(text), _PIECE_LENGTH))
    try:
        data = b"".join(a2b_base64(piece + "=" * (-len(piece) % 4)) for piece in pieces)
    except ValueError:
        return b""
    # a2b_base64 skips invalid characters and stops at padding in the middle. In both cases, bytes are missing.
    is_whole = unpadded_length % 4 != 1 and len(data) == unpadded_length * 3 // 4
    return data if is_whole else b""
