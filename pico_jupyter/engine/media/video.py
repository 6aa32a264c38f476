"""Decodes evenly spaced frames of a video file or an animated image into RGB pixels.

- A video is decoded from its start to the last sampled frame. Only sampled frames are converted to pixels, and each is
  shrunk immediately. So the memory needed does not grow with the length of the video.
- Only files that begin like a video container are passed to OpenCV. Its FFmpeg would also open playlists, which can
  refer to other files.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from pico_jupyter.engine.media.images import DAMAGED, check_pixels, invalid_media, open_image, to_rgb
from pico_jupyter.errors import EngineFailed, InvalidRequest

Frames = NDArray[np.uint8]

# Protection against hostile files: limits on the number of source frames and on the seconds of decoding.
MAX_SOURCE_FRAMES = 100_000
MAX_SECONDS = 120.0

# As in mlx_vlm.utils.load_video, the number of frames is even, because models merge pairs, and at least 4 if possible.
_PAIR = 2
_MIN_FRAMES = 4
# Each decoder thread holds frames of the source in memory.
_DECODER_THREADS = 2
_TIMEOUT_MS = 10_000
_IMPLAUSIBLE_COUNT = 1 << 31
# As in browsers, a delay of at most 10 ms is treated as missing, and a missing delay becomes 100 ms.
_NO_DELAY_MS = 10
_DEFAULT_DELAY_MS = 100

_ANIMATION = re.compile(rb"GIF8[79]a|RIFF....WEBP", re.DOTALL)
_CONTAINER = re.compile(
    rb"\x1a\x45\xdf\xa3"  # Matroska, WebM
    rb"|RIFF....AVI "
    rb"|....ftyp(?!hei|hev|mif1|msf1|avi[fs])"  # MP4, MOV; not the image formats HEIC and AVIF
    rb"|....(?:moov|mdat|wide|free|skip|pnot)",  # old MOV files
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedVideo:
    """The sampled frames of a video.

    `frames` is an RGB array (count, height, width, 3), and `indices` are the numbers of these frames in the source. The
    source has `source_frames` frames, `source_fps` frames per second, and lasts `duration` seconds.
    """

    frames: Frames
    indices: tuple[int, ...]
    source_fps: float
    source_frames: int
    duration: float

    def __repr__(self) -> str:
        count, height, width, _ = self.frames.shape
        return f"<DecodedVideo [{count} of {self.source_frames} frames | {width}x{height} | {self.duration:.1f} s]>"

    @property
    def sampled_fps(self) -> float:
        """Sampled frames per second."""
        return len(self.indices) / self.source_frames * self.source_fps


def decode_video(
    data: bytes,
    param: str,
    *,
    max_pixels: int,
    max_frames: int,
    fps: float,
    frame_area: int | None,
    frames: int | None,
    clock: Callable[[], float] = time.monotonic,
) -> DecodedVideo:
    """Decode evenly spaced, upright frames of an MP4, MOV, WebM or AVI video or of an animated GIF or WebP.

    At most `max_frames` are sampled: `frames` frames, or `fps` frames per second if `frames` is None. Each frame is
    shrunk to at most `frame_area` pixels (None: not shrunk). A truncated file is decoded as far as possible. Raises
    InvalidRequest, with the field `param`, for other formats, for frames of more than `max_pixels` pixels, and for a
    video that takes too long to decode. Raises EngineFailed if OpenCV cannot be imported.
    """
    job = _DecodeJob(param, max_pixels, max_frames, fps, frame_area, frames, clock, clock() + MAX_SECONDS)
    if _ANIMATION.match(data):
        return _decode_animation(data, job)
    if not _CONTAINER.match(data):
        reason = "not an MP4, MOV, WebM or AVI video, nor a GIF or WebP animation" if data else "empty"
        raise job.error(f"the file is {reason}")
    cv2 = _opencv()
    # OpenCV before 4.11 reads from files only.
    with tempfile.NamedTemporaryFile(prefix="pico-video-") as file:
        file.write(data)
        file.flush()
        try:
            return _decode_container(cv2, file.name, job)
        except cv2.error as error:
            raise job.error("the video cannot be decoded") from error


def sampled_indices(
    total: int, source_fps: float, *, fps: float, frames: int | None, max_frames: int
) -> tuple[int, ...]:
    """The indices of the frames to sample out of `total`, as load_video of mlx-vlm computes them.

    The first and last frames are included. `frames` frames are sampled, or `fps` frames per second if `frames` is None.
    """
    limit = _round_down_to_even(min(max_frames, total))
    count = round(frames / _PAIR) * _PAIR if frames is not None else max(total / source_fps * fps, _MIN_FRAMES)
    count = max(_round_down_to_even(min(count, limit)), min(_PAIR, max_frames, total))
    return tuple(int(index) for index in np.linspace(0, total - 1, count).round())


def fit_size(size: tuple[int, int], area: int | None) -> tuple[int, int]:
    """Shrink a (width, height) to at most `area` pixels and keep its ratio. A smaller size is returned unchanged."""
    width, height = size
    if area is None or width * height <= area:
        return size
    scale = math.sqrt(area / (width * height))
    width = min(max(1, math.floor(width * scale)), area)
    return width, min(max(1, math.floor(height * scale)), area // width)


def _round_down_to_even(count: float) -> int:
    return math.floor(count / _PAIR) * _PAIR


@dataclass(frozen=True, slots=True)
class _DecodeJob:
    """The arguments of decode_video, and its deadline."""

    param: str
    max_pixels: int
    max_frames: int
    fps: float
    frame_area: int | None
    frames: int | None
    clock: Callable[[], float]
    deadline: float

    def indices(self, total: int, source_fps: float) -> tuple[int, ...]:
        return sampled_indices(total, source_fps, fps=self.fps, frames=self.frames, max_frames=self.max_frames)

    def error(self, reason: str) -> InvalidRequest:
        return invalid_media("video", reason, self.param)

    def check_size(self, size: tuple[int, int]) -> None:
        check_pixels(size, "video", self.param, max_pixels=self.max_pixels)

    def check_limits(self, seen: int) -> None:
        """Raise InvalidRequest after too many source frames or too much time."""
        if seen > MAX_SOURCE_FRAMES:
            raise self.error(f"the video has more than {MAX_SOURCE_FRAMES} frames")
        if self.clock() > self.deadline:
            raise self.error(f"the video takes more than {MAX_SECONDS:.0f} seconds to decode; shorten or shrink it")


def _allocate(count: int, size: tuple[int, int]) -> Frames:
    """One array for all sampled frames, so that no frame is in memory twice."""
    width, height = size
    return np.empty((count, height, width, 3), dtype=np.uint8)


def _decoded_video(frames: Frames, indices: Sequence[int], source_fps: float, total: int) -> DecodedVideo:
    return DecodedVideo(frames, tuple(indices[: len(frames)]), source_fps, total, total / source_fps)


def _decode_animation(data: bytes, job: _DecodeJob) -> DecodedVideo:
    """Decode in two passes. The first counts the frames and adds up their delays. The second reads sampled frames."""
    delays = [delay for delay, _ in _animation_frames(data, job)]
    if not delays:
        raise job.error("the file is damaged or truncated")
    source_fps = len(delays) / sum(delays) * 1000
    indices = job.indices(len(delays), source_fps)
    frames = _allocate(0, (0, 0))
    sampled = 0
    for index, (_, image) in enumerate(_animation_frames(data, job)):
        if index != indices[sampled]:
            continue
        if sampled == 0:
            size = fit_size(image.size, job.frame_area)
            frames = _allocate(len(indices), size)
        frames[sampled] = np.asarray(to_rgb(image).resize(size, Image.Resampling.BOX))
        sampled += 1
        if sampled == len(indices):
            break
    return _decoded_video(frames[:sampled], indices, source_fps, len(delays))


def _animation_frames(data: bytes, job: _DecodeJob) -> Iterator[tuple[float, ImageFile.ImageFile]]:
    """The delay in milliseconds and the image of each frame, up to the end or the first damaged frame."""
    image = open_image(data, "video", job.param, max_pixels=job.max_pixels)
    for index in itertools.count():
        job.check_limits(index)  # raises if there are too many frames
        try:
            image.seek(index)
            # A later frame of a GIF may enlarge the image.
            job.check_size(image.size)
            image.load()
        except DAMAGED:  # includes EOFError, which seek() raises after the last frame
            return
        delay = image.info.get("duration", 0)
        yield delay if delay > _NO_DELAY_MS else _DEFAULT_DELAY_MS, image


def _opencv() -> Any:
    """Import OpenCV, which takes a third of a second, without the messages that OpenCV and FFmpeg print."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return import_module("cv2")
    except ImportError as error:
        reason = f"decoding a video needs OpenCV, which cannot be imported ({error})"
        raise EngineFailed(f"{reason}; try: pip install opencv-python-headless") from error


@contextmanager
def _capture(cv2: Any, path: str) -> Iterator[Any]:
    options = {
        cv2.CAP_PROP_N_THREADS: _DECODER_THREADS,
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: _TIMEOUT_MS,
    }
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [number for option in options.items() for number in option])
    try:
        yield capture
    finally:
        capture.release()


def _decode_container(cv2: Any, path: str, job: _DecodeJob) -> DecodedVideo:
    with _capture(cv2, path) as capture:
        if not capture.isOpened():
            raise job.error("the file is damaged or has an unknown codec")
        job.check_size((int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))))
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        source_fps = capture.get(cv2.CAP_PROP_FPS)
    if not (math.isfinite(source_fps) and source_fps > 0):
        source_fps = 1.0  # as load_video of mlx-vlm does
    # The header of an unfinished file has no frame count, or an implausible one. Then the frames are counted.
    if MAX_SOURCE_FRAMES < claimed < _IMPLAUSIBLE_COUNT:
        job.check_limits(int(claimed))
    total = int(claimed) if 1 <= claimed <= MAX_SOURCE_FRAMES else _count_frames(cv2, path, job)
    indices = job.indices(total, source_fps)
    frames, seen = _sample_frames(cv2, path, indices, job)
    if 0 < len(frames) < len(indices):  # fewer frames can be decoded than the header claims
        total = seen
        indices = job.indices(total, source_fps)
        frames, seen = _sample_frames(cv2, path, indices, job)
    if not len(frames):
        raise job.error("no frame can be decoded")
    return _decoded_video(frames, indices, source_fps, total)


def _count_frames(cv2: Any, path: str, job: _DecodeJob) -> int:
    seen = 0
    with _capture(cv2, path) as capture:
        while capture.grab():
            seen += 1
            job.check_limits(seen)
    return max(seen, 1)


def _sample_frames(cv2: Any, path: str, indices: Sequence[int], job: _DecodeJob) -> tuple[Frames, int]:
    """The frames at `indices`, up to the first that cannot be decoded, and the number of source frames read."""
    frames = _allocate(0, (0, 0))
    sampled = seen = 0
    with _capture(cv2, path) as capture:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        while sampled < len(indices) and capture.grab():
            job.check_limits(seen)
            seen += 1
            if seen <= indices[sampled]:
                continue
            decoded, frame = capture.retrieve()
            if not decoded:
                break
            if sampled == 0:
                height, width = frame.shape[:2]
                size = fit_size((width, height), job.frame_area)
                frames = _allocate(len(indices), size)
            # A stream may change its frame size.
            if frame.shape[1::-1] != size:
                frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frames[sampled])
            sampled += 1
    return frames[:sampled], seen
