"""Pictures: from the bytes of a file to RGB pixels. Knows no model, no mlx, no request and nothing of clips.

Pillow's own `Image.open` is not used: it warns of large pictures by a global limit, where ours is an argument.
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

# What Pillow raises for a file that is damaged. It is whatever the plugin stumbles over, and where warnings are errors
# its warnings too. MemoryError is not there: it is the machine's fault.
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

# The turn that shows a picture as the EXIF orientation says.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def digest(data: bytes) -> bytes:
    """16 bytes that stand for the content of a file."""
    return hashlib.blake2b(data, digest_size=16).digest()


def decode_image(data: bytes, param: str, *, max_pixels: int) -> Image.Image:
    """The picture in a PNG, JPEG, WebP, GIF, BMP or TIFF file, upright, in RGB, transparency on white.

    Of several pictures it is the first. Raises InvalidRequest at `param` for anything else, for a damaged file, and for
    more than `max_pixels` pixels (before they are decoded).
    """
    picture = open_picture(data, "image", param, max_pixels=max_pixels)
    try:
        picture.load()
        return _upright(to_rgb(picture), _orientation(picture))
    except DAMAGED as error:
        raise invalid("image", "the file is damaged or truncated", param) from error


def invalid(kind: Literal["image", "video"], reason: str, param: str) -> InvalidRequest:
    """The error for a file that cannot be looked at."""
    return InvalidRequest(f"invalid {kind} input: {reason}", param=param, code="invalid_value")


def check_pixels(size: tuple[int, int], kind: Literal["image", "video"], param: str, *, max_pixels: int) -> None:
    """Raises InvalidRequest where a width and height are none, or too large."""
    width, height = size
    if width < 1 or height < 1:
        raise invalid(kind, "there are no pixels in it", param)
    if width * height > max_pixels:
        raise invalid(kind, f"{width}x{height} pixels are more than the {max_pixels} that are allowed", param)


def open_picture(data: bytes, kind: Literal["image", "video"], param: str, *, max_pixels: int) -> ImageFile.ImageFile:
    """The picture with its header read and checked, and no pixel decoded. Raises InvalidRequest."""
    if not data:
        raise invalid(kind, "the file is empty", param)
    plugin = next((plugin for magic, plugin in _FORMATS if re.match(magic, data, re.DOTALL)), None)
    if plugin is None:
        raise invalid(kind, "the file is not a PNG, JPEG, WebP, GIF, BMP or TIFF picture", param)
    try:
        picture = plugin(BytesIO(data))
    except Image.DecompressionBombError as error:
        raise invalid(kind, f"it has more pixels than the {max_pixels} that are allowed", param) from error
    except DAMAGED as error:
        raise invalid(kind, "the file is damaged or truncated", param) from error
    check_pixels(picture.size, kind, param, max_pixels=max_pixels)
    return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB, what is transparent on white.

    Of 16-bit grey the upper 8 bits are taken, as Pillow does for 16-bit colours. 32-bit integers and floats have no
    natural white: they are stretched from their lowest value to their highest.
    """
    if picture.mode.startswith("I;16"):
        return _grey(np.asarray(picture) >> 8)
    if picture.mode in ("I", "F"):
        return _grey(_stretched(np.asarray(picture, dtype=np.float64)))
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.upper())
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    canvas = Image.new("RGB", picture.size, "white")
    canvas.paste(picture, mask=picture.getchannel("A"))
    return canvas


def _grey(levels: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros_like(values)
    low, high = values[finite].min(), values[finite].max()
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    # Halved, so that the span of the largest floats is finite.
    span = max(high / 2 - low / 2, float(np.finfo(np.float64).tiny))
    share: NDArray[np.float64] = np.clip((values / 2 - low / 2) / span, 0, 1)
    return share * 255


def _orientation(picture: ImageFile.ImageFile) -> int:
    """1 to 8; 1 where the EXIF data are none or damaged, for the pixels are not. A TIFF is upright once loaded."""
    if isinstance(picture, TiffImageFile):
        return 1
    try:
        return int(picture.getexif().get(ExifTag.Orientation, 1))
    except DAMAGED:
        return 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)
