"""Makes conversations in which the user states a fact and later asks for it."""

from dataclasses import dataclass
from random import Random

from training import words
from training.conversation import Message, Sample, Turn, assistant, user


@dataclass(frozen=True, slots=True)
class Fact:
    """A kind of fact. `told` are messages that state the fact {x}, and `reply` is the reply to them.

    `asked` are messages that ask for the fact later, and `answer` is the answer to them.
    """

    name: str
    told: tuple[str, ...]
    asked: tuple[str, ...]
    reply: str
    answer: str


FACTS = {
    "name": Fact(
        "name",
        ("My name is {x}.", "I am {x}.", "Hi, I'm {x}.", "my name is {x}", "Call me {x}.", "Hello, my name is {x}!",
         "Hi, my name is {x}.", "I'm {x}."),
        ("What is my name?", "What's my name?", "Who am I?", "Do you remember my name?", "what is my name",
         "Say my name.", "What was my name?"),
        "Nice to meet you, {x}!",
        "Your name is {x}.",
    ),
    "color": Fact(
        "color",
        ("My favorite color is {x}.", "I like the color {x}.", "My favourite colour is {x}",
         "my favorite color is {x}"),
        ("What is my favorite color?", "Which color do I like?", "What's my favourite colour?"),
        "I will remember that: {x}.",
        "Your favorite color is {x}.",
    ),
    "number": Fact(
        "number",
        ("My favorite number is {x}.", "My lucky number is {x}.", "My favourite number is {x}",
         "Remember the number {x}."),
        ("What is my favorite number?", "What was my number?", "What's my lucky number?", "What was the number?"),
        "I will remember that: {x}.",
        "Your number is {x}.",
    ),
    "city": Fact(
        "city",
        ("I live in {x}.", "I am from {x}.", "My city is {x}.", "I come from {x}."),
        ("Where do I live?", "Where am I from?", "What is my city?", "Which city am I from?"),
        "I will remember that: {x}.",
        "Your city is {x}.",
    ),
    "word": Fact(
        "word",
        ("Remember the word {x}.", "The secret word is {x}.", "Please remember: {x}", "Remember this word: {x}"),
        ("What was the word?", "What is the secret word?", "Which word did I tell you?", "What was the secret word?"),
        "I will remember that: {x}.",
        "The word is {x}.",
    ),
}  # fmt: skip
FACT_NAMES = ("name", "name", "name", "color", "number", "city", "word")
NOT_TOLD = "You have not told me that yet."


def draw_value(rng: Random, fact: Fact) -> str:
    match fact.name:
        case "name":
            return words.name(rng)
        case "color":
            return rng.choice(words.LISTS["colors"])
        case "number":
            return str(words.number(rng))
        case "city":
            return rng.choice(words.CITIES)
        case _:
            return rng.choice(words.WORDS) if rng.random() < 0.8 else words.letters(rng, 3, 7)


def tell(rng: Random, fact: Fact, value: str) -> Turn:
    text = rng.choice(fact.told).format(x=value)
    reasoning = f"The user tells me the {fact.name} {value}."
    return Turn("memory told", text, reasoning, fact.reply.format(x=value))


def told_once(rng: Random) -> Turn:
    fact = FACTS[rng.choice(FACT_NAMES)]
    return tell(rng, fact, draw_value(rng, fact))


def not_told(rng: Random) -> Turn:
    fact = FACTS[rng.choice(FACT_NAMES)]
    return Turn("memory missing", rng.choice(fact.asked), f"The user did not tell me the {fact.name}.", NOT_TOLD)


def recall(rng: Random, distractors: list[Turn]) -> Sample:
    """A conversation that states one to three facts, with distractors between them, and asks for one of the facts."""
    names = rng.sample(list(FACTS), rng.choice((1, 1, 2, 3)))
    if "name" not in names and rng.random() < 0.5:
        names[0] = "name"
    values = {name: draw_value(rng, FACTS[name]) for name in names}
    turns = [*(tell(rng, FACTS[name], value) for name, value in values.items()), *distractors]
    if rng.random() < 0.6:
        turns = [turns[0], *rng.sample(turns[1:], len(turns) - 1)]
    messages: list[Message] = []
    for turn in turns:
        messages += [user(turn.question), assistant(turn.answer)]
    fact = FACTS[rng.choice(names)]
    value = values[fact.name]
    messages.append(user(rng.choice(fact.asked)))
    reasoning = f"The user told me the {fact.name} {value}."
    return Sample("memory", messages, reasoning, fact.answer.format(x=value))
