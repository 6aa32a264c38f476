"""The labels of each cell for the training of the vision tower."""

import numpy as np

from training.vision.labels import CLASSES, MOTIONS, clip_labels, picture_labels
from training.vision.palette import COLORS, SHAPES
from training.vision.scenes import Clip, Picture, Thing

CIRCLE = Thing("red", "circle", 16, 16, 8)
STAR = Thing("blue", "star", 56, 56, 7)
NAMES = list(CLASSES)


def test_the_cells_of_a_thing_are_labelled_with_its_shape_and_color() -> None:
    labels = picture_labels(Picture((64, 64), "white", (CIRCLE, STAR)))[0].reshape(4, 4, -1)

    assert (labels[:2, :2, 0] == SHAPES.index("circle") + 1).all()
    assert labels[3, 3].tolist()[:2] == [SHAPES.index("star") + 1, COLORS.index("blue") + 1]
    assert labels[0, 3, :2].tolist() == [0, 0]


def test_every_cell_is_labelled_with_the_background() -> None:
    labels = picture_labels(Picture((48, 80), "green", ()))[0]

    assert (labels[:, NAMES.index("background")] == COLORS.index("green")).all()
    assert labels.shape == (15, len(CLASSES))


def test_each_thing_has_one_center() -> None:
    labels = picture_labels(Picture((64, 64), "white", (CIRCLE, STAR)))[0]

    assert labels[:, NAMES.index("center")].sum() == 2


def test_a_pair_of_frames_is_labelled_with_the_next_color() -> None:
    there = Thing("blue", "star", 16, 16, 8)
    clip = Clip((64, 64), "white", (CIRCLE,) * 3 + (there,) * 5, (CIRCLE, there))
    labels = clip_labels(clip)
    cell = labels[:, 0]

    assert cell[:, NAMES.index("color")].tolist() == [COLORS.index(c) + 1 for c in ("red", "red", "blue", "blue")]
    assert cell[:, NAMES.index("next color")].tolist() == [COLORS.index(c) + 1 for c in ("red", "blue", "blue", "blue")]


def test_only_the_cells_of_a_thing_are_labelled_with_its_motion() -> None:
    labels = clip_labels(Clip((64, 64), "white", (CIRCLE,) * 8, (CIRCLE,), "left"))
    motion = labels[..., NAMES.index("motion")]

    assert set(np.unique(motion).tolist()) == {0, MOTIONS.index("left") + 1}
    assert ((motion > 0) == (labels[..., 0] > 0)).all()


def test_every_cell_is_labelled_with_the_number_of_things() -> None:
    labels = picture_labels(Picture((64, 64), "white", (CIRCLE, STAR)))[0]

    assert (labels[:, NAMES.index("number")] == 2).all()


def test_the_cells_of_a_thing_are_labelled_with_its_position() -> None:
    cell = picture_labels(Picture((64, 64), "white", (CIRCLE, STAR)))[0].reshape(4, 4, -1)[3, 3]

    assert cell[NAMES.index("row")] == cell[NAMES.index("column")] == 3
