"""Makes questions about a video, or about several images in one message, with exact answers."""

from collections.abc import Sequence
from random import Random

from training.vision.palette import COLORS
from training.vision.questions import (
    BACKGROUND,
    COUNT,
    DESCRIBE,
    NUMBERS,
    Asked,
    capitalized,
    color_of,
    description,
    shape_of,
    with_article,
)
from training.vision.scenes import Clip, Picture, Thing

MOTION = (
    "Which way does {it} move?",
    "Which direction does {it} move?",
    "In which direction does {it} move?",
    "Where does {it} move?",
    "How does {it} move?",
    "Which way is {it} moving?",
)
COLOR_ORDER = (
    "Which colors appear in which order?",
    "What is the order of the colors?",
    "In which order do the colors appear?",
    "Which colors do you see?",
    "How does the color change?",
)
SHAPE_ORDER = (
    "Which shapes appear in which order?",
    "What is the order of the shapes?",
    "In which order do the shapes appear?",
    "Which shapes do you see?",
    "How does the shape change?",
)
HAPPENS = (
    "What happens in the video?",
    "What happens?",
    "Describe the video.",
    "What is in the video?",
    "What do you see in the video?",
    "What does the video show?",
)
ORDINALS = ("first", "second", "third")


def in_order(names: Sequence[str]) -> str:
    """A sentence about names in order. Repetitions are left out: red, red, blue gives "First red, then blue."."""
    changes = [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    if len(changes) == 1:
        return f"Only {changes[0]}."
    return f"First {', then '.join(changes)}."


def ask_clip(rng: Random, clip: Clip) -> Asked:
    """A random question that has one right answer."""
    asking = [ask_happens, ask_color_order, ask_shape_order, ask_end, ask_clip_background]
    weights = [4.0, 4.0, 4.0, 0.5, 0.5]
    if len(clip.stages) == 1:
        asking, weights = [*asking, ask_motion, ask_thing], [3.0, 1.2, 1.2, 0.3, 0.5, 4.0, 3.0]
    elif clip.steady:
        asking, weights = [*asking, ask_motion], [*weights, 0.7]
    return rng.choices(asking, weights)[0](rng, clip)


def ask_motion(rng: Random, clip: Clip) -> Asked:
    subject = f"the {clip.stages[0].shape}" if len(clip.stages) == 1 else "it"
    it = rng.choice(("the shape", "it", subject))
    return Asked("motion", rng.choice(MOTION).format(it=it), f"{capitalized(it)} {moves(clip)}.")


def moves(clip: Clip) -> str:
    match clip.motion:
        case "still":
            return "does not move"
        case "left" | "right":
            return f"moves to the {clip.motion}"
        case _:
            return f"moves {clip.motion}"


def ask_color_order(rng: Random, clip: Clip) -> Asked:
    return Asked("order of colors", rng.choice(COLOR_ORDER), in_order([stage.color for stage in clip.stages]))


def ask_shape_order(rng: Random, clip: Clip) -> Asked:
    names = [with_article(stage.shape) for stage in clip.stages]
    return Asked("order of shapes", rng.choice(SHAPE_ORDER), in_order(names))


def ask_end(rng: Random, clip: Clip) -> Asked:
    """A question about the first or the last thing."""
    end = rng.choice(("first", "last"))
    thing = clip.stages[0] if end == "first" else clip.stages[-1]
    if rng.random() < 0.5:
        return Asked("first or last", f"Which color comes {end}?", f"The {end} color is {thing.color}.")
    return Asked("first or last", f"Which shape comes {end}?", f"The {end} shape is {with_article(thing.shape)}.")


def ask_happens(rng: Random, clip: Clip) -> Asked:
    if len(clip.stages) == 1:
        answer = capitalized(f"{with_article(clip.stages[0].name())} {moves(clip)}.")
    else:
        answer = in_order([with_article(stage.name()) for stage in clip.stages])
    return Asked("describe a clip", rng.choice(HAPPENS), answer)


def ask_clip_background(rng: Random, clip: Clip) -> Asked:
    return Asked("background of a clip", rng.choice(BACKGROUND), f"The background is {clip.background}.")


def ask_thing(rng: Random, clip: Clip) -> Asked:
    """A question that would also fit an image with one thing."""
    kind = rng.random()
    if kind < 0.45:
        return _renamed("color in a clip", color_of(rng, clip.stages[0]))
    if kind < 0.9:
        return _renamed("shape in a clip", shape_of(rng, clip.stages[0]))
    return Asked("count in a clip", rng.choice(COUNT).replace("picture", "video"), "There is one shape.")


def _renamed(skill: str, asked: Asked) -> Asked:
    return Asked(skill, asked.question, asked.answer)


def ask_several(rng: Random, pictures: Sequence[Picture]) -> Asked:
    """A question about two or three images in one message. Most of them show one thing."""
    kind = rng.random()
    if kind < 0.1:
        question = rng.choice(("How many pictures are there?", "How many pictures do you see?"))
        return Asked("several pictures", question, f"There are {NUMBERS[len(pictures)]} pictures.")
    if kind < 0.35 and all(len(picture.things) == 1 for picture in pictures):
        question = rng.choice(("What is in the pictures?", "Describe the pictures.", "What do you see?"))
        names = ", then ".join(with_article(picture.things[0].name()) for picture in pictures)
        return Asked("several pictures", question, f"First {names}.")
    i = rng.randrange(len(pictures))
    return _of_one(rng, pictures[i], ORDINALS[i])


def _of_one(rng: Random, picture: Picture, ordinal: str) -> Asked:
    place = f"in the {ordinal} picture"
    kind = rng.random()
    if len(picture.things) == 1 and kind < 0.6:
        thing: Thing = picture.things[0]
        if kind < 0.3:
            return Asked("several pictures", f"What color is the shape {place}?", f"The shape is {thing.color}.")
        return Asked("several pictures", f"What shape is {place}?", f"It is {with_article(thing.shape)}.")
    if kind < 0.75:
        question = f"What color is the background {place}?"
        return Asked("several pictures", question, f"The background is {picture.background}.")
    question = rng.choice((f"What is {place}?", f"Describe the {ordinal} picture."))
    return Asked("several pictures", question, description(picture))


def ask_nothing(rng: Random) -> Asked:
    """A question about a missing image or video."""
    kind = rng.random()
    if kind < 0.35:
        question = rng.choice((*MOTION, *HAPPENS)).format(it=rng.choice(("the shape", "it")))
        return Asked("no picture", question, "I do not see a video.")
    if kind < 0.5:
        color = rng.choice(COLORS)
        return Asked("no picture", f"Is there {with_article(color)} circle?", "I do not see a picture.")
    question = rng.choice((*DESCRIBE, *COUNT, *BACKGROUND, "What color is the shape?", "What shape is it?"))
    return Asked("no picture", question, "I do not see a picture.")
