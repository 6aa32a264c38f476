"""Measures a model folder with mlx-lm: greedy answers for held-out operands, with reasoning on and off.

    python -m training.evaluate FOLDER --count 100 --json RESULT.json

The table is printed as Markdown. held_out.py defines which operands are held out.
"""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from mlx_lm import batch_generate, load

from training import faq, memory, notebook, notebook_loop, notebook_tasks, sums, texts, tools
from training.conversation import Sample, Turn, user
from training.generator import FINAL_PAST_SKILLS, LAST_SHORT_SKILLS, Skills, draw, opened, two_questions
from training.notebook_loop import Driver

SEED = 424_242
MOST_TOKENS = 420

SampleMaker = Callable[[Random], Sample]


@dataclass(slots=True)
class Cell:
    """The results of one skill with reasoning on or off. `failures` holds (question, expected, written)."""

    correct: int = 0
    total: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Cell [{self.correct} of {self.total}]>"

    def share(self) -> float:
        return self.correct / self.total


def alone(make: Callable[[Random], Turn]) -> SampleMaker:
    """Makes conversations of one turn."""

    def sample(rng: Random) -> Sample:
        turn = make(rng)
        return Sample(turn.skill, [user(turn.question)], turn.reasoning, turn.answer, value=turn.value)

    return sample


def recall(rng: Random) -> Sample:
    return memory.recall(rng, [draw(rng, FINAL_PAST_SKILLS) for _ in range(rng.randint(0, 2))])


def digits(operator: str, count: int) -> Callable[[Random], Turn]:
    """Makes questions whose operands both have `count` digits."""

    def turn(rng: Random) -> Turn:
        while True:
            made = sums.operation(rng, operator, count, held_out=True)
            a, b = re.findall(r"\d+", made.answer)[:2]
            if len(a) == len(b) == count:
                return made

    return turn


def products(rng: Random) -> Turn:
    return sums.multiply(rng, 3, held_out=True)


EASY_SKILLS: Skills = {
    faq.frequently_asked: 4,
    digits("+", 1): 2,
    digits("+", 2): 2,
    texts.echo: 2,
    texts.list_things: 2,
}


def no_tool_needed(rng: Random) -> Sample:
    """A question that has nothing to do with the notebook, with its tools and its system message."""
    turn = draw(rng, EASY_SKILLS)
    system = notebook.SYSTEM.format(name=f"{rng.choice(notebook_tasks.STEMS)}.ipynb")
    messages = [{"role": "system", "content": system}, user(turn.question)]
    return Sample(turn.skill, messages, turn.reasoning, turn.answer, [*notebook.TOOLS], value=turn.value)


SKILLS: dict[str, SampleMaker] = {
    "add, 1 digit": alone(digits("+", 1)),
    "add, 2 digits": alone(digits("+", 2)),
    "add, 3 digits": alone(digits("+", 3)),
    "add, 1 to 4 digits": alone(partial(sums.add, most=4, held_out=True)),
    "subtract, 1 digit": alone(digits("-", 1)),
    "subtract, 1 to 4 digits": alone(partial(sums.subtract, most=4, held_out=True)),
    "multiply": alone(products),
    "a ± b ± c": alone(partial(sums.chain, held_out=True)),
    "word problem": alone(partial(sums.word_problem, held_out=True)),
    "compare": alone(partial(sums.compare, held_out=True)),
    "echo": alone(texts.echo),
    "reverse words": alone(texts.reverse),
    "spell": alone(texts.spell),
    "count letters": alone(lambda rng: rng.choice((texts.count_letters, texts.count_letter))(rng)),
    "count a to b": alone(texts.count),
    "list n things": alone(texts.list_things),
    "JSON": alone(texts.write_json),
    "FAQ, greetings": alone(faq.frequently_asked),
    "out of scope": alone(faq.out_of_scope),
    "memory over turns": recall,
    "name or greeting, then a question": alone(partial(opened, skills=LAST_SHORT_SKILLS)),
    "two questions": alone(partial(two_questions, skills=LAST_SHORT_SKILLS)),
    "tool call": tools.call,
    "tool result": tools.report,
    "notebook: no tool needed": no_tool_needed,
}


def without_reasoning(text: str) -> str:
    return text.rpartition("</think>")[2].strip()


def is_correct(sample: Sample, text: str) -> bool:
    """Whether an answer is right: sums by their last number, all other skills by the exact text."""
    answer = without_reasoning(text)
    if sample.value is None or sample.skill == "two skills":
        return answer == sample.answer.strip()
    numbers = re.findall(r"-?\d+", answer)
    return bool(numbers) and int(numbers[-1]) == sample.value


def samples_of(make: SampleMaker, count: int) -> list[Sample]:
    rng = Random(SEED)
    return [make(rng) for _ in range(count)]


def prompt(tokenizer: Any, sample: Sample, *, think: bool) -> list[int]:
    return tokenizer.apply_chat_template(
        sample.messages, tools=sample.tools or None, add_generation_prompt=True, enable_thinking=think
    )


def measure(model: Any, tokenizer: Any, samples: list[Sample], *, think: bool) -> Cell:
    prompts = [prompt(tokenizer, sample, think=think) for sample in samples]
    written = batch_generate(model, tokenizer, prompts, max_tokens=MOST_TOKENS, verbose=False).texts
    cell = Cell(total=len(samples))
    for sample, text in zip(samples, written, strict=True):
        if is_correct(sample, text) and ("</think>" in text) == think:
            cell.correct += 1
        else:
            cell.failures.append((sample.messages[-1]["content"], sample.answer, text))
    return cell


def measure_loops(driver: Driver, skill: str, count: int, *, think: bool) -> Cell:
    """Measure a skill of notebook_loop. Every call and the answer must have the exact text."""
    attempts = notebook_loop.attempts(skill, count)
    driver.drive(attempts, think=think)
    cell = Cell(total=count)
    for one in attempts:
        if one.right():
            cell.correct += 1
        else:
            cell.failures.append((one.messages[1]["content"], "\n".join(one.expected), "\n".join(one.done)))
    return cell


def measure_skill(driver: Driver, skill: str, count: int) -> dict[str, Cell]:
    """The cells of a row of the table: reasoning on and off."""
    modes = {"on": True, "off": False}
    if skill in notebook_loop.SKILLS:
        return {mode: measure_loops(driver, skill, count, think=think) for mode, think in modes.items()}
    samples = samples_of(SKILLS[skill], count)
    return {mode: measure(driver.model, driver.tokenizer, samples, think=think) for mode, think in modes.items()}


def table(results: dict[str, dict[str, Cell]]) -> str:
    lines = ["| skill | reasoning on | reasoning off |", "| --- | --- | --- |"]
    lines += [
        f"| {skill} | {cells['on'].share():.2f} | {cells['off'].share():.2f} |" for skill, cells in results.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="samples per cell")
    parser.add_argument("--skills", help="prefixes of skill names, separated by ;")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--failures", type=int, default=0, help="failures to print per cell")
    options = parser.parse_args()
    driver = Driver(*load(str(options.folder)))
    wanted = options.skills.split(";") if options.skills else [""]
    results: dict[str, dict[str, Cell]] = {}
    for skill in (*SKILLS, *notebook_loop.SKILLS):
        if not skill.startswith(tuple(wanted)):
            continue
        results[skill] = measure_skill(driver, skill, options.count)
        for mode, cell in results[skill].items():
            for question, expected, text in cell.failures[: options.failures]:
                print(f"{skill}, {mode}: {question!r}\n  expected {expected!r}\n  written  {text!r}")
        print(skill, results[skill], flush=True)
    print(table(results))
    if options.json:
        shares = {skill: {mode: cell.share() for mode, cell in cells.items()} for skill, cells in results.items()}
        options.json.write_text(json.dumps({"count": options.count, "shares": shares}, indent=2) + "\n")


if __name__ == "__main__":
    main()
