"""Video files are decoded into a few frames of RGB pixels."""

from __future__ import annotations

import io
import itertools
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_vlm.utils import load_video
from PIL import Image

from pico_jupyter.engine.media.video import (
    MAX_SECONDS,
    MAX_SOURCE_FRAMES,
    DecodedVideo,
    decode_video,
    fit_size,
    sampled_indices,
)
from pico_jupyter.errors import EngineFailed, InvalidRequest
from tests.property_examples import examples

WIDTH, HEIGHT, FPS = 64, 48, 10.0
CODECS = {"mp4": "mp4v", "mov": "mp4v", "avi": "MJPG", "webm": "VP80", "mkv": "VP90"}
Write = Callable[..., bytes]


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes videos. The frames are gray and become brighter; the top left quarter of each is red."""
    numbers = itertools.count()

    def written(
        count: int = 30, *, suffix: str = "mp4", size: tuple[int, int] = (WIDTH, HEIGHT), fps: float = FPS
    ) -> bytes:
        path = tmp_path_factory.mktemp("videos") / f"{next(numbers)}.{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*CODECS[suffix]), fps, size)
        for index in range(count):
            frame = np.full((size[1], size[0], 3), 40 + index * 160 // count, dtype=np.uint8)
            frame[: size[1] // 2, : size[0] // 2] = (0, 0, 255)
            writer.write(frame)
        writer.release()
        return path.read_bytes()

    return written


def decoded(data: bytes, **options: object) -> DecodedVideo:
    wanted = {"max_pixels": 1 << 20, "max_frames": 64, "fps": 2.0, "frame_area": None, "frames": None, **options}
    return decode_video(data, "messages[0]", **wanted)


def error_for(data: bytes, **options: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        decoded(data, **options)
    assert (caught.value.param, caught.value.code) == ("messages[0]", "invalid_value")
    return caught.value.message


def animation(kind: str, colours: list[tuple[int, ...]], duration: int = 100, mode: str = "RGB") -> bytes:
    first, *others = [Image.new(mode, (8, 8), colour) for colour in colours]
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=others, duration=duration, lossless=True)
    return file.getvalue()


GREYS = [(level, level, level) for level in range(0, 200, 20)]


@pytest.mark.parametrize("suffix", CODECS)
def test_every_container_is_decoded(write: Write, suffix: str) -> None:
    video = decoded(write(suffix=suffix))
    assert video.frames.shape == (6, HEIGHT, WIDTH, 3)
    assert video.frames.dtype == np.uint8
    assert (video.source_frames, video.source_fps, video.duration) == (30, FPS, 3.0)


def test_frames_are_rgb_and_in_order(write: Write) -> None:
    video = decoded(write())
    assert np.allclose(video.frames[:, 4, 4], (255, 0, 0), atol=30)
    assert np.allclose(video.frames[:, -4, -4, 0], [40 + index * 160 // 30 for index in video.indices], atol=6)


@pytest.mark.parametrize(
    ("count", "wanted"),
    [(30, {"fps": 2.0}), (31, {"fps": 3.3}), (7, {"fps": 2.0}), (60, {"fps": 1.0}), (30, {"frames": 8})],
)
def test_frames_are_those_of_mlx_vlm(write: Write, tmp_path: Path, count: int, wanted: dict[str, float]) -> None:
    data = write(count)
    path = tmp_path / "video.mp4"
    path.write_bytes(data)
    frames, metadata = load_video(str(path), fps=wanted.get("fps"), nframes=wanted.get("frames"))
    video = decoded(data, **wanted)
    assert list(video.indices) == metadata.frames_indices
    assert np.array_equal(video.frames.transpose(0, 3, 1, 2), frames)
    assert (video.source_fps, video.source_frames) == (metadata.fps, metadata.total_num_frames)
    assert (video.duration, video.sampled_fps) == (metadata.duration, metadata.sampled_fps)


def test_the_first_and_the_last_frame_are_sampled() -> None:
    assert sampled_indices(100, 10.0, fps=0.5, frames=None, max_frames=64) == (0, 33, 66, 99)


def test_a_count_is_rounded_to_pairs() -> None:
    assert len(sampled_indices(100, 10.0, fps=2.0, frames=7, max_frames=64)) == 8


@pytest.mark.parametrize("frames", [None, 50])
def test_the_number_of_frames_is_limited(frames: int | None) -> None:
    assert len(sampled_indices(1000, 10.0, fps=2.0, frames=frames, max_frames=9)) == 8


@given(
    total=st.integers(1, 5000),
    source_fps=st.floats(0.1, 1000),
    fps=st.floats(0.01, 100),
    frames=st.none() | st.integers(1, 500),
    max_frames=st.integers(1, 200),
)
def test_indices_ascend_within_all_limits(
    total: int, source_fps: float, fps: float, frames: int | None, max_frames: int
) -> None:
    indices = sampled_indices(total, source_fps, fps=fps, frames=frames, max_frames=max_frames)
    assert min(2, total, max_frames) <= len(indices) <= min(max_frames, total)
    assert list(indices) == sorted(set(indices))
    assert indices[0] == 0
    assert indices[-1] == (total - 1 if len(indices) > 1 else 0)


@given(width=st.integers(1, 10_000), height=st.integers(1, 10_000), area=st.integers(1, 1 << 22))
def test_a_fitted_size_is_within_the_area(width: int, height: int, area: int) -> None:
    small = fit_size((width, height), area)
    assert 1 <= small[0] <= width
    assert 1 <= small[1] <= height
    assert math.prod(small) <= area


def test_a_fitted_size_keeps_the_ratio() -> None:
    assert fit_size((1920, 1080), 1920 * 1080 // 4) == (960, 540)


def test_a_size_that_fits_is_kept() -> None:
    assert fit_size((31, 17), 31 * 17) == (31, 17)


def test_frames_are_shrunk_to_the_area(write: Write) -> None:
    assert decoded(write(size=(640, 360)), frame_area=160 * 90).frames.shape == (6, 90, 160, 3)


def test_frames_need_memory_for_their_pixels_only(write: Write) -> None:
    video = decoded(write(40, size=(640, 360)), frame_area=1000, max_frames=6, fps=10.0)
    assert video.frames.nbytes <= 6 * 1000 * 3
    assert (video.frames.base is None) or video.frames.base.nbytes == video.frames.nbytes


def test_a_video_of_one_frame_is_decoded(write: Write) -> None:
    assert decoded(write(1)).indices == (0,)


def test_a_video_is_turned_by_the_matrix_of_its_container(write: Write) -> None:
    data = bytearray(write())
    matrix = data.index(b"tkhd") + 44
    struct.pack_into(">9i", data, matrix, 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    video = decoded(bytes(data))
    assert video.frames.shape == (6, WIDTH, HEIGHT, 3)
    assert np.allclose(video.frames[0, 4, -4], (255, 0, 0), atol=30)


def test_the_frames_of_a_stream_without_a_length_are_counted(write: Write) -> None:
    data = write(suffix="webm")
    duration = data.index(b"\x44\x89\x88")
    unfinished = data[:duration] + b"\xec\x89" + data[duration + 2 :]
    assert decoded(unfinished).indices == decoded(data).indices


def test_a_truncated_video_gives_the_frames_that_it_has(write: Write) -> None:
    data = write(suffix="webm", count=60)
    video = decoded(data[: len(data) // 2])
    assert 1 <= video.source_frames < 60
    assert video.indices[-1] == video.source_frames - 1
    assert len(video.frames) == len(video.indices)


def test_a_video_without_its_index_is_refused(write: Write) -> None:
    data = write()
    assert error_for(data[: data.index(b"moov")]).startswith("invalid video input: the file is damaged")


def test_frames_above_the_pixel_limit_are_refused(write: Write) -> None:
    assert error_for(write(), max_pixels=WIDTH * HEIGHT - 1) == (
        f"invalid video input: {WIDTH}x{HEIGHT} pixels exceed the limit of {WIDTH * HEIGHT - 1}"
    )


def test_a_video_that_takes_too_long_is_refused(write: Write) -> None:
    seconds = itertools.count(step=MAX_SECONDS / 10)
    assert "to decode" in error_for(write(), clock=lambda: next(seconds))


def test_an_animation_that_takes_too_long_is_refused() -> None:
    seconds = itertools.count(step=MAX_SECONDS / 5)
    assert "to decode" in error_for(animation("GIF", GREYS), clock=lambda: next(seconds))


def test_a_video_that_claims_too_many_frames_is_refused(write: Write) -> None:
    data = bytearray(write(suffix="avi"))
    for header in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        struct.pack_into("<I", data, header, MAX_SOURCE_FRAMES + 1)
    index = data.index(b"idx1")
    assert error_for(bytes(data[:index])) == "invalid video input: the video has more than 100000 frames"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_a_video(kind: str) -> None:
    video = decoded(animation(kind, GREYS), fps=4.0)
    assert (video.source_frames, video.source_fps, video.duration) == (10, 10.0, 1.0)
    assert video.indices == (0, 3, 6, 9)
    assert [int(frame[0, 0, 0]) for frame in video.frames] == [0, 60, 120, 180]


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_still_image_of_these_formats_is_a_video_of_one_frame(kind: str) -> None:
    video = decoded(animation(kind, GREYS[:1]))
    assert (video.indices, video.frames.shape) == ((0,), (1, 8, 8, 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_transparency_in_an_animation_becomes_white(kind: str) -> None:
    video = decoded(animation(kind, [(255, 0, 0, 0), (255, 0, 0, 255)], mode="RGBA"))
    assert [tuple(frame[0, 0]) for frame in video.frames] == [(255, 255, 255), (255, 0, 0)]


def test_an_animation_without_delays_has_ten_frames_a_second() -> None:
    assert decoded(animation("GIF", GREYS, duration=0)).source_fps == 10.0


def test_frames_of_an_animation_are_shrunk_to_the_area() -> None:
    assert decoded(animation("GIF", GREYS), frame_area=16).frames.shape == (4, 4, 4, 3)


def test_a_truncated_animation_gives_the_frames_that_it_has() -> None:
    data = animation("GIF", GREYS)
    assert 1 <= decoded(data[: len(data) // 2]).source_frames < 10


def test_an_animation_that_grows_too_large_is_refused() -> None:
    data = bytearray(animation("GIF", GREYS[:2]))
    second = data.rindex(b"\x00\x2c") + 2
    struct.pack_into("<4H", data, second, 0, 0, 4000, 4000)
    assert "4000x4000 pixels exceed" in error_for(bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"v=0\nm=video 1234 RTP/AVP 96\n",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif",
    ],
)
def test_other_formats_are_refused(data: bytes) -> None:
    assert error_for(data) == (
        "invalid video input: the file is not an MP4, MOV, WebM or AVI video, nor a GIF or WebP animation"
    )


def test_an_empty_file_is_refused() -> None:
    assert error_for(b"") == "invalid video input: the file is empty"


def test_videos_are_decoded_in_several_threads_at_once(write: Write) -> None:
    data = write()
    with ThreadPoolExecutor(4) as threads:
        videos = list(threads.map(decoded, [data] * 8))
    assert all(np.array_equal(video.frames, videos[0].frames) for video in videos)


def test_temporary_files_are_removed(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    decoded(data)
    error_for(data[:200])
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):  # the decoder needs a temporary file
        decoded(data)


def test_without_opencv_the_error_says_what_to_install(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(EngineFailed, match="pip install opencv-python-headless"):
        decoded(data)


def test_nothing_is_written_to_the_error_stream(write: Write, tmp_path: Path) -> None:
    data = bytearray(write(suffix="webm", count=60))
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    (tmp_path / "video").write_bytes(data)
    # A new process, because OpenCV reads its settings once.
    code = """if True:
        import pathlib, sys
        from pico_jupyter.engine.media.video import decode_video
        data = pathlib.Path(sys.argv[1]).read_bytes()
        limits = {"max_pixels": 1 << 20, "max_frames": 8, "fps": 2.0, "frame_area": None, "frames": None}
        decode_video(data, "", **limits)
        try:
            decode_video(data[:300], "", **limits)
        except Exception as error:
            print(type(error).__name__)
    """
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "video")], capture_output=True, check=True)
    assert (ran.stdout, ran.stderr) == (b"InvalidRequest\n", b"")


def test_the_repr_shows_frames_size_and_duration(write: Write) -> None:
    assert repr(decoded(write())) == "<DecodedVideo [6 of 30 frames | 64x48 | 3.0 s]>"


@given(suffix=st.sampled_from([*CODECS, "GIF", "WEBP"]), share=st.floats(0, 1), data=st.data(), head=st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_damaged_bytes_give_a_video_or_an_error(
    write: Write, suffix: str, share: float, data: st.DataObject, head: bool
) -> None:
    whole = animation(suffix, GREYS) if suffix.isupper() else write(8, suffix=suffix)
    damaged = bytearray(whole[: max(int(len(whole) * share), 16)])
    last = min(len(damaged), 300) if head else len(damaged)
    for place in data.draw(st.lists(st.integers(0, last - 1), max_size=4)):
        damaged[place : place + 1] = data.draw(st.binary(max_size=3))
    with suppress(InvalidRequest):
        assert decoded(bytes(damaged), frame_area=1000).frames.ndim == 4
