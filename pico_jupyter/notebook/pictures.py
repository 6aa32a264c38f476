"""What people have pictures and clips as, read into attachments. Imports nothing that nobody uses."""

from __future__ import annotations

import base64
import io
import mimetypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.calls import Attachment

Kind: TypeAlias = Literal["image", "video"]

URL_SCHEMES = ("data:", "jupyter:", "http:", "https:")
CHANNELS = (1, 3, 4)


def read_images(images: Any) -> Iterator[Attachment]:
    """The pictures, in order: one, or several in a list or tuple. Raises InvalidRequest, which names the one."""
    for index, image in enumerate(_several(images)):
        yield _read_image(image, f"images[{index}]")


def read_videos(videos: Any) -> Iterator[Attachment]:
    """The clips, in order: one, or several in a list or tuple. Raises InvalidRequest, which names the one."""
    for index, video in enumerate(_several(videos)):
        yield _read_file("video", video, f"videos[{index}]", "a path, bytes or a URL")


def _several(media: Any) -> list[Any]:
    if media is None:
        return []
    return list(media) if isinstance(media, list | tuple) else [media]


def _read_image(image: Any, param: str) -> Attachment:
    if _is_a(image, "PIL.Image", "Image"):
        return _attach("image", param, _png(image))
    if _is_a(image, "numpy", "ndarray"):
        return _attach("image", param, _png(_from_array(image, param)))
    if _is_a(image, "matplotlib.figure", "Figure"):
        drawn = io.BytesIO()
        image.savefig(drawn, format="png")
        return _attach("image", param, drawn.getvalue())
    known = "a path, bytes, a URL, a Pillow image, a numpy array or a matplotlib figure"
    return _read_file("image", image, param, known)


def _read_file(kind: Kind, media: Any, param: str, known: str) -> Attachment:
    if isinstance(media, bytes | bytearray | memoryview):
        return _attach(kind, param, bytes(media))
    if isinstance(media, str) and media.startswith(URL_SCHEMES):
        return Attachment(kind, param, media)
    if isinstance(media, str | os.PathLike):
        return _read_path(kind, media, param)
    raise InvalidRequest(f"{param}: {known}, not {type(media).__name__}", param=param)


def _read_path(kind: Kind, path: str | os.PathLike[str], param: str) -> Attachment:
    try:
        file = Path(path).expanduser()
        return _attach(kind, file.name, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "")
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidRequest(f"{param}: cannot read {str(path)!r}: {reason}", param=param) from None


def _attach(kind: Kind, name: str, data: bytes, mime: str = "") -> Attachment:
    if not mime.startswith(kind):
        mime = "image/png" if kind == "image" else "video/mp4"
    return Attachment(kind, name, f"data:{mime};base64,{base64.b64encode(data).decode()}")


def _is_a(value: Any, module: str, name: str) -> bool:
    """Whether it is one, without importing what it would be: who has one has imported it."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _png(image: Any) -> bytes:
    file = io.BytesIO()
    # Pillow writes these modes as PNG; others (CMYK, YCbCr, F …) have no form there.
    keeps = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA")
    (image if keeps else image.convert("RGB")).save(file, format="PNG")
    return file.getvalue()


def _from_array(array: Any, param: str) -> Any:
    """A Pillow image of H×W, H×W×1, H×W×3 or H×W×4 values: bytes, or floats from 0 to 1. Raises InvalidRequest."""
    import numpy as np
    from PIL import Image

    is_grey = array.ndim == 2
    if not (is_grey or (array.ndim == 3 and array.shape[2] in CHANNELS)) or 0 in array.shape:
        shape = "×".join(map(str, array.shape))
        raise InvalidRequest(f"{param}: an array of shape {shape}, not H×W, H×W×3 or H×W×4", param=param)
    values = array if is_grey or array.shape[2] > 1 else array[:, :, 0]
    if np.issubdtype(values.dtype, np.floating):
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise InvalidRequest(f"{param}: an array of floats has to hold values from 0 to 1", param=param)
        values = np.round(values * 255).astype(np.uint8)
    elif values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    elif values.dtype != np.uint8:
        raise InvalidRequest(f"{param}: an array of {values.dtype}, not of uint8 or of floats", param=param)
    return Image.fromarray(np.ascontiguousarray(values))
