"""Reads images and videos from paths, URLs, bytes and Python objects into attachments.

Pillow and numpy are imported only to convert a numpy array. matplotlib is never imported.
"""

from __future__ import annotations

import base64
import io
import mimetypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.calls import Attachment, MediaKind

URL_SCHEMES = ("data:", "jupyter:", "http:", "https:")
CHANNELS = (1, 3, 4)
DEFAULT_MIME = {"image": "image/png", "video": "video/mp4"}


def read_images(images: Any) -> Iterator[Attachment]:
    """Convert one image, or a list or tuple of images, to attachments. An InvalidRequest names the index."""
    for index, image in enumerate(_as_list(images)):
        yield _read_image(image, f"images[{index}]")


def read_videos(videos: Any) -> Iterator[Attachment]:
    """Convert one video, or a list or tuple of videos, to attachments. An InvalidRequest names the index."""
    for index, video in enumerate(_as_list(videos)):
        yield _read_media("video", video, f"videos[{index}]", "a path, bytes or a URL")


def attach_file(kind: MediaKind, path: str | os.PathLike[str], *, param: str = "") -> Attachment:
    """Read a file. A URL (data:, jupyter:, http: or https:) is not fetched. Raises InvalidRequest with the path."""
    if isinstance(path, str) and path.startswith(URL_SCHEMES):
        return Attachment(kind, param or path, path)
    try:
        file = Path(path).expanduser()
        return _attach(kind, file.name, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "")
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidRequest(f"cannot read {str(path)!r}: {reason}", param=param or None) from None


def _as_list(media: Any) -> list[Any]:
    if media is None:
        return []
    return list(media) if isinstance(media, list | tuple) else [media]


def _read_image(image: Any, param: str) -> Attachment:
    if _is_instance(image, "PIL.Image", "Image"):
        return _attach("image", param, _png(image))
    if _is_instance(image, "numpy", "ndarray"):
        return _attach("image", param, _png(_from_array(image, param)))
    if _is_instance(image, "matplotlib.figure", "Figure"):
        file = io.BytesIO()
        image.savefig(file, format="png")
        return _attach("image", param, file.getvalue())
    accepted = "a path, bytes, a URL, a Pillow image, a numpy array or a matplotlib figure"
    return _read_media("image", image, param, accepted)


def _read_media(kind: MediaKind, media: Any, param: str, accepted: str) -> Attachment:
    if isinstance(media, bytes | bytearray | memoryview):
        return _attach(kind, param, bytes(media))
    if not isinstance(media, str | os.PathLike):
        raise InvalidRequest(f"{param}: {accepted}, not {type(media).__name__}", param=param)
    try:
        return attach_file(kind, media, param=param)
    except InvalidRequest as error:
        raise InvalidRequest(f"{param}: {error.message}", param=param) from None


def _attach(kind: MediaKind, name: str, data: bytes, mime: str = "") -> Attachment:
    if not mime.startswith(kind):
        mime = DEFAULT_MIME[kind]
    return Attachment(kind, name, f"data:{mime};base64,{base64.b64encode(data).decode()}")


def _is_instance(value: Any, module: str, name: str) -> bool:
    """Whether `value` is an instance of a class of `module`. A module that is not imported has no instances."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    # PNG does not support the other modes of Pillow (CMYK, YCbCr, F …).
    is_png_mode = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    (image if is_png_mode else image.convert("RGB")).save(file, format="PNG")
    return file.getvalue()


def _from_array(array: Any, param: str) -> Any:
    """Convert an array to a Pillow image.

    The shape is H×W, H×W×1, H×W×3 or H×W×4. The values are uint8, bool, or floats from 0 to 1.
    """
    import numpy as np
    from PIL import Image

    is_grey = array.ndim == 2
    has_channels = array.ndim == 3 and array.shape[2] in CHANNELS
    if not (is_grey or has_channels) or 0 in array.shape:
        shape = "×".join(map(str, array.shape))
        raise InvalidRequest(f"{param}: an array of shape {shape}, not H×W, H×W×3 or H×W×4", param=param)
    values = array if is_grey or array.shape[2] > 1 else array[:, :, 0]
    if np.issubdtype(values.dtype, np.floating):
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InvalidRequest(f"{param}: the values of an array of floats must be from 0 to 1", param=param)
        values = np.round(values * 255).astype(np.uint8)
    elif values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    elif values.dtype != np.uint8:
        raise InvalidRequest(f"{param}: an array of {values.dtype}, not of uint8 or of floats", param=param)
    return Image.fromarray(np.ascontiguousarray(values))
