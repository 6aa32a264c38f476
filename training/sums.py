"""Makes turns that ask for arithmetic: sums, comparisons, chains and word problems."""

from random import Random

from training import words
from training.arithmetic import TRACES, compare_trace, result
from training.conversation import Turn
from training.held_out import is_held_out
from training.words import listed

QUESTIONS = {
    "+": """What is {a} + {b}?|What is {a} + {b}?|{a} + {b}|{a}+{b}|{a} + {b} = ?|{a}+{b}=|Calculate {a} + {b}.|
Add {a} and {b}.|{a} plus {b}|What is {a} plus {b}?|How much is {a} + {b}?|Compute {a} + {b}|Please add {a} and {b}|
What's {a}+{b}?|Can you add {a} and {b}?|sum of {a} and {b}|What is the sum of {a} and {b}?|{a} + {b}?|
What is {a}+{b}?|And {a} + {b}?|What about {a} + {b}?""",
    "-": """What is {a} - {b}?|What is {a} - {b}?|{a} - {b}|{a}-{b}|{a} - {b} = ?|{a}-{b}=|Calculate {a} - {b}.|
Subtract {b} from {a}.|{a} minus {b}|What is {a} minus {b}?|How much is {a} - {b}?|Compute {a} - {b}|
Please subtract {b} from {a}|What's {a}-{b}?|Take {b} away from {a}|What is the difference of {a} and {b}?|{a} - {b}?|
What is {a}-{b}?|And {a} - {b}?|What about {a} - {b}?""",
    "×": """What is {a} × {b}?|What is {a} * {b}?|{a} × {b}|{a}*{b}|{a} * {b} = ?|{a} x {b}|Calculate {a} * {b}.|
Multiply {a} by {b}.|{a} times {b}|What is {a} times {b}?|How much is {a} * {b}?|Compute {a} * {b}|
Please multiply {a} and {b}|What's {a}*{b}?|product of {a} and {b}|What is {a} x {b}?|What is {a}*{b}?""",
    "?": """Which is bigger, {a} or {b}?|Which number is larger: {a} or {b}?|Is {a} bigger than {b}?|
Compare {a} and {b}.|Which is greater, {a} or {b}?|max of {a} and {b}?|Is {a} greater than {b}?|
Which is the bigger number, {a} or {b}?""",
    "e": "What is {e}?|{e}|Calculate {e}|{e} = ?|Compute {e}.|How much is {e}?|What is {e}?",
}
QUESTION_LISTS = {key: listed(text, "|") for key, text in QUESTIONS.items()}

STORIES = {
    "+": [
        "{n} has {a} {it} and buys {b} more. How many {it} does {n} have now?",
        "{n} has {a} {it}. A friend gives {n} {b} more. How many {it} are there now?",
        "There are {a} {it} in a box. {n} puts in {b} more. How many {it} are in the box?",
        "{n} had {a} {it} and found {b} more. How many {it} does {n} have?",
        "{n} has {a} {it} and {m} has {b} {it}. How many {it} do they have together?",
        "{n} bought {a} {it} on Monday and {b} {it} on Tuesday. How many {it} is that?",
        "There are {a} red {it} and {b} blue {it}. How many {it} are there?",
    ],
    "-": [
        "{n} has {a} {it} and loses {b}. How many {it} are left?",
        "{n} has {a} {it} and gives away {b}. How many {it} does {n} have now?",
        "There are {a} {it} in a box. {n} takes out {b}. How many {it} are in the box?",
        "{n} had {a} {it} and sold {b}. How many {it} are left?",
        "{n} has {a} {it} and gives {b} to {m}. How many {it} does {n} have left?",
        "{n} has {a} {it} and eats {b}. How many {it} are left?",
        "{n} has {a} {it} and {m} has {b} {it}. How many more {it} does {n} have?",
    ],
}

Pair = tuple[int, int]


def question(rng: Random, operator: str, a: int, b: int) -> str:
    text = rng.choice(QUESTION_LISTS[operator]).format(a=a, b=b)
    return text.lower() if rng.random() < 0.08 else text


def near(rng: Random, a: int) -> int:
    """A number that is often close to a, or has as many digits as a, so that a comparison is not trivial."""
    digits = len(str(a))
    match rng.choices(("close", "length", "any"), (4, 4, 2))[0]:
        case "close":
            return max(0, a + rng.randint(-20, 20))
        case "length":
            return rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)
        case _:
            return words.number(rng)


def draw_pair(rng: Random, operator: str, most: int = 4, *, held_out: bool = False) -> Pair:
    """A random pair of operands, which is held out for the evaluation or not, as requested.

    Pairs of one-digit numbers are returned in both cases.
    """
    while True:
        a, b = _any_pair(rng, operator, most)
        if is_held_out(operator, a, b) == held_out or max(a, b) < 10:
            return a, b


def _any_pair(rng: Random, operator: str, most: int) -> Pair:
    if operator == "×":
        return _factors(rng, most)
    a = words.number(rng, 1, most)
    if operator == "+":
        return a, words.number(rng, 1, most)
    b = min(near(rng, a), 10**most - 1) if operator == "?" or rng.random() < 0.5 else words.number(rng, 1, most)
    if operator == "-" and a < b and rng.random() < 0.75:
        a, b = b, a
    return a, b


def _factors(rng: Random, most: int) -> Pair:
    kind = rng.random()
    if most < 2 or kind < 0.4:
        return rng.randint(0, 10), rng.randint(0, 10)
    if kind < 0.7:
        return words.number(rng, 2, 3), rng.randint(1, 9)
    if kind < 0.8:
        return rng.randint(1, 9), words.number(rng, 2, 2)
    return words.number(rng, 2, 2), words.number(rng, 2, 2)


def _reasoned(a: int, b: int) -> float:
    """The probability of reasoning: below a half for up to two digits, near one for more."""
    return (0.4, 0.35, 0.92, 0.95)[min(len(str(max(a, b))), 4) - 1]


def _most_digits(rng: Random) -> int:
    return rng.choices((1, 2, 3, 4), (13, 40, 29, 18))[0]


def operation(rng: Random, operator: str, most: int | None = None, *, held_out: bool = False) -> Turn:
    """A question for one sum, difference or product."""
    a, b = draw_pair(rng, operator, most or _most_digits(rng), held_out=held_out)
    value = result(a, operator, b)
    skill = {"+": "add", "-": "subtract", "×": "multiply"}[operator]
    trace = TRACES[operator](a, b)
    return Turn(skill, question(rng, operator, a, b), trace, f"{a} {operator} {b} = {value}", value, _reasoned(a, b))


def add(rng: Random, most: int | None = None, *, held_out: bool = False) -> Turn:
    return operation(rng, "+", most, held_out=held_out)


def subtract(rng: Random, most: int | None = None, *, held_out: bool = False) -> Turn:
    return operation(rng, "-", most, held_out=held_out)


def multiply(rng: Random, most: int | None = None, *, held_out: bool = False) -> Turn:
    return operation(rng, "×", most, held_out=held_out)


def compare(rng: Random, *, held_out: bool = False) -> Turn:
    a, b = draw_pair(rng, "?", held_out=held_out)
    text = question(rng, "?", a, b)
    answer = f"{a} and {b} are equal." if a == b else f"{max(a, b)} is bigger than {min(a, b)}."
    if text.lower().startswith("is "):
        answer = ("Yes, " if a > b else "No, ") + answer
    return Turn("compare", text, compare_trace(a, b), answer)


def chain(rng: Random, *, held_out: bool = False) -> Turn:
    """a ± b ± c, computed from left to right. No step gives a negative result."""
    first = rng.choice("+-")
    a, b = draw_pair(rng, first, 3, held_out=held_out)
    while first == "-" and a < b:
        a, b = draw_pair(rng, first, 3, held_out=held_out)
    middle = result(a, first, b)
    c = words.number(rng, 1, 3)
    second = "+" if c > middle else rng.choice("+-")
    value = result(middle, second, c)
    expression = f"{a} {first} {b} {second} {c}"
    trace = f"first {TRACES[first](a, b)}\nthen {TRACES[second](middle, c)}"
    text = rng.choice(QUESTION_LISTS["e"]).format(e=expression)
    if rng.random() < 0.2:
        text = text.replace(expression, expression.replace(" ", ""))
    return Turn("chain", text, trace, f"{expression} = {value}", value, 0.85)


def word_problem(rng: Random, *, held_out: bool = False) -> Turn:
    operator = rng.choice("+-")
    most = rng.choices((1, 2, 3), (1, 2, 2))[0]
    a, b = draw_pair(rng, operator, most, held_out=held_out)
    while operator == "-" and a < b:
        a, b = draw_pair(rng, operator, most, held_out=held_out)
    value, item = result(a, operator, b), rng.choice(words.ITEMS)
    text = rng.choice(STORIES[operator]).format(n=words.name(rng), m=words.name(rng), a=a, b=b, it=item)
    answer = f"The answer is {value} {item}."
    return Turn("word problem", text, TRACES[operator](a, b), answer, value, max(0.5, _reasoned(a, b)))
