"""Reads images and videos from paths, URLs, bytes and Python objects into attachments.

Pillow and numpy are imported only for their own objects. matplotlib is never imported.
"""

from __future__ import annotations

import base64
import io
import mimetypes
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.calls import Attachment, MediaKind

URL_SCHEMES = ("data:", "jupyter:", "http:", "https:")
CHANNELS = (1, 3, 4)
# The modes of Pillow that PNG files keep, and those with more than 8 bits, which only TIFF files keep.
FILE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
TIFF_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
ORIENTATION = 0x0112  # the EXIF tag
DEFAULT_MIME = {"image": "image/png", "video": "video/mp4"}


def read_images(images: Any) -> Iterator[Attachment]:
    """Convert one image, or a list or tuple of images, to attachments. An InvalidRequest names the index."""
    for index, image in enumerate(_as_list(images)):
        yield _read_image(image, f"images[{index}]")


def read_videos(videos: Any) -> Iterator[Attachment]:
    """Convert one video, or a list or tuple of videos, to attachments. An InvalidRequest names the index."""
    for index, video in enumerate(_as_list(videos)):
        yield _read_media("video", video, f"videos[{index}]", "a path, bytes, a binary file or a URL")


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
        return _attach_pillow(image, param)
    if _is_instance(image, "numpy", "ndarray"):
        return _attach_pillow(_from_array(image, param), param)
    if _is_instance(image, "matplotlib.figure", "Figure"):
        file = io.BytesIO()
        image.savefig(file, format="png")
        return _attach("image", param, file.getvalue())
    accepted = "a path, bytes, a binary file, a URL, a Pillow image, a numpy array or a matplotlib figure"
    return _read_media("image", image, param, accepted)


def _read_media(kind: MediaKind, media: Any, param: str, accepted: str) -> Attachment:
    if isinstance(media, io.BufferedIOBase | io.RawIOBase | tempfile.SpooledTemporaryFile):
        media = _read_file(media, param)
    if isinstance(media, bytes | bytearray | memoryview):
        return _attach(kind, param, bytes(media))
    if not isinstance(media, str | os.PathLike):
        raise InvalidRequest(f"{param}: {accepted}, not {type(media).__name__}", param=param)
    try:
        return attach_file(kind, media, param=param)
    except InvalidRequest as error:
        raise InvalidRequest(f"{param}: {error.message}", param=param) from None


def _read_file(file: Any, param: str) -> Any:
    """The whole content of an open file. The file keeps its position."""
    try:
        position = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(position)
        return content
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{param}: the file cannot be read: {error}", param=param) from None


def _attach(kind: MediaKind, name: str, data: bytes, mime: str = "") -> Attachment:
    if not mime.startswith(kind):
        mime = DEFAULT_MIME[kind]
    return Attachment(kind, name, f"data:{mime};base64,{base64.b64encode(data).decode()}")


def _is_instance(value: Any, module: str, name: str) -> bool:
    """Whether `value` is an instance of a class of `module`. A module that is not imported has no instances."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _attach_pillow(image: Any, param: str) -> Attachment:
    """Save an image to a file that is decoded like the file from which the image was opened."""
    from PIL import Image

    try:
        image.load()  # A TIFF is upright after this, and its orientation is 1.
        exif = Image.Exif()
        exif[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
        kind = "TIFF" if image.mode in TIFF_MODES else "PNG"
        file = io.BytesIO()
        _in_mode_of_files(image).save(file, format=kind, exif=exif)
    except (OSError, ValueError, TypeError, AttributeError, SyntaxError, AssertionError) as error:
        raise InvalidRequest(
            f"{param}: the image cannot be read: {error or type(error).__name__}", param=param
        ) from None
    return _attach("image", param, file.getvalue(), f"image/{kind.lower()}")


def _in_mode_of_files(image: Any) -> Any:
    if image.mode in FILE_MODES or image.mode in TIFF_MODES:
        return image
    if image.mode == "La":  # Pillow converts it only to LA.
        return image.convert("LA")
    return image.convert("RGBA" if image.mode in ("RGBa", "PA") else "RGB")


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
