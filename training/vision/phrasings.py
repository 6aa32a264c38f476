"""Varies the words, the spelling and the punctuation of a question. The answer stays the same."""

import re
from dataclasses import replace
from random import Random

from training.vision.questions import Asked

SYNONYMS = (
    ("picture", ("image", "image", "photo")),
    ("video", ("clip", "movie")),
    ("color", ("colour",)),
    ("What is", ("What's",)),
)
COLOR = (
    "What color is {it} in the picture?",
    "Which color does {it} have?",
    "Tell me the color of {it}.",
    "Name the color of {it}.",
    "What is the color of {it} in this picture?",
)
SHAPE = (
    "Name the shape.",
    "Which shape is this?",
    "Which shape do you see?",
    "What kind of shape is it?",
    "What kind of shape is this?",
    "What shape is in the picture?",
    "What shape is this object?",
    "What shape does it have?",
    "What is the shape in the picture?",
    "Which shape is in the picture?",
)
COUNT = (
    "How many shapes are in this picture?",
    "How many shapes can you see?",
    "How many objects do you see?",
    "How many objects are there?",
    "How many are there?",
    "Count the objects.",
    "Count the shapes in the picture.",
    "Tell me how many shapes there are.",
    "What is the number of shapes?",
)
BACKGROUND = (
    "What is the background?",
    "Name the background color.",
    "What color does the background have?",
    "What color is the background of the picture?",
    "Tell me the color of the background.",
    "Which color does the background have?",
)
DESCRIBE = (
    "Describe it.",
    "Describe what you see.",
    "Describe the picture in one sentence.",
    "Can you describe the picture?",
    "Please describe the picture.",
    "Please describe this picture.",
    "Tell me what you see.",
    "Tell me about this picture.",
    "What can you see?",
    "What do you see here?",
    "What do you see in the picture?",
    "What do you see in this picture?",
    "What does this picture show?",
    "What is in it?",
    "What is shown in the picture?",
    "What is here?",
)
WHERE = ("In which part of the picture is {it}?", "Where is {it} in the picture?", "Where do you see {it}?")
MOTION = (
    "Where is {it} going?",
    "Where does {it} go?",
    "What direction does {it} move?",
    "In what direction does {it} move?",
    "In which direction is {it} moving?",
    "Which direction is {it} moving?",
    "Which way does {it} go?",
    "How is {it} moving?",
    "How does {it} move in the video?",
    "Which way does {it} move in the video?",
    "What does {it} do?",
)
COLOR_ORDER = ("In what order do the colors appear?", "Name the colors in order.", "List the colors in order.")
SHAPE_ORDER = ("In what order do the shapes appear?", "Name the shapes in order.", "List the shapes in order.")
HAPPENS = (
    "What is happening?",
    "What is happening in the video?",
    "What happens here?",
    "What happens in this video?",
    "Describe this video.",
    "Please describe the video.",
    "Describe the video in one sentence.",
    "Tell me what happens.",
    "What do you see?",
    "Describe it.",
)
END = (
    "What is the {end} {kind}?",
    "Which {kind} is {end}?",
    "What {kind} comes {end}?",
    "Which {kind} do you see {end}?",
    "What is the {end} {kind} in the video?",
)
OTHER_WORDS = {
    "color": COLOR,
    "color in a clip": COLOR[1:4],
    "shape": SHAPE,
    "shape in a clip": (*SHAPE[:5], *SHAPE[6:8]),
    "count": COUNT,
    "background": BACKGROUND,
    "background of a clip": (*BACKGROUND[:3], *BACKGROUND[4:]),
    "describe": DESCRIBE,
    "where": WHERE,
    "motion": MOTION,
    "order of colors": COLOR_ORDER,
    "order of shapes": SHAPE_ORDER,
    "describe a clip": HAPPENS,
    "first or last": END,
}
SUBJECT = re.compile(r"(It|The \w+) (?:is|moves|does)\b")
ENDS = re.compile(r"The (?P<end>first|last) (?P<kind>color|shape)\b")


def spoken(rng: Random, asked: Asked, *, freely: float = 0.0) -> Asked:
    """A variant of the question. `freely` (0 to 1) is the probability of other words, if there are any."""
    if freely and rng.random() < freely:
        asked = in_other_words(rng, asked)
    question = asked.question
    for word, others in SYNONYMS:
        if word in question and rng.random() < 0.25:
            question = re.sub(rf"\b{word}", rng.choice(others), question)
    if rng.random() < 0.3:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.15:
        question = question.rstrip("?.!")
    elif rng.random() < 0.05:
        question = question.rstrip("?.!") + " please"
    return replace(asked, question=question)


def in_other_words(rng: Random, asked: Asked) -> Asked:
    """Ask in other words. The answer names the subject, so the new question must use the same name."""
    words = OTHER_WORDS.get(asked.skill)
    subject, end = SUBJECT.match(asked.answer), ENDS.match(asked.answer)
    if words is None or (asked.skill.startswith("shape") and not asked.answer.startswith("It is")):
        return asked
    if end is not None:
        return replace(asked, question=rng.choice(words).format(**end.groupdict()))
    if words in (COLOR, COLOR[1:4], WHERE, MOTION) and subject is None:
        return asked
    it = subject.group(1).lower() if subject else "it"
    return replace(asked, question=rng.choice(words).format(it=it))
