"""Writes scenes as typical files: PNG images, and MP4 videos with any number of frames."""

from dataclasses import replace
from pathlib import Path
from random import Random

import cv2
import numpy as np
from PIL import Image

from training.vision.drawing import Pixels, draw_look, render_clip, render_picture
from training.vision.scenes import FRAMES, Clip, Picture, Thing


def write_picture(rng: Random, picture: Picture, path: Path) -> None:
    Image.fromarray(render_picture(rng, picture, draw_look(rng))).save(path)


def write_clip(rng: Random, clip: Clip, path: Path) -> None:
    """Write an MP4 file of 8 to 40 frames, each up to about 200 pixels wide and high."""
    look = replace(draw_look(rng, largest=2.5), quality=None)
    frames = render_clip(rng, stretched(clip, rng.randint(FRAMES, 40)), look)
    encode_clip(frames, rng.choice((4, 8, 10, 24)), path)


def encode_clip(frames: Pixels, rate: int, path: Path) -> None:
    """Write frames (count, height, width, 3) to an MP4 file with `rate` frames per second."""
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (even.shape[2], even.shape[1]))
    for frame in even:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def stretched(clip: Clip, count: int) -> Clip:
    """The same video with more frames."""
    return replace(clip, frames=tuple(_at(clip, i / (count - 1) * (FRAMES - 1)) for i in range(count)))


def _at(clip: Clip, time: float) -> Thing:
    """The thing at a time between two of the eight frames.

    If the clip has one stage, the position is interpolated. Otherwise this is the thing of the nearer frame.
    """
    before = clip.frames[int(time)]
    after = clip.frames[min(int(time) + 1, FRAMES - 1)]
    part = time - int(time)
    if len(clip.stages) > 1:
        return before if part < 0.5 else after
    return replace(before, x=before.x + part * (after.x - before.x), y=before.y + part * (after.y - before.y))
