"""Images and videos become attachments."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.attachments import read_images, read_videos

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


def image(value: Any) -> Image.Image:
    (attachment,) = read_images(value)
    head, _, data = attachment.data.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_paths_keep_their_bytes_and_their_type(tmp_path: Path) -> None:
    file = tmp_path / "a.webp"
    file.write_bytes(b"RIFF")
    for path in (file, str(file)):
        (attachment,) = read_images(path)
        assert (attachment.kind, attachment.name) == ("image", "a.webp")
        assert attachment.data == f"data:image/webp;base64,{base64.b64encode(b'RIFF').decode()}"


def test_bytes_and_urls_are_not_changed() -> None:
    assert image(PNG).size == (1, 1)
    urls = ["data:image/png;base64,AA==", "jupyter:a.png", "https://example.com/a.png"]
    assert [attachment.data for attachment in read_images(urls)] == urls


def test_pillow_images_of_any_mode_become_png() -> None:
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "F", "I;16"):
        assert image(Image.new(mode, (3, 2))).size == (3, 2)


@pytest.mark.parametrize(
    ("array", "mode", "pixel"),
    [
        (np.full((2, 3), 200, np.uint8), "L", 200),
        (np.full((2, 3, 1), 200, np.uint8), "L", 200),
        (np.full((2, 3, 3), 0.5), "RGB", (128, 128, 128)),
        (np.full((2, 3, 4), 1.0, np.float32), "RGBA", (255, 255, 255, 255)),
        (np.ones((2, 3), bool), "L", 255),
        (np.zeros((4, 6, 3), np.uint8)[::2, ::2], "RGB", (0, 0, 0)),
    ],
)
def test_arrays_are_height_by_width(array: Any, mode: str, pixel: object) -> None:
    drawn = image(array)
    assert (drawn.size, drawn.mode, drawn.getpixel((0, 0))) == ((3, 2), mode, pixel)


def test_a_matplotlib_figure_becomes_png() -> None:
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2])
    assert image(figure).size == (100, 50)


def test_one_image_equals_a_list_of_one() -> None:
    assert list(read_images(PNG)) == list(read_images([PNG])) == list(read_images((PNG,)))
    assert list(read_images(None)) == list(read_images(())) == []


def test_videos_are_paths_bytes_and_urls(tmp_path: Path) -> None:
    file = tmp_path / "a.webm"
    file.write_bytes(b"webm")
    clips = [attachment.data for attachment in read_videos([file, b"mp4", "jupyter:a.mp4"])]
    assert [clip.partition(";")[0] for clip in clips] == ["data:video/webm", "data:video/mp4", "jupyter:a.mp4"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nothing.png", r"images\[0\]: cannot read 'nothing.png': No such file"),
        ([PNG, "/"], r"images\[1\]: cannot read '/': Is a directory"),
        (3, r"images\[0\]: a path, bytes, a URL, .* not int"),
        ({"a": 1}, r"images\[0\]: .* not dict"),
        (np.zeros((2, 2, 2), np.uint8), r"images\[0\]: an array of shape 2×2×2, not H×W"),
        (np.zeros((0, 2), np.uint8), "of shape 0×2"),
        (np.zeros(4), "of shape 4"),
        (np.full((2, 2), 300), "an array of int64, not of uint8 or of floats"),
        (np.full((2, 2), 1.5), "the values of an array of floats must be from 0 to 1"),
        (np.full((2, 2), np.nan), "the values of an array of floats must be from 0 to 1"),
    ],
)
def test_a_wrong_value_is_named_by_its_index(value: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        list(read_images(value))


def test_optional_packages_are_not_imported_for_bytes() -> None:
    code = "import sys; from pico_jupyter.sources.attachments import read_images; list(read_images(b'x'))\n"
    code += "print([name for name in ('numpy', 'PIL', 'matplotlib') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"[]"
