"""Answers describe the scene truly and exactly."""

from collections.abc import Callable
from random import Random

import pytest

from training.vision.clip_questions import ask_clip, ask_color_order, ask_happens, ask_motion, ask_several, in_order
from training.vision.conversation import KINDS, draw_conversation
from training.vision.phrasings import in_other_words, spoken
from training.vision.questions import NO_SHAPE, Asked, ask, ask_color, ask_count, ask_shape, ask_where, description
from training.vision.scenes import Clip, Picture, Thing, draw_clip, draw_picture
from training.vision.small_talk import SCOPE, ask_talk

CIRCLE = Thing("red", "circle", 16, 16, 8)
STAR = Thing("blue", "star", 48, 48, 8)
FRAME = (64, 64)
ONE = Picture(FRAME, "white", (CIRCLE,))
TWO = Picture(FRAME, "white", (CIRCLE, STAR))
NONE = Picture(FRAME, "gray", ())
THREE_ALIKE = Picture(FRAME, "black", (STAR, STAR, STAR))
MOVING = Clip(FRAME, "white", (CIRCLE,) * 8, (CIRCLE,), "left")
CHANGING = Clip(FRAME, "white", (CIRCLE,) * 4 + (STAR,) * 4, (CIRCLE, STAR))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (ONE, "A red circle on a white background."),
        (TWO, "A red circle and a blue star on a white background."),
        (NONE, "A gray background."),
        (THREE_ALIKE, "Three blue stars on a black background."),
    ],
)
def test_a_description_names_the_things_from_left_to_right(picture: Picture, expected: str) -> None:
    assert description(picture) == expected


@pytest.mark.parametrize(
    ("picture", "expected"),
    [(ONE, "There is one shape."), (TWO, "There are two shapes."), (NONE, "There are no shapes.")],
)
def test_shapes_are_counted_in_words(picture: Picture, expected: str) -> None:
    assert ask_count(Random(1), picture).answer == expected


@pytest.mark.parametrize("draw", [ask_color, ask_shape])
def test_an_empty_image_has_no_shape(draw: Callable[[Random, Picture], Asked]) -> None:
    assert draw(Random(1), NONE).answer == NO_SHAPE


def test_only_unambiguous_positions_are_asked_for() -> None:
    between = Picture(FRAME, "white", (Thing("red", "circle", 25.6, 32, 8),))

    assert ask_where(Random(1), between) is None
    assert ask_where(Random(1), ONE).answer.endswith("is at the top left.")


def test_the_subject_of_an_answer_is_that_of_its_question() -> None:
    rng = Random(6)

    for _ in range(100):
        asked = ask_motion(rng, MOVING)
        subject = asked.answer.removesuffix(" moves to the left.").lower()
        assert f" {subject} " in asked.question.lower().replace("?", " ")


def test_an_order_is_given_from_first_to_last() -> None:
    assert ask_color_order(Random(1), CHANGING).answer == "First red, then blue."
    assert ask_color_order(Random(1), MOVING).answer == "Only red."
    assert ask_happens(Random(1), CHANGING).answer == "First a red circle, then a blue star."
    assert ask_happens(Random(1), MOVING).answer == "A red circle moves to the left."


def test_repeated_values_are_named_once() -> None:
    assert in_order(["red", "red", "blue", "red"]) == "First red, then blue, then red."


def test_the_answer_is_yes_if_the_thing_is_in_the_image() -> None:
    rng = Random(8)
    answers = set()

    for _ in range(2000):
        picture = draw_picture(rng, FRAME)
        asked = ask(rng, picture)
        names = {thing.name() for thing in picture.things}
        if asked.answer.startswith(("Yes, there is", "No, there is")):
            answers.add(asked.answer.startswith("Yes"))
            assert asked.answer.startswith("Yes") == any(f" {name}." in asked.answer for name in names)
    assert answers == {True, False}


def test_questions_about_several_images_are_about_one_or_all() -> None:
    rng = Random(8)
    answers = {ask_several(rng, (ONE, Picture(FRAME, "white", (STAR,)))).answer for _ in range(200)}

    assert "First a red circle, then a blue star." in answers
    assert "There are two pictures." in answers


def test_all_other_questions_are_out_of_scope() -> None:
    rng = Random(2)
    asked = [ask_talk(rng) for _ in range(300)]

    assert {one.answer for one in asked if one.skill == "out of scope"} == {SCOPE}


def test_a_rephrased_question_has_the_same_answer() -> None:
    rng = Random(3)
    asked = Asked("color", "What color is the shape in the picture?", "The shape is red.")
    said = {spoken(rng, asked).question for _ in range(1000)}

    assert "what colour is the shape in the image?" in said
    assert len(said) > 20
    assert {spoken(rng, asked).answer for _ in range(20)} == {"The shape is red."}


def test_a_rephrased_question_names_the_subject_of_its_answer() -> None:
    rng = Random(3)

    for _ in range(500):
        asked = in_other_words(rng, ask_motion(rng, MOVING))
        assert f" {asked.answer.split(' moves')[0].lower()}" in asked.question
    assert in_other_words(rng, Asked("color", "?", "They are red.")).question == "?"
    assert "last" in in_other_words(rng, Asked("first or last", "?", "The last color is red.")).question


@pytest.mark.parametrize("kind", KINDS)
def test_conversations_except_small_talk_have_scenes(kind: str) -> None:
    rng = Random(3)
    conversations = [draw_conversation(rng, FRAME, kind) for _ in range(30)]

    assert all(bool(conversation.scenes()) == (kind != "talk") for conversation in conversations)


def test_all_branches_are_about_the_scenes_of_the_first_turn() -> None:
    rng = Random(3)
    conversations = [draw_conversation(rng, FRAME, "clip") for _ in range(60)]
    branched = [conversation for conversation in conversations if conversation.branched]

    assert branched
    assert not any(turn.scenes for conversation in branched for turn in conversation.turns[1:])


def test_every_question_about_a_video_has_an_answer() -> None:
    rng = Random(3)

    for _ in range(500):
        assert ask_clip(rng, draw_clip(rng, FRAME)).answer.endswith(".")
