"""Makes turns without an image: greetings, questions about the model, and questions that the model cannot answer."""

from random import Random

from training import faq, sums
from training.vision.clip_questions import ask_nothing
from training.vision.questions import Asked

SCOPE = "I only know simple shapes in pictures and videos."
HELLO = "Hello! Show me a picture or a video of simple shapes."
NAME = "I am pico-tiny-vl, a tiny vision model that ships with pico_jupyter."
SKILLS = "I can name colors, shapes, numbers and places in pictures, and motion and order in videos."

TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Hi", "Hello", "Hi there", "Hey", "Hello!", "Hi!", "Good morning", "Good day", "Hello, how are you?"), HELLO),
    (("Who are you?", "What are you?", "What is your name?", "Who is this?", "Which model are you?"), NAME),
    (("What can you do?", "Help", "Help me", "How can you help me?", "What do you know?"), SKILLS),
    (("Thanks", "Thank you", "Thank you!", "Thanks a lot", "Great, thanks!"), "You are welcome!"),
    (("Bye", "Goodbye", "See you", "Good night"), "Goodbye!"),
)
ASIDE: tuple[str, ...] = (
    "Tell me a joke",
    "Write a story",
    "Why?",
    "What is the capital of France?",
    "Who was Einstein?",
    "What is the weather today?",
    "Translate hello into French",
    "Write a poem about the sea.",
    "What day is it?",
    "Explain gravity.",
)


def ask_talk(rng: Random) -> Asked:
    """A turn that fits with or without an image."""
    kind = rng.random()
    if kind < 0.7:
        questions, answer = rng.choice(TALK)
        return Asked("talk", rng.choice(questions), answer)
    return Asked("out of scope", _aside(rng), SCOPE)


def ask_without_picture(rng: Random) -> Asked:
    return ask_nothing(rng) if rng.random() < 0.45 else ask_talk(rng)


def _aside(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(ASIDE)
    if kind < 0.75:
        return faq.out_of_scope(rng).question
    return rng.choice((sums.add, sums.subtract, sums.word_problem))(rng).question
