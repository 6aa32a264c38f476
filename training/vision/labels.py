"""Computes the labels of each cell of 16 by 16 pixels, which the vision tower learns to predict."""

import numpy as np
from numpy.typing import NDArray

from training.vision.palette import COLORS, SHAPES
from training.vision.processing import CELL, cell_count
from training.vision.scenes import DIRECTIONS, Clip, Picture, Thing

# Class 0 of shape, color, motion, center, row and column means that the cell is empty. A pair of frames has two shapes
# and two colors, so that the labels contain the order of stages. Row and column are thirds of the frame. Every cell has
# the number of things and the background as labels.
CLASSES = {
    "shape": len(SHAPES) + 1,
    "color": len(COLORS) + 1,
    "next shape": len(SHAPES) + 1,
    "next color": len(COLORS) + 1,
    "background": len(COLORS),
    "motion": len(DIRECTIONS) + 2,
    "center": 2,
    "number": 6,
    "row": 4,
    "column": 4,
}
MARGIN = 5.0
MOTIONS = ("still", *DIRECTIONS)

Labels = NDArray[np.int64]


def picture_labels(picture: Picture) -> Labels:
    """The labels of a picture: (1, cells, 10). The last axis has one entry for each of CLASSES."""
    return _pair_labels(picture, picture.things, picture.things, "still")[None]


def clip_labels(clip: Clip) -> Labels:
    """The labels of a clip: (4, cells, 10), with one entry of the first axis for each pair of frames."""
    pairs = zip(clip.frames[::2], clip.frames[1::2], strict=True)
    return np.stack([_pair_labels(clip, (first,), (second,), clip.motion) for first, second in pairs])


def _pair_labels(scene: Picture | Clip, first: tuple[Thing, ...], second: tuple[Thing, ...], motion: str) -> Labels:
    # The last axis is in the order of CLASSES: 4 is the background, 7 the number of things.
    labels = np.zeros((cell_count(scene.frame), len(CLASSES)), np.int64)
    labels[:, 4] = COLORS.index(scene.background)
    labels[:, 7] = len(first)
    columns = scene.frame[1] // CELL
    for cell, row in enumerate(labels):
        x, y = (cell % columns + 0.5) * CELL, (cell // columns + 0.5) * CELL
        for offset, things in ((0, first), (2, second)):
            thing = _nearest(things, x, y)
            if thing is not None:
                row[offset] = SHAPES.index(thing.shape) + 1
                row[offset + 1] = COLORS.index(thing.color) + 1
                row[5] = MOTIONS.index(motion) + 1
            if thing is not None and offset == 0:
                row[8] = third(thing.y / scene.frame[0])
                row[9] = third(thing.x / scene.frame[1])
    for thing in first:
        labels[int(thing.y // CELL) * columns + int(thing.x // CELL), 6] = 1
    return labels


def third(part: float) -> int:
    """The third (1, 2 or 3) of the frame that contains `part`, a position from 0 to 1."""
    return 1 + (part > 0.4) + (part > 0.6)


def _nearest(things: tuple[Thing, ...], x: float, y: float) -> Thing | None:
    """The thing that covers the center of a cell best, or that overlaps the cell."""

    def distance(thing: Thing) -> float:
        return max(abs(thing.x - x), abs(thing.y - y)) / (thing.size + MARGIN)

    near = [thing for thing in things if distance(thing) < 1]
    return min(near, key=distance, default=None)
