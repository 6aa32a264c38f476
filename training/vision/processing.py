"""Preprocesses images and videos for training, as mlx-vlm's Qwen3-VL processor does (tests compare both)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.vision.drawing import Pixels

PATCH, MERGE, PAIR = 8, 2, 2
CELL = PATCH * MERGE
LEAST_PIXELS, MOST_PIXELS = 48 * 48, 64 * 64
LEAST_CLIP_PIXELS, MOST_CLIP_PIXELS = 2 * 64 * 64, 8 * 64 * 64
# Sizes (height, width) of preprocessed images, from square to 16:9 and 9:16, with their relative frequency in training.
FRAME_SIZES = {(64, 64): 7, (48, 48): 1, (48, 64): 3, (64, 48): 1, (48, 80): 1.5, (80, 48): 0.5}

Patches = NDArray[np.float32]


def resized(pixels: Pixels, frame: tuple[int, int]) -> Pixels:
    height, width = frame
    if pixels.shape[:2] == frame:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def picture_patches(pixels: Pixels, frame: tuple[int, int]) -> Patches:
    """The patches of an image: (1, patches, 3 * 2 * 8 * 8). An image is processed as a pair of equal frames."""
    seen = resized(pixels, frame)
    return to_patches(np.stack([seen, seen]))


def clip_patches(frames: Pixels, frame: tuple[int, int]) -> Patches:
    """The patches of a clip: (4, patches, 3 * 2 * 8 * 8), with one group for each pair of frames."""
    return to_patches(np.stack([resized(pixels, frame) for pixels in frames]))


def to_patches(frames: Pixels) -> Patches:
    """Cut pairs of frames into patches. Takes frames (count, height, width, 3). The four patches of a cell follow each
    other."""
    values = (frames.astype(np.float32) / 255 - 0.5) / 0.5
    count, height, width, _ = frames.shape
    rows, columns = height // PATCH, width // PATCH
    split = values.transpose(0, 3, 1, 2).reshape(
        count // PAIR, PAIR, 3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH
    )
    ordered = split.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return np.ascontiguousarray(ordered.reshape(count // PAIR, rows * columns, -1))


def cell_count(frame: tuple[int, int]) -> int:
    """Number of prompt tokens for a frame, or for a pair of frames."""
    return frame[0] // CELL * (frame[1] // CELL)


def positions(ids: Sequence[int], visual: tuple[int, int], frame: tuple[int, int]) -> NDArray[np.int64]:
    """The rotary positions (3, length) for time, row and column. `visual` are the ids of image and video tokens."""
    rows, columns = frame[0] // CELL, frame[1] // CELL
    cells = np.arange(rows * columns)
    out = np.zeros((3, len(ids)), np.int64)
    position = i = 0
    while i < len(ids):
        if ids[i] in visual:
            out[:, i : i + len(cells)] = position + np.stack([cells * 0, cells // columns, cells % columns])
            position += max(rows, columns)
            i += len(cells)
        else:
            out[:, i] = position
            position += 1
            i += 1
    return out
