"""Images and videos become attachments."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pico_jupyter.engine.media.images import decode_image
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.attachments import read_images, read_videos
from pico_jupyter.sources.calls import Attachment

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


def test_an_open_file_is_read_from_its_start_and_keeps_its_position(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with (tmp_path / "a.png").open("rb") as file, tempfile.SpooledTemporaryFile() as temporary:
        temporary.write(PNG)
        memory = io.BytesIO(PNG)
        memory.seek(0, io.SEEK_END)
        for opened in (file, memory, temporary):
            position = opened.tell()
            assert [a.data for a in read_images(opened)] == [a.data for a in read_images(PNG)]
            assert opened.tell() == position
    assert [a.data for a in read_videos(io.BytesIO(b"mp4"))] == [a.data for a in read_videos(b"mp4")]


def decoded(attachment: Attachment) -> NDArray[np.uint8]:
    """The pixels that the engine sees."""
    data = base64.b64decode(attachment.data.partition(",")[2])
    return np.asarray(decode_image(data, "image", max_pixels=10_000))


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8))
SIXTEEN_BITS = np.linspace(0, 65535, 24).reshape(4, 6).astype(np.uint16)
TRANSPARENT = Image.merge("LA", [NOISE.convert("L"), NOISE.convert("L").transpose(Image.Transpose.ROTATE_180)])
FILES: dict[str, Image.Image] = {
    "rgb.png": NOISE,
    "grey.png": NOISE.convert("L"),
    "bits.png": NOISE.convert("1"),
    "palette.png": NOISE.convert("P"),
    "palette.gif": NOISE.convert("P"),
    "la.png": TRANSPARENT,
    "rgba.png": TRANSPARENT.convert("RGBA"),
    "rgba.webp": TRANSPARENT.convert("RGBA"),
    "cmyk.jpg": NOISE.convert("CMYK"),
    "cmyk.tif": NOISE.convert("CMYK"),
    "ycbcr.jpg": NOISE.convert("YCbCr"),
    "16.png": Image.fromarray(SIXTEEN_BITS),
    "16.tif": Image.fromarray(SIXTEEN_BITS),
    "16big.tif": Image.frombytes("I;16B", (6, 4), SIXTEEN_BITS.astype(">u2").tobytes()),
    "integers.tif": Image.fromarray(np.linspace(-3e5, 7e6, 24).reshape(4, 6).astype(np.int32)),
    "floats.tif": Image.fromarray(np.linspace(-3, 7, 24).reshape(4, 6).astype(np.float32)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_pillow_image_equals_the_file_from_which_it_was_opened(name: str, tmp_path: Path) -> None:
    FILES[name].save(tmp_path / name)
    with Image.open(tmp_path / name) as original:
        by_path, opened = read_images([tmp_path / name, original])
    assert np.array_equal(decoded(opened), decoded(by_path))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_is_as_upright_as_its_file(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"photo.{suffix}"
    NOISE.save(file, exif=exif)
    loaded = Image.open(file)
    loaded.load()
    by_path, *others = read_images([file, Image.open(file), loaded, ImageOps.exif_transpose(Image.open(file))])
    for other in others:
        assert np.array_equal(decoded(other), decoded(by_path))


def test_transparency_of_one_colour_is_kept(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGB"):
        source = NOISE.convert(mode)
        source.save(tmp_path / "a.png", transparency=source.getpixel((0, 0)))
        by_path, opened = read_images([tmp_path / "a.png", Image.open(tmp_path / "a.png")])
        assert np.array_equal(decoded(opened), decoded(by_path))


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "HSV", "LAB", "RGBX", "YCbCr", "I;16L"])
def test_pillow_images_of_other_modes_are_accepted(mode: str) -> None:
    (attachment,) = read_images(Image.new(mode, (3, 2)))
    assert decoded(attachment).shape == (2, 3, 3)


def test_a_pillow_image_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    NOISE.save(tmp_path / "a.png")
    cut = io.BytesIO((tmp_path / "a.png").read_bytes()[:60])
    with Image.open(tmp_path / "a.png") as closed:
        pass
    for unreadable in (Image.new("RGB", (0, 0)), Image.open(cut), closed):
        with pytest.raises(InvalidRequest, match=r"images\[0\]: the image cannot be read"):
            list(read_images(unreadable))


def test_the_metadata_of_a_photo_are_not_sent(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera of Ann"
    NOISE.save(tmp_path / "a.jpg", exif=exif)
    (attachment,) = read_images(Image.open(tmp_path / "a.jpg"))
    assert b"Ann" not in base64.b64decode(attachment.data.partition(",")[2])


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


def closed_file() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("nothing.png", r"images\[0\]: cannot read 'nothing.png': No such file"),
        ([PNG, "/"], r"images\[1\]: cannot read '/': Is a directory"),
        (closed_file(), r"images\[0\]: the file cannot be read: I/O operation on closed file"),
        (io.StringIO("text"), r"images\[0\]: .* not StringIO"),
        (3, r"images\[0\]: a path, bytes, a binary file, a URL, .* not int"),
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
