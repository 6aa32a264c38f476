"""Image files are decoded into RGB pixels."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pico_jupyter.engine.media.images import content_digest, decode_image
from pico_jupyter.errors import InvalidRequest
from tests.property_examples import examples

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
LIMIT = 1 << 20


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    return decode_image(data, "messages[0]", max_pixels=LIMIT)


def pixel(data: bytes, at: tuple[int, int] = (0, 0)) -> object:
    return decoded(data).getpixel(at)


def error_for(data: bytes, max_pixels: int = LIMIT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_image(data, "messages[0]", max_pixels=max_pixels)
    return caught.value


def two_halves() -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (16, 0, 32, 16))
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded(kind: str) -> None:
    image = decoded(saved(two_halves(), kind))
    assert (image.mode, image.size) == ("RGB", (32, 16))
    assert np.allclose(image.getpixel((0, 0)), RED, atol=12)
    assert np.allclose(image.getpixel((31, 15)), BLUE, atol=12)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_a_file_with_several_images_gives_the_first(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    data = saved(first, kind, save_all=True, append_images=[second])
    assert np.allclose(pixel(data), RED, atol=12)


# For each EXIF orientation, the corners at which the stored top left and top right appear.
CORNERS = {1: "TL TR", 2: "TR TL", 3: "BR BL", 4: "BL BR", 5: "TL BL", 6: "TR BR", 7: "BR TR", 8: "BL TL"}


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_by_its_exif_orientation(kind: str, orientation: int) -> None:
    stored = Image.new("RGB", (64, 32), WHITE)
    stored.paste(RED, (0, 0, 32, 16))
    stored.paste(BLUE, (32, 0, 64, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(saved(stored, kind, exif=exif))
    right, bottom = image.width - 1, image.height - 1
    corner = {"TL": (0, 0), "TR": (right, 0), "BL": (0, bottom), "BR": (right, bottom)}
    left, other = (image.getpixel(corner[name]) for name in CORNERS[orientation].split())
    assert image.size == ((64, 32) if orientation < 5 else (32, 64))
    assert np.allclose(left, RED, atol=12)
    assert np.allclose(other, BLUE, atol=12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_are_ignored() -> None:
    assert decoded(saved(two_halves(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x01")).size == (32, 16)


@pytest.mark.parametrize(("mode", "clear"), [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
def test_transparency_becomes_white(mode: str, clear: tuple[int, ...]) -> None:
    assert pixel(saved(Image.new(mode, (4, 4), clear))) == WHITE


def test_partial_transparency_is_blended_with_white() -> None:
    assert pixel(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 127)))) == (128, 128, 128)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(kind: str) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([*BLACK, *RED])
    image.putpixel((1, 0), 1)
    data = saved(image, kind, transparency=0)
    assert (pixel(data), pixel(data, (1, 0))) == (WHITE, RED)


def test_a_transparent_color_becomes_white() -> None:
    assert pixel(saved(Image.new("RGB", (4, 4), RED), transparency=RED)) == WHITE


def test_a_palette_is_converted_to_its_colors() -> None:
    assert pixel(saved(two_halves().quantize(2))) == RED


def test_one_bit_becomes_black_and_white() -> None:
    image = Image.new("1", (4, 4), 0)
    image.putpixel((1, 0), 1)
    data = saved(image)
    assert (pixel(data), pixel(data, (1, 0))) == (BLACK, WHITE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_of_16_bits_keeps_its_upper_bits(kind: str) -> None:
    levels = np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)
    data = saved(Image.fromarray(levels), kind)
    assert [pixel(data, (x, 0)) for x in range(3)] == [BLACK, (128, 128, 128), WHITE]


@pytest.mark.parametrize("values", [[-5, 0, 5], [-5.0, 0.0, 5.0], [-3e38, 0.0, 3e38]])
def test_integers_and_floats_are_scaled_to_their_range(values: list[float]) -> None:
    kind = np.int32 if isinstance(values[0], int) else np.float32
    data = saved(Image.fromarray(np.array([values], dtype=kind)), "TIFF")
    assert [pixel(data, (x, 0)) for x in range(3)] == [BLACK, (127, 127, 127), WHITE]


def test_nan_becomes_black() -> None:
    assert pixel(saved(Image.fromarray(np.full((1, 3), np.nan, dtype=np.float32)), "TIFF")) == BLACK


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    data = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
    assert np.allclose(pixel(data), RED, atol=12)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif",
        b"a cat, sitting",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"P6 1 1 255 abc",
        b"\x00",
    ],
)
def test_other_formats_are_refused(data: bytes) -> None:
    error = error_for(data)
    assert error.message == ("invalid image input: the file is not a PNG, JPEG, WebP, GIF, BMP or TIFF image")


def test_an_error_names_the_field_and_has_a_code() -> None:
    error = error_for(b"nothing")
    assert (error.param, error.code) == ("messages[0]", "invalid_value")


def test_an_empty_file_is_refused() -> None:
    assert error_for(b"").message == "invalid image input: the file is empty"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, kind)
    assert error_for(data[: len(data) // 2]).message == "invalid image input: the file is damaged or truncated"


def test_an_image_at_the_pixel_limit_is_decoded() -> None:
    assert decode_image(saved(two_halves()), "", max_pixels=512).size == (32, 16)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_above_the_pixel_limit_is_refused(kind: str) -> None:
    error = error_for(saved(two_halves(), kind), max_pixels=511)
    assert error.message == "invalid image input: 32x16 pixels exceed the limit of 511"


@pytest.mark.parametrize("side", [10_000, 14_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    # Pillow warns about the first two sizes and raises an error for the last. The file contains no pixels.
    assert f"{side}x{side} pixels exceed" in error_for(png_header(side, side) + chunk(b"IDAT", b"")).message


@pytest.mark.parametrize("canvas", [10_000, 15_000])
def test_a_webp_with_a_huge_canvas_is_refused(canvas: int) -> None:
    data = bytearray(saved(two_halves(), "WEBP", lossless=True))
    struct.pack_into("<I", data, 21, (canvas - 1) | (canvas - 1) << 14)
    assert "pixels" in error_for(bytes(data)).message


def test_an_image_above_pillows_limit_is_refused_by_our_limit_only() -> None:
    side = 9_500  # over 89 million pixels, one bit each
    data = saved(Image.new("1", (side, side)), "TIFF", compression="group4")
    with pytest.raises(InvalidRequest, match="9500x9500"):
        decode_image(data, "", max_pixels=64 << 20)


def test_a_digest_depends_on_the_bytes() -> None:
    assert (len(content_digest(b"a")), content_digest(b"a")) == (16, content_digest(b"a"))
    assert content_digest(b"a") != content_digest(b"b")


def test_the_modules_import_neither_opencv_nor_mlx() -> None:
    heavy = "sorted({'cv2', 'mlx', 'mlx_vlm', 'transformers'} & set(sys.modules))"
    code = f"import sys, pico_jupyter.engine.media.images, pico_jupyter.engine.media.video; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


SAMPLES = [saved(two_halves(), kind) for kind in FORMATS]


@given(sample=st.sampled_from(SAMPLES), data=st.data())
@settings(max_examples=examples(150), deadline=None)
def test_damaged_bytes_give_an_image_or_an_error(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample[: data.draw(st.integers(0, len(sample)))])
    for place in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=4)):
        damaged[place : place + 1] = data.draw(st.binary(max_size=3))
    with suppress(InvalidRequest):
        assert decode_image(bytes(damaged), "image", max_pixels=LIMIT).mode == "RGB"


@given(magic=st.sampled_from([sample[:4] for sample in SAMPLES] + [b""]), tail=st.binary(max_size=200))
@settings(max_examples=examples(100), deadline=None)
def test_random_bytes_are_refused(magic: bytes, tail: bytes) -> None:
    assert error_for(magic + tail).param == "messages[0]"
