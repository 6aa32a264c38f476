"""Scenes are reproducible and inside the frame, do not overlap, and show no held-out triple in training."""

from random import Random

import pytest

from training.vision.conversation import Scene, draw_conversation
from training.vision.held_out import is_held_out
from training.vision.palette import BACKGROUNDS, COLORS, SHADES, SHAPES, contrast
from training.vision.processing import FRAME_SIZES
from training.vision.scenes import Clip, Picture, Thing, draw_clip, draw_picture

FRAMES = list(FRAME_SIZES)


def things_of(scene: Scene) -> tuple[Thing, ...]:
    return scene.things if isinstance(scene, Picture) else scene.frames


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = Random(3)
    return [scene for _ in range(1500) for scene in draw_conversation(rng, rng.choice(FRAMES)).scenes()]


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert draw_conversation(Random(5), (64, 64)) == draw_conversation(Random(5), (64, 64))


def test_an_eighth_of_the_triples_is_held_out() -> None:
    triples = [(color, shape, background) for color in COLORS for shape in SHAPES for background in BACKGROUNDS]

    assert 0.1 < sum(is_held_out(*triple) for triple in triples) / len(triples) < 0.15


def test_training_shows_no_held_out_triple(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert not any(is_held_out(thing.color, thing.shape, scene.background) for thing in things_of(scene))


@pytest.mark.parametrize("kind", ["motion", "colors", "shapes", "both"])
def test_the_evaluation_shows_only_held_out_triples(kind: str) -> None:
    rng = Random(1)

    for _ in range(100):
        for scene in (draw_picture(rng, (64, 64), held_out=True), draw_clip(rng, (48, 64), kind=kind, held_out=True)):
            assert all(is_held_out(thing.color, thing.shape, scene.background) for thing in things_of(scene))


def test_things_are_inside_the_frame(scenes: list[Scene]) -> None:
    for scene in scenes:
        height, width = scene.frame
        for thing in things_of(scene):
            assert thing.size - 1 <= thing.x <= width - thing.size + 1
            assert thing.size - 1 <= thing.y <= height - thing.size + 1


def test_no_thing_covers_another(scenes: list[Scene]) -> None:
    for picture in (scene for scene in scenes if isinstance(scene, Picture)):
        for i, one in enumerate(picture.things):
            for other in picture.things[i + 1 :]:
                assert ((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5 > one.size + other.size


def test_the_things_of_an_image_are_ordered_from_left_to_right(scenes: list[Scene]) -> None:
    for picture in (scene for scene in scenes if isinstance(scene, Picture)):
        assert [thing.x for thing in picture.things] == sorted(thing.x for thing in picture.things)


def test_a_video_shows_its_motion() -> None:
    rng = Random(9)

    for _ in range(200):
        clip = draw_clip(rng, (64, 48), kind="motion")
        dx = clip.frames[-1].x - clip.frames[0].x
        dy = clip.frames[-1].y - clip.frames[0].y
        moved = {"right": dx > 10, "left": dx < -10, "down": dy > 10, "up": dy < -10, "still": dx == dy == 0}
        assert moved[clip.motion]


def test_stages_follow_one_another_for_two_frames_each() -> None:
    rng = Random(2)

    for _ in range(200):
        clip = draw_clip(rng, (64, 64), kind="both")
        lengths = [sum(frame.is_like(stage) for frame in clip.frames) for stage in clip.stages]
        assert min(lengths) >= 2
        assert sum(lengths) == len(clip.frames) == 8


def test_a_reversed_video_has_the_opposite_motion_and_reversing_twice_changes_nothing() -> None:
    rng = Random(4)
    clips = [draw_clip(rng, (64, 64), kind="motion") for _ in range(50)]

    assert all(clip.reversed().reversed() == clip for clip in clips)
    assert {clip.motion + clip.reversed().motion for clip in clips} == {
        "leftright",
        "rightleft",
        "updown",
        "downup",
        "stillstill",
    }


def test_the_pure_colors_of_two_names_are_far_apart() -> None:
    pure = [shades[0] for shades in SHADES.values()]

    assert min(contrast(one, other) for i, one in enumerate(pure) for other in pure[:i]) > 80


def test_images_and_videos_are_both_generated(scenes: list[Scene]) -> None:
    assert {type(scene) for scene in scenes} == {Clip, Picture}
    assert max(len(scene.things) for scene in scenes if isinstance(scene, Picture)) > 1
