"""Makes turns about text: repeat, reverse, spell, count, list and JSON."""

import json
from dataclasses import replace
from random import Random

from training import words
from training.conversation import Turn
from training.words import listed

ECHO = listed(
    """Repeat after me: {s}|Repeat: {s}|Echo: {s}|Say: {s}|Copy this: {s}|echo {s}|Say exactly this: {s}|
Repeat this text: {s}|Please repeat: {s}|Reply with: {s}|Say "{s}"|Repeat the words "{s}"|Say {s}|Repeat "{s}".""",
    "|",
)
REVERSE = listed(
    """Reverse the order of these words: {s}|Reverse these words: {s}|Write these words backwards: {s}|
Reverse: {s}""",
    "|",
)
SPELL = listed('Spell {w}.|Spell the word {w}|How do you spell {w}?|Spell "{w}"|spell {w}', "|")
LENGTH = listed(
    """How many letters are in {w}?|How many letters does the word {w} have?|Count the letters in "{w}".|
How many letters are in the word {w}?|How long is the word {w}?""",
    "|",
)
OCCURRENCES = listed(
    """How many {c}'s are in {w}?|How often does the letter {c} occur in {w}?|
How many times is {c} in the word {w}?|How many {c} are in "{w}"?|How many {c}'s are there in the word {w}?|
How many times does {c} occur in {w}?""",
    "|",
)
LIST = listed(
    """List {k} {c}.|Name {k} {c}|Give me {k} {c}.|list {k} {c}|Tell me {k} {c}.|Write a list of {k} {c}|
Can you name {k} {c}?|Name {k} {c}.|Give me a list of {k} {c}.|List {k} {c}""",
    "|",
)
COUNT_TO = listed("Count to {b}.|count to {b}|Please count to {b}|Can you count to {b}?", "|")
COUNT_UP = listed(
    """Count from {a} to {b}.|count from {a} to {b}|Write the numbers from {a} to {b}.|
List the numbers from {a} to {b}.""",
    "|",
)
COUNT_DOWN = listed(
    """Count down from {b} to {a}.|count backwards from {b} to {a}|Count backwards from {b} to {a}.|
Count down from {b} to {a}""",
    "|",
)
JSON = listed(
    """Write JSON with {p}.|Give me a JSON object with {p}|json: {p}|Return JSON with {p}.|
Write a JSON object with {p}.|Answer in JSON: {p}|Make JSON with {p}|Convert to JSON: {p}""",
    "|",
)

JSON_KEYS = ("name", "age", "city", "color", "count", "word", "price", "id", "fruit", "animal")


def _pick(rng: Random, templates: list[str], **values: object) -> str:
    return rng.choice(templates).format(**values)


def echo(rng: Random) -> Turn:
    text = words.phrase(rng, 1, 9)
    if rng.random() < 0.25:
        text += rng.choice(".!?")
    return Turn("echo", _pick(rng, ECHO, s=text), "I repeat the text.", text)


def long_echo(rng: Random) -> Turn:
    """A long text to copy. Such texts teach copying fastest."""
    text = words.phrase(rng, 6, 24)
    return Turn("echo", _pick(rng, ECHO, s=text), "I repeat the text.", text)


def reverse(rng: Random) -> Turn:
    """The reasoning numbers the words and lists them from the last number to the first."""
    items = [rng.choice(words.WORDS) for _ in range(rng.randint(2, 6))]
    numbered = [f"{i} {item}" for i, item in enumerate(items, 1)]
    trace = ", ".join(numbered) + "\n" + ", ".join(reversed(numbered))
    return Turn("reverse", _pick(rng, REVERSE, s=" ".join(items)), trace, " ".join(reversed(items)))


def _spelling_word(rng: Random) -> str:
    return rng.choice(words.SPELLING_WORDS) if rng.random() < 0.8 else words.letters(rng, 3, 7)


def spell(rng: Random) -> Turn:
    word = _spelling_word(rng)
    return Turn("spell", _pick(rng, SPELL, w=word), "I write the letters one by one.", "-".join(word))


def count_letters(rng: Random) -> Turn:
    word = _spelling_word(rng)
    trace = " ".join(f"{letter}{i}" for i, letter in enumerate(word, 1))
    answer = f"The word {word} has {len(word)} letters."
    return Turn("letters", _pick(rng, LENGTH, w=word), trace, answer, None, 0.7)


def count_letter(rng: Random) -> Turn:
    """The reasoning spells the word and keeps the count next to each letter."""
    word = _spelling_word(rng)
    letter = rng.choice(word) if rng.random() < 0.85 else rng.choice("aeiourst")
    seen = [word[: i + 1].count(letter) for i in range(len(word))]
    trace = " ".join(f"{character}{count}" for character, count in zip(word, seen, strict=True))
    times = "once" if seen[-1] == 1 else "twice" if seen[-1] == 2 else f"{seen[-1]} times"
    answer = f"The letter {letter} occurs {times} in {word}."
    return Turn("letters", _pick(rng, OCCURRENCES, c=letter, w=word), trace, answer, None, 0.7)


def spelled_first(rng: Random) -> Turn:
    """A turn of count_letters or count_letter. The reasoning spells the word before it counts."""
    turn = count_letters(rng) if rng.random() < 0.4 else count_letter(rng)
    spelling = "-".join(step[0] for step in turn.reasoning.split())
    return replace(turn, reasoning=f"{spelling}\n{turn.reasoning}")


def list_things(rng: Random) -> Turn:
    category = rng.choice(list(words.LISTS))
    things = words.LISTS[category]
    n = rng.randint(2, len(things))
    wanted = rng.choice((str(n), words.NUMBER_WORDS[n]))
    answer = "\n".join(f"{i}. {thing}" for i, thing in enumerate(things[:n], 1))
    return Turn("list", _pick(rng, LIST, k=wanted, c=category), f"The list has {n} {category}.", answer)


def count(rng: Random) -> Turn:
    kind = rng.choices(("to", "up", "down"), (2, 5, 2))[0]
    a = 1 if kind == "to" else rng.randint(0, 60)
    b = a + rng.randint(2, 14)
    templates = {"to": COUNT_TO, "up": COUNT_UP, "down": COUNT_DOWN}[kind]
    numbers = range(b, a - 1, -1) if kind == "down" else range(a, b + 1)
    trace = f"I start at {numbers[0]} and stop at {numbers[-1]}."
    return Turn("count", _pick(rng, templates, a=a, b=b), trace, ", ".join(map(str, numbers)))


def long_count(rng: Random) -> Turn:
    """A count of more than ten numbers. The last digit of the last number therefore also occurs early."""
    a = rng.randint(0, 85)
    b = a + rng.randint(10, 14)
    numbers, templates = rng.choice(((range(a, b + 1), COUNT_UP), (range(b, a - 1, -1), COUNT_DOWN)))
    trace = f"I start at {numbers[0]} and stop at {numbers[-1]}."
    return Turn("count", _pick(rng, templates, a=a, b=b), trace, ", ".join(map(str, numbers)))


def _json_value(rng: Random, key: str) -> str | int:
    match key:
        case "name":
            return words.name(rng)
        case "city":
            return rng.choice(words.CITIES)
        case "color" | "fruit" | "animal":
            return rng.choice(words.LISTS[f"{key}s"])
        case "word":
            return rng.choice(words.WORDS)
        case _:
            return rng.randint(1, 99)


def write_json(rng: Random) -> Turn:
    keys = ["name", "age"] if rng.random() < 0.35 else rng.sample(JSON_KEYS, rng.randint(1, 3))
    values = {key: _json_value(rng, key) for key in keys}
    pairs = [f"{key} {value}" for key, value in values.items()]
    if rng.random() < 0.2:
        pairs = [f"{key}: {value}" for key, value in values.items()]
    only_commas = rng.random() < 0.4 or len(pairs) == 1
    joined = ", ".join(pairs) if only_commas else f"{', '.join(pairs[:-1])} and {pairs[-1]}"
    return Turn("json", _pick(rng, JSON, p=joined), "I write a JSON object.", json.dumps(values))
