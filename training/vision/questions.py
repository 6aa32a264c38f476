"""Makes questions about an image, with exact answers."""

from dataclasses import dataclass
from random import Random

from training.vision.palette import COLORS, SHAPES
from training.vision.scenes import Picture, Thing

NUMBERS = ("no", "one", "two", "three", "four", "five")
NO_SHAPE = "I do not see a shape."
NOUNS = ("the shape", "it")

COLOR = ("What color is {it}?", "Which color is {it}?", "What is the color of {it}?", "What color does {it} have?")
SHAPE = (
    "What shape is it?",
    "What shape is this?",
    "Which shape is it?",
    "What is the shape?",
    "What shape do you see?",
)
COUNT = (
    "How many shapes are there?",
    "How many shapes do you see?",
    "How many shapes are in the picture?",
    "How many shapes?",
    "Count the shapes.",
    "How many things are there?",
    "How many objects are in the picture?",
)
BACKGROUND = (
    "What color is the background?",
    "What is the background color?",
    "Which color is the background?",
    "What is the color of the background?",
)
DESCRIBE = (
    "What is in the picture?",
    "What do you see?",
    "Describe the picture.",
    "What does the picture show?",
    "What is this?",
    "What is in this picture?",
    "Describe this picture.",
    "What can you see in the picture?",
)
WHERE = ("Where is {it}?", "Where in the picture is {it}?")
PRESENT = ("Is there {thing}?", "Do you see {thing}?", "Is there {thing} in the picture?", "Can you see {thing}?")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and its answer. `skill` names the kind of question."""

    skill: str
    question: str
    answer: str


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plural(name: str) -> str:
    return f"{name}es" if name.endswith("s") else f"{name}s"


def ask(rng: Random, picture: Picture) -> Asked:
    """A random question that has one right answer."""
    asking = [ask_count, ask_background, ask_describe, ask_present, ask_color, ask_shape]
    weights = [6.0, 1.5, 3.5, 1.0, 2.0, 2.5]
    if len(picture.things) == 1:
        asking, weights = [*asking, ask_where, ask_is], [*weights, 0.8, 0.4]
    elif picture.things and not picture.is_uniform():
        asking, weights = [*asking, ask_one_color, ask_one_shape], [5.0, 1.0, 4.0, 1.0, 0.0, 0.0, 2.0, 2.0]
    while True:
        asked = rng.choices(asking, weights)[0](rng, picture)
        if asked is not None:
            return asked


def color_of(rng: Random, thing: Thing) -> Asked:
    it = rng.choice((*NOUNS, "the shape", f"the {thing.shape}"))
    return Asked("color", rng.choice(COLOR).format(it=it), f"{capitalized(it)} is {thing.color}.")


def shape_of(rng: Random, thing: Thing) -> Asked:
    if rng.random() < 0.15:
        return Asked(
            "shape", f"What shape is {thing.color}?", f"The {thing.color} shape is {with_article(thing.shape)}."
        )
    return Asked("shape", rng.choice(SHAPE), f"It is {with_article(thing.shape)}.")


def ask_color(rng: Random, picture: Picture) -> Asked | None:
    if not picture.things:
        return Asked("color", rng.choice(COLOR).format(it=rng.choice(NOUNS)), NO_SHAPE)
    if len(picture.things) == 1:
        return color_of(rng, picture.things[0])
    if not picture.is_uniform():
        return None
    question = rng.choice(("What color are the shapes?", "Which color are the shapes?", "What color are they?"))
    they = "They" if "they" in question else "The shapes"
    return Asked("color", question, f"{they} are {picture.things[0].color}.")


def ask_shape(rng: Random, picture: Picture) -> Asked | None:
    if not picture.things:
        return Asked("shape", rng.choice(SHAPE), NO_SHAPE)
    if len(picture.things) == 1:
        return shape_of(rng, picture.things[0])
    if not picture.is_uniform():
        return None
    question = rng.choice(("What shapes are they?", "What shapes are these?", "Which shapes are these?"))
    return Asked("shape", question, f"They are {plural(picture.things[0].shape)}.")


def ask_count(rng: Random, picture: Picture) -> Asked:
    number = len(picture.things)
    verb, noun = ("is", "shape") if number == 1 else ("are", "shapes")
    return Asked("count", rng.choice(COUNT), f"There {verb} {NUMBERS[number]} {noun}.")


def ask_background(rng: Random, picture: Picture) -> Asked:
    return Asked("background", rng.choice(BACKGROUND), f"The background is {picture.background}.")


def description(picture: Picture) -> str:
    """A sentence that describes the picture. It names up to three different things, from left to right."""
    things = picture.things
    if not things:
        return capitalized(f"{with_article(picture.background)} background.")
    if len(things) > 1 and picture.is_uniform():
        shown = f"{NUMBERS[len(things)]} {plural(things[0].name())}"
    elif len(things) > 3:
        shown = f"{NUMBERS[len(things)]} shapes"
    else:
        shown = joined([with_article(thing.name()) for thing in things])
    return capitalized(f"{shown} on {with_article(picture.background)} background.")


def ask_describe(rng: Random, picture: Picture) -> Asked:
    return Asked("describe", rng.choice(DESCRIBE), description(picture))


def ask_present(rng: Random, picture: Picture) -> Asked:
    """Ask whether a thing is in the picture. Absent things often share the color or the shape of a present thing."""
    name = f"{rng.choice(COLORS)} {rng.choice(SHAPES)}"
    if picture.things and rng.random() < 0.75:
        thing = rng.choice(picture.things)
        near = (f"{rng.choice(COLORS)} {thing.shape}", f"{thing.color} {rng.choice(SHAPES)}")
        name = rng.choice((thing.name(), thing.name(), *near))
    present = any(thing.name() == name for thing in picture.things)
    answer = f"Yes, there is {with_article(name)}." if present else f"No, there is no {name}."
    return Asked("yes or no", rng.choice(PRESENT).format(thing=with_article(name)), answer)


def ask_is(rng: Random, picture: Picture) -> Asked:
    thing = picture.things[0]
    color = thing.color if rng.random() < 0.5 else rng.choice(COLORS)
    word = "Yes" if color == thing.color else "No"
    return Asked("yes or no", f"Is the shape {color}?", f"{word}, the shape is {thing.color}.")


def ask_where(rng: Random, picture: Picture) -> Asked | None:
    thing = picture.things[0]
    height, width = picture.frame
    row = _third(thing.y / height, ("top", "middle", "bottom"))
    column = _third(thing.x / width, ("left", "middle", "right"))
    if row is None or column is None:
        return None
    match row, column:
        case "middle", "middle":
            place = "in the middle"
        case "middle", _:
            place = f"on the {column}"
        case _, "middle":
            place = f"at the {row}"
        case _:
            place = f"at the {row} {column}"
    it = rng.choice((*NOUNS, f"the {thing.shape}"))
    return Asked("where", rng.choice(WHERE).format(it=it), f"{capitalized(it)} is {place}.")


def _third(part: float, names: tuple[str, str, str]) -> str | None:
    """The name of the third that contains `part` (0 to 1). None near a border, where it is ambiguous."""
    for name, low, high in zip(names, (0.0, 0.44, 0.64), (0.36, 0.56, 1.0), strict=True):
        if low <= part <= high:
            return name
    return None


def ask_one_color(rng: Random, picture: Picture) -> Asked | None:
    """Ask for the color of a random thing by its shape. Returns None if other things have the same shape."""
    thing = rng.choice(picture.things)
    if sum(other.shape == thing.shape for other in picture.things) > 1:
        return None
    it = f"the {thing.shape}"
    return Asked("color, of several", rng.choice(COLOR).format(it=it), f"{capitalized(it)} is {thing.color}.")


def ask_one_shape(rng: Random, picture: Picture) -> Asked | None:
    """Ask for the shape of a random thing by its color. Returns None if other things have the same color."""
    thing = rng.choice(picture.things)
    if sum(other.color == thing.color for other in picture.things) > 1:
        return None
    question = rng.choice((f"What shape is {thing.color}?", f"Which shape is {thing.color}?"))
    return Asked("shape, of several", question, f"The {thing.color} shape is {with_article(thing.shape)}.")
