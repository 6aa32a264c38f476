"""Clips: from the bytes of a file to a few frames of pixels. Knows no model, no mlx and no request.

- A clip is decoded from its start to the last frame that is wanted. Only wanted frames become pixels, and each is
  shrunk at once, so that memory does not grow with the clip.
- OpenCV sees only files that begin as a container should: FFmpeg would also open playlists, which name other files.
"""

from __future__ import annotations

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

from pico_jupyter.engine.media.images import DAMAGED, check_pixels, invalid, open_picture, to_rgb
from pico_jupyter.errors import EngineFailed, InvalidRequest

Frame = NDArray[np.uint8]

# Where the longest clips and hostile ones end: source frames, and seconds of decoding.
MAX_SOURCE_FRAMES = 100_000
MAX_SECONDS = 120.0

# As mlx_vlm.utils.load_video samples: an even number of frames (models merge pairs), four at least where there are.
_PAIR = 2
_MIN_FRAMES = 4
# More threads hold more frames of the source at once.
_DECODER_THREADS = 2
_TIMEOUT_MS = 10_000
_WILD_COUNT = 1 << 31
# What browsers do with animations: a delay of at most 10 ms is none, and none means 100.
_NO_DELAY_MS = 10
_DEFAULT_DELAY_MS = 100

_ANIMATION = re.compile(rb"GIF8[79]a|RIFF....WEBP", re.DOTALL)
_CONTAINER = re.compile(
    rb"\x1a\x45\xdf\xa3"  # Matroska, WebM
    rb"|RIFF....AVI "
    rb"|....ftyp(?!hei|hev|mif1|msf1|avi[fs])"  # MP4, MOV; not the pictures HEIC and AVIF
    rb"|....(?:moov|mdat|wide|free|skip|pnot)",  # MOV of old
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Frames picked from a clip.

    `frames` are RGB (count, height, width, 3); `indices` are their places among the `source_frames` frames of the
    clip, which has `source_fps` frames a second and lasts `duration` seconds.
    """

    frames: Frame
    indices: tuple[int, ...]
    source_fps: float
    source_frames: int
    duration: float

    def __repr__(self) -> str:
        count, height, width, _ = self.frames.shape
        return f"<Clip [{count} of {self.source_frames} frames | {width}x{height} | {self.duration:.1f} s]>"

    @property
    def sampled_fps(self) -> float:
        """Picked frames a second."""
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
) -> Clip:
    """Evenly spaced frames of an MP4, MOV, WebM or AVI clip, or of an animated GIF or WebP; upright.

    `frames` of them or, where it is None, `fps` a second; `max_frames` at most; each of at most `frame_area` pixels.
    Of a truncated clip it is what there is. Raises InvalidRequest at `param` for anything else, for more than
    `max_pixels` pixels a frame, and for a clip that takes too long; EngineFailed where OpenCV is not usable.
    """
    wanted = _Wanted(param, max_pixels, max_frames, fps, frame_area, frames, clock, clock() + MAX_SECONDS)
    if _ANIMATION.match(data):
        return _decode_animation(data, wanted)
    if not _CONTAINER.match(data):
        reason = "not an MP4, MOV, WebM or AVI clip, nor a GIF or WebP animation" if data else "empty"
        raise wanted.refusal(f"the file is {reason}")
    cv2 = _opencv()
    # A file, because OpenCV before 4.11 reads from nothing else.
    with tempfile.NamedTemporaryFile(prefix="pico-clip-") as file:
        file.write(data)
        file.flush()
        try:
            return _decode_container(cv2, file.name, wanted)
        except cv2.error as error:
            raise wanted.refusal("the clip cannot be decoded") from error


def sampled_indices(
    total: int, source_fps: float, *, fps: float, frames: int | None, max_frames: int
) -> tuple[int, ...]:
    """Which of `total` frames to look at, the first and the last included; as mlx_vlm.utils.load_video picks them."""
    most = _even(min(max_frames, total))
    count = round(frames / _PAIR) * _PAIR if frames is not None else max(total / source_fps * fps, _MIN_FRAMES)
    count = max(_even(min(count, most)), min(_PAIR, max_frames, total))
    return tuple(int(index) for index in np.linspace(0, total - 1, count).round())


def fitted(size: tuple[int, int], area: int | None) -> tuple[int, int]:
    """Width and height with the same ratio and at most `area` pixels; never enlarged."""
    width, height = size
    if area is None or width * height <= area:
        return size
    scale = math.sqrt(area / (width * height))
    width = min(max(1, math.floor(width * scale)), area)
    return width, min(max(1, math.floor(height * scale)), area // width)


def _even(count: float) -> int:
    return math.floor(count / _PAIR) * _PAIR


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the caller asked for, and how long it may take."""

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

    def refusal(self, reason: str) -> InvalidRequest:
        return invalid("video", reason, self.param)

    def check_size(self, size: tuple[int, int]) -> None:
        check_pixels(size, "video", self.param, max_pixels=self.max_pixels)

    def check_effort(self, seen: int) -> None:
        """Raises InvalidRequest where `seen` source frames, or the time that they took, are too much."""
        if seen > MAX_SOURCE_FRAMES:
            raise self.refusal(f"the clip has more than {MAX_SOURCE_FRAMES} frames")
        if self.clock() > self.deadline:
            raise self.refusal(f"the clip takes more than {MAX_SECONDS:.0f} seconds to decode; shorten or shrink it")


def _room(count: int, size: tuple[int, int]) -> Frame:
    """One array for all frames that are picked, so that none of them is there twice."""
    width, height = size
    return np.empty((count, height, width, 3), dtype=np.uint8)


def _clip(frames: Frame, indices: Sequence[int], source_fps: float, total: int) -> Clip:
    return Clip(frames, tuple(indices[: len(frames)]), source_fps, total, total / source_fps)


def _decode_animation(data: bytes, wanted: _Wanted) -> Clip:
    delays = [delay for delay, _ in _animation(data, wanted)]
    if not delays:
        raise wanted.refusal("the file is damaged or truncated")
    source_fps = len(delays) / sum(delays) * 1000
    indices = wanted.indices(len(delays), source_fps)
    frames = _room(0, (0, 0))
    picked = 0
    for index, (_, picture) in enumerate(_animation(data, wanted)):
        if index != indices[picked]:
            continue
        if picked == 0:
            size = fitted(picture.size, wanted.frame_area)
            frames = _room(len(indices), size)
        frames[picked] = np.asarray(to_rgb(picture).resize(size, Image.Resampling.BOX))
        picked += 1
        if picked == len(indices):
            break
    return _clip(frames[:picked], indices, source_fps, len(delays))


def _animation(data: bytes, wanted: _Wanted) -> Iterator[tuple[float, ImageFile.ImageFile]]:
    """The frames in turn, each with its delay in milliseconds, up to where the file is damaged."""
    picture = open_picture(data, "video", wanted.param, max_pixels=wanted.max_pixels)
    for index in range(MAX_SOURCE_FRAMES + 2):
        wanted.check_effort(index)
        try:
            picture.seek(index)
            # A later frame of a GIF may enlarge it.
            wanted.check_size(picture.size)
            picture.load()
        except DAMAGED:
            return
        delay = picture.info.get("duration", 0)
        yield delay if delay > _NO_DELAY_MS else _DEFAULT_DELAY_MS, picture


def _opencv() -> Any:
    """The module, imported late because it takes a third of a second. What FFmpeg says of files stays unsaid."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        return import_module("cv2")
    except ImportError as error:
        reason = f"reading a clip needs OpenCV, which cannot be imported here ({error})"
        raise EngineFailed(f"{reason}; `pip install opencv-python-headless` helps") from error


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


def _decode_container(cv2: Any, path: str, wanted: _Wanted) -> Clip:
    with _capture(cv2, path) as capture:
        if not capture.isOpened():
            raise wanted.refusal("the file is damaged, or its codec is not known")
        wanted.check_size((int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))))
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        source_fps = capture.get(cv2.CAP_PROP_FPS)
    if not (math.isfinite(source_fps) and source_fps > 0):
        source_fps = 1.0  # as load_video does
    if MAX_SOURCE_FRAMES < claimed < _WILD_COUNT:
        wanted.check_effort(int(claimed))
    # A stream that was never finished has no count, or a wild one.
    total = int(claimed) if 1 <= claimed <= MAX_SOURCE_FRAMES else _count(cv2, path, wanted)
    indices = wanted.indices(total, source_fps)
    frames, seen = _pick(cv2, path, indices, wanted)
    if len(frames) < len(indices) and len(frames):
        total = seen
        indices = wanted.indices(total, source_fps)
        frames, seen = _pick(cv2, path, indices, wanted)
    if not len(frames):
        raise wanted.refusal("no frame of it can be decoded")
    return _clip(frames, indices, source_fps, total)


def _count(cv2: Any, path: str, wanted: _Wanted) -> int:
    seen = 0
    with _capture(cv2, path) as capture:
        while capture.grab():
            seen += 1
            wanted.check_effort(seen)
    return max(seen, 1)


def _pick(cv2: Any, path: str, indices: Sequence[int], wanted: _Wanted) -> tuple[Frame, int]:
    """The frames at `indices`, as far as they decode, and how many frames of the source were seen."""
    frames = _room(0, (0, 0))
    picked = seen = 0
    with _capture(cv2, path) as capture:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        while picked < len(indices) and capture.grab():
            wanted.check_effort(seen)
            seen += 1
            if seen <= indices[picked]:
                continue
            decoded, frame = capture.retrieve()
            if not decoded:
                break
            if picked == 0:
                height, width = frame.shape[:2]
                size = fitted((width, height), wanted.frame_area)
                frames = _room(len(indices), size)
            # A stream may change its size on the way.
            if frame.shape[1::-1] != size:
                frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frames[picked])
            picked += 1
    return frames[:picked], seen
