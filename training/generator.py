"""Defines the training mixtures: how often each skill occurs.

A sample asks for one skill, or for two skills in one message, with or without earlier turns. Samples depend only on the
random generator that is passed in.
"""

import json
from collections.abc import Callable
from functools import partial
from random import Random

from training import memory, notebook, texts, tools, words
from training.conversation import Message, Sample, Turn, assistant, user
from training.faq import frequently_asked, out_of_scope
from training.sums import add, chain, compare, multiply, subtract, word_problem

TurnMaker = Callable[[Random], Turn]
Skills = dict[TurnMaker, float]

SKILLS: Skills = {
    add: 16,
    subtract: 16,
    multiply: 6,
    compare: 6,
    chain: 7,
    word_problem: 9,
    frequently_asked: 11,
    out_of_scope: 5,
    texts.echo: 7,
    texts.reverse: 2.5,
    texts.spell: 3,
    texts.count_letters: 1.5,
    texts.count_letter: 2.5,
    texts.list_things: 3,
    texts.count: 4,
    texts.write_json: 4,
    memory.told_once: 2,
    memory.not_told: 0.7,
}

# The second stage: more copying of text, which the model learns later than sums.
COPYING_SKILLS: Skills = {
    add: 11,
    subtract: 11,
    multiply: 5,
    compare: 7,
    chain: 5,
    word_problem: 7,
    frequently_asked: 13,
    out_of_scope: 3,
    texts.echo: 10,
    texts.long_echo: 5,
    texts.reverse: 4,
    texts.spell: 5,
    texts.count_letters: 2,
    texts.count_letter: 3,
    texts.list_things: 4,
    texts.count: 4,
    texts.write_json: 6,
    memory.told_once: 3,
    memory.not_told: 1,
}

# Past turns of the third stage. Every answer of a conversation is in the loss, so past turns have short answers.
PAST_SKILLS: Skills = {
    partial(add, most=2): 9,
    partial(subtract, most=2): 7,
    partial(multiply, most=1): 3,
    compare: 4,
    frequently_asked: 9,
    out_of_scope: 1.5,
    texts.echo: 16,
    texts.long_echo: 9,
    texts.reverse: 6,
    texts.spell: 6,
    texts.count_letters: 1,
    texts.list_things: 5,
    texts.count: 4,
    texts.write_json: 9,
    memory.told_once: 8,
    memory.not_told: 1,
}

# The fourth stage: long traces and spelling again, while the learning rate decreases.
FINAL_SKILLS: Skills = {
    add: 12,
    subtract: 13,
    multiply: 4,
    compare: 8,
    chain: 9,
    word_problem: 9,
    frequently_asked: 10,
    out_of_scope: 3,
    texts.echo: 6,
    texts.long_echo: 1,
    texts.reverse: 5,
    texts.spell: 8,
    texts.count_letters: 3,
    texts.count_letter: 5,
    texts.list_things: 3,
    texts.count: 5,
    texts.write_json: 3,
    memory.told_once: 2,
    memory.not_told: 1.5,
}

# Past turns of the fourth stage. They state no facts, because the answer to the last question could contradict a fact.
FINAL_PAST_SKILLS: Skills = {
    partial(add, most=2): 15,
    partial(subtract, most=2): 13,
    partial(multiply, most=1): 5,
    compare: 7,
    frequently_asked: 9,
    out_of_scope: 1.5,
    texts.echo: 8,
    texts.long_echo: 2,
    texts.reverse: 7,
    texts.spell: 11,
    texts.count_letters: 2,
    texts.list_things: 4,
    texts.count: 4,
    texts.write_json: 5,
}

SHORT_SKILLS: Skills = {
    add: 5,
    subtract: 4,
    multiply: 1,
    compare: 2,
    word_problem: 1,
    texts.spell: 2,
    texts.list_things: 2,
    texts.count: 2,
    texts.write_json: 1,
    frequently_asked: 2,
}

# The fifth stage: the skills that were weak in the evaluation of the fourth stage.
LAST_SKILLS: Skills = {
    add: 9,
    subtract: 10,
    multiply: 4,
    compare: 8,
    chain: 8,
    word_problem: 8,
    frequently_asked: 12,
    out_of_scope: 6,
    texts.echo: 6,
    texts.reverse: 7,
    texts.spell: 7,
    texts.spelled_first: 9,
    texts.list_things: 1.5,
    texts.count: 9,
    texts.write_json: 3,
    memory.told_once: 1.5,
    memory.not_told: 1,
}

LAST_SHORT_SKILLS: Skills = {
    partial(add, most=3): 6,
    partial(subtract, most=3): 5,
    partial(multiply, most=1): 1,
    compare: 3,
    word_problem: 1,
    texts.spell: 2,
    texts.list_things: 1.5,
    texts.count: 2,
    texts.write_json: 1,
    frequently_asked: 2,
}

# The sixth stage: the mixture of the fifth, with more of the skills that are still weak.
POLISH_SKILLS: Skills = {
    **LAST_SKILLS,
    multiply: 9,
    frequently_asked: 15,
    texts.reverse: 8,
    texts.spelled_first: 10,
    texts.count: 5,
    texts.long_count: 6,
}

# The seventh stage: the notebook, and the mixture of the sixth.
NOTEBOOK_SHARE = 0.22

SYSTEM_PROMPTS = words.listed(
    """You are a helpful assistant.|You are pico-tiny.|Answer briefly.|Be concise.|
You are a helpful assistant in a Jupyter notebook.|You are a friendly assistant. Answer the user's question.|
You are an AI.|
You are a helpful AI assistant running inside Jupyter. Use Markdown.|Help the user.|You answer questions.|
You are a careful assistant who always tells the truth.|You are a math tutor.|Think step by step.|Be brief and polite.|
You are a helpful, honest and harmless assistant.|You are a coding assistant. Write short answers.|Be nice.|
You are an expert in Python and data science. Help the user with the notebook.|Talk like a pirate.""",
    "|",
)

OPENINGS = {
    "greeting": (
        ("Hello, ", "Hi, ", "Hello! ", "Hi! ", "Hey, ", "Good morning! ", "Hi there! "),
        "The user greets me.", "Hello!",
    ),
    "thanks": (
        ("Thanks! ", "Thank you. ", "Thanks, ", "Great, thanks! ", "Thank you! Now "), "The user thanks me.",
        "You are welcome!",
    ),
}  # fmt: skip
JOINTS = (" ", " ", " And ", " Then ", " Also: ", "\n")


def draw(rng: Random, skills: Skills = SKILLS) -> Turn:
    """A turn of a random skill. `skills` maps each skill to its weight."""
    return rng.choices(list(skills), list(skills.values()))[0](rng)


def opened(rng: Random, skills: Skills = SHORT_SKILLS) -> Turn:
    """A question after an opening: 'Hello, what is 3 + 4?' or 'My name is Ann. What is 12 + 9?'."""
    turn = draw(rng, skills)
    if rng.random() < 0.5:
        told = memory.told_once(rng)
        opening, reasoning, reply = f"{told.question.rstrip('.!')}. ", told.reasoning, told.answer
    else:
        openings, reasoning, reply = OPENINGS[rng.choice(list(OPENINGS))]
        opening = rng.choice(openings)
    question = turn.question
    if opening.rstrip().endswith(",") or opening.endswith("Now ") or rng.random() < 0.2:
        question = question[0].lower() + question[1:]
    joint = " " if "\n" not in turn.answer else "\n\n"
    return Turn(
        "two skills",
        opening + question,
        f"{reasoning}\n{turn.reasoning}",
        f"{reply}{joint}{turn.answer}",
        turn.value,
        turn.reasoned,
    )


def two_questions(rng: Random, skills: Skills = SHORT_SKILLS) -> Turn:
    """Two questions in one message. The answer has one line for each."""
    first, second = draw(rng, skills), draw(rng, skills)
    start = first.question if first.question[-1] in ".?!" else first.question + rng.choice(".?")
    joint = rng.choice(JOINTS)
    following = second.question
    if joint in (" And ", " Then "):
        following = following[0].lower() + following[1:]
    return Turn(
        "two skills",
        start + joint + following,
        f"first {first.reasoning}\nthen {second.reasoning}",
        f"{first.answer}\n{second.answer}",
        None,
        max(first.reasoned, second.reasoned),
    )


def any_turn(rng: Random, skills: Skills) -> Turn:
    kind = rng.random()
    if kind < 0.05:
        return opened(rng)
    return two_questions(rng) if kind < 0.09 else draw(rng, skills)


def as_sample(rng: Random, turn: Turn, history: list[Message]) -> Sample:
    messages = [*history, user(turn.question)]
    think = rng.random() < turn.reasoned
    return Sample(turn.skill, messages, turn.reasoning, turn.answer, think=think, value=turn.value)


def past_turns(rng: Random, count: int, skills: Skills = SKILLS) -> list[Message]:
    messages: list[Message] = []
    for _ in range(count):
        turn = draw(rng, skills)
        messages += [user(turn.question), assistant(turn.answer)]
    return messages


def _history_length(rng: Random) -> int:
    """The number of past turns: usually 0, sometimes up to 4, rarely more, so that the model trains on long prompts."""
    kind = rng.random()
    if kind < 0.76:
        return 0
    return rng.randint(1, 4) if kind < 0.993 else rng.randint(8, 22)


def tool_sample(rng: Random) -> Sample:
    kind = rng.choices(("call", "report", "none"), (10, 6, 3))[0]
    if kind == "call":
        sample = tools.call(rng)
        if rng.random() < 0.2:
            sample.messages = past_turns(rng, rng.randint(1, 2)) + sample.messages
        return sample
    return tools.report(rng) if kind == "report" else tools.not_needed(rng, draw(rng))


def memory_sample(rng: Random) -> Sample:
    count = rng.choice((0, 0, 0, 1, 1, 2, 3))
    return memory.recall(rng, [draw(rng) for _ in range(count)])


def draw_sample(rng: Random, skills: Skills = SKILLS, remembered: float = 0.07, with_tools: float = 0.075) -> Sample:
    """One training sample of the first stage."""
    kind = rng.random()
    if kind < remembered:
        sample = memory_sample(rng)
        sample.think = rng.random() < 0.5
    elif kind < remembered + with_tools:
        sample = tool_sample(rng)
        sample.think = rng.random() < 0.5
    else:
        sample = as_sample(rng, any_turn(rng, skills), past_turns(rng, _history_length(rng), skills))
    if rng.random() < 0.2:
        system = rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.8 else words.phrase(rng, 3, 12)
        sample.messages.insert(0, {"role": "system", "content": system})
    return sample


def draw_copying_sample(rng: Random) -> Sample:
    """One training sample of the second stage."""
    return draw_sample(rng, COPYING_SKILLS, remembered=0.09, with_tools=0.09)


def draw_conversation_sample(rng: Random) -> Sample:
    """One training sample of the third stage, meant for `training.dataset --learn-past`."""
    sample = draw_sample(rng, COPYING_SKILLS, remembered=0.12, with_tools=0.07)
    if len(sample.messages) < 3 and not sample.tools:
        sample.messages[-1:-1] = past_turns(rng, rng.choice((0, 1, 2, 3, 4)), PAST_SKILLS)
    return sample


def draw_final_sample(rng: Random) -> Sample:
    """One training sample of the fourth stage, meant for `training.dataset --learn-past`."""
    kind = rng.random()
    if kind < 0.07:
        distractors = [draw(rng, FINAL_PAST_SKILLS) for _ in range(rng.choice((0, 0, 1, 2, 3)))]
        sample = memory.recall(rng, distractors)
        sample.think = rng.random() < 0.5
    elif kind < 0.15:
        sample = tool_sample(rng)
        sample.think = rng.random() < 0.5
    else:
        count = rng.randint(8, 16) if rng.random() < 0.005 else rng.choice((0, 0, 0, 0, 1, 1, 2, 3))
        turn = any_turn(rng, FINAL_SKILLS)
        sample = as_sample(rng, turn, past_turns(rng, count, FINAL_PAST_SKILLS))
    if rng.random() < 0.15:
        sample.messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM_PROMPTS)})
    return sample


def draw_last_sample(rng: Random, skills: Skills = LAST_SKILLS, pairs: float = 0.09) -> Sample:
    """One training sample of the fifth stage, meant for `training.dataset --learn-past`."""
    kind = rng.random()
    if kind < 0.06:
        distractors = [draw(rng, FINAL_PAST_SKILLS) for _ in range(rng.choice((0, 0, 1, 2, 3)))]
        sample = memory.recall(rng, distractors)
        sample.think = rng.random() < 0.5
    elif kind < 0.16:
        sample = tool_sample(rng)
        sample.think = rng.random() < 0.5
        alone = sample.skill == "tool result" or (sample.skill == "tool call" and len(sample.messages) == 1)
        if alone and rng.random() < 0.5:
            repeat_digits(rng, sample)
    else:
        count = rng.choice((0, 0, 0, 0, 0, 1, 1, 2))
        sample = as_sample(rng, _last_turn(rng, skills, pairs), past_turns(rng, count, FINAL_PAST_SKILLS))
        if sample.skill == "echo" and count == 0:
            repeat_digits(rng, sample)
    if rng.random() < 0.15:
        sample.messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM_PROMPTS)})
    return sample


def _last_turn(rng: Random, skills: Skills, pairs: float) -> Turn:
    kind = rng.random()
    if kind < 0.09:
        return opened(rng, LAST_SHORT_SKILLS)
    return two_questions(rng, LAST_SHORT_SKILLS) if kind < 0.09 + pairs else draw(rng, skills)


def draw_polish_sample(rng: Random) -> Sample:
    """One training sample of the sixth stage, meant for `training.dataset --learn-past`."""
    return draw_last_sample(rng, POLISH_SKILLS, pairs=0.22)


def draw_notebook_sample(rng: Random) -> Sample:
    """One training sample of the seventh stage, meant for `training.dataset --learn-past`."""
    if rng.random() < NOTEBOOK_SHARE:
        return notebook.use(rng, partial(_last_turn, skills=POLISH_SKILLS, pairs=0.1))
    return draw_polish_sample(rng)


def draw_recall_sample(rng: Random) -> Sample:
    """One training sample of the eighth stage, meant for `training.dataset --learn-past`.

    The seventh stage forgets some of the skills that its mixture has rarely.
    """
    kind = rng.random()
    if kind < 0.55:
        return draw_final_sample(rng)
    return draw_notebook_sample(rng) if kind < 0.85 else draw_polish_sample(rng)


def repeat_digits(rng: Random, sample: Sample) -> None:
    """Replace all digits by two random digits, for example 5271 by 5225. Repeated digits are hard to copy.

    The sample must not depend on the values of its numbers.
    """
    few = rng.sample("123456789", 2)
    table = str.maketrans({digit: rng.choice(few) for digit in "0123456789"})
    sample.messages = json.loads(json.dumps(sample.messages, ensure_ascii=False).translate(table))
    sample.answer = sample.answer.translate(table)
