"""Decodes image files into RGB pixels.

Pillow's `Image.open` is not used, because its limit of pixels is global. Here the limit is an argument.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as ExifTag
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pico_jupyter.errors import InvalidRequest

# Pillow may raise any of these for a damaged file. `Warning` is listed for Python's option -W error. MemoryError is not
# listed, because it does not mean that the file is damaged.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    ArithmeticError,
    LookupError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)

_FORMATS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    (rb"\xff\xd8\xff", JpegImageFile),
    (rb"GIF8[79]a", GifImageFile),
    (rb"RIFF....WEBP", WebPImageFile),
    (rb"BM", BmpImageFile),
    (rb"II[*+]\x00|MM\x00[*+]", TiffImageFile),
)

# The operation that makes an image upright, by its EXIF orientation.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def content_digest(data: bytes) -> bytes:
    """A hash of a file's content, 16 bytes long."""
    return hashlib.blake2b(data, digest_size=16).digest()


def decode_image(data: bytes, param: str, *, max_pixels: int) -> Image.Image:
    """Decode a PNG, JPEG, WebP, GIF, BMP or TIFF file into an upright RGB image. Transparency becomes white.

    Only the first image of a file is decoded. Raises InvalidRequest, with the field `param`, for any other format, for
    a damaged file, and for an image of more than `max_pixels` pixels. The size is checked before pixels are decoded.
    """
    image = open_image(data, "image", param, max_pixels=max_pixels)
    try:
        image.load()
        return _upright(to_rgb(image), _orientation(image))
    except DAMAGED as error:
        raise invalid_media("image", "the file is damaged or truncated", param) from error


def invalid_media(kind: Literal["image", "video"], reason: str, param: str) -> InvalidRequest:
    """The error for an image or video that cannot be used. `param` names the field of the request."""
    return InvalidRequest(f"invalid {kind} input: {reason}", param=param, code="invalid_value")


def check_pixels(size: tuple[int, int], kind: Literal["image", "video"], param: str, *, max_pixels: int) -> None:
    """Raise InvalidRequest for an image without pixels or with more than `max_pixels`. `size` is (width, height)."""
    width, height = size
    if width < 1 or height < 1:
        raise invalid_media(kind, "it has no pixels", param)
    if width * height > max_pixels:
        raise invalid_media(kind, f"{width}x{height} pixels exceed the limit of {max_pixels}", param)


def open_image(data: bytes, kind: Literal["image", "video"], param: str, *, max_pixels: int) -> ImageFile.ImageFile:
    """Open an image file and check its header without decoding pixels. Raises InvalidRequest."""
    if not data:
        raise invalid_media(kind, "the file is empty", param)
    plugin = next((plugin for magic, plugin in _FORMATS if re.match(magic, data, re.DOTALL)), None)
    if plugin is None:
        raise invalid_media(kind, "the file is not a PNG, JPEG, WebP, GIF, BMP or TIFF image", param)
    try:
        image = plugin(BytesIO(data))
    except Image.DecompressionBombError as error:
        raise invalid_media(kind, f"it has more than {max_pixels} pixels", param) from error
    except DAMAGED as error:
        raise invalid_media(kind, "the file is damaged or truncated", param) from error
    check_pixels(image.size, kind, param, max_pixels=max_pixels)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB. Transparency becomes white.

    16-bit gray keeps its upper 8 bits, as 16-bit colors do in Pillow. 32-bit integers and floats have no fixed white:
    the lowest value of the image becomes black, and the highest becomes white.
    """
    if image.mode.startswith("I;16"):
        return _gray(np.asarray(image) >> 8)
    if image.mode in ("I", "F"):
        return _gray(_stretched(np.asarray(image, dtype=np.float64)))
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _gray(levels: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros_like(values)
    low, high = values[finite].min(), values[finite].max()
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    # Values are halved, because the difference of two large floats may be infinite.
    span = max(high / 2 - low / 2, float(np.finfo(np.float64).tiny))
    share: NDArray[np.float64] = np.clip((values / 2 - low / 2) / span, 0, 1)
    return share * 255


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8. It is 1 without valid EXIF data, and for a TIFF, which Pillow has rotated."""
    if isinstance(image, TiffImageFile):
        return 1
    try:
        return int(image.getexif().get(ExifTag.Orientation, 1))
    except DAMAGED:
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)
