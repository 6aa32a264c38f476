"""Measures whether a model drives a notebook: it calls tools, gets the results of a simulated notebook, and answers."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import mlx.core as mx
from mlx_lm import batch_generate
from mlx_lm.models.cache import make_prompt_cache

from training import notebook, notebook_tasks
from training.conversation import Message, user
from training.notebook import Step, perform
from training.notebook_tasks import TaskMaker
from training.simulated_notebook import SimulatedNotebook

MOST_STEPS = 6
MOST_TOKENS = 100
FIRST_UNSEEN = 10_000
NAMES = 4
CALL = re.compile(r"<tool_call>\n(.*)\n</tool_call>", re.DOTALL)

Prepare = Callable[[SimulatedNotebook], None]


def rejecting(simulated: SimulatedNotebook) -> None:
    simulated.rejects = True


def failing(simulated: SimulatedNotebook) -> None:
    simulated.failure = simulated.rng.choice(notebook.FAILURES)


def undisturbed(simulated: SimulatedNotebook) -> None:
    """Every call works."""


def one_of(*makers: TaskMaker) -> TaskMaker:
    return lambda rng, notebook: rng.choice(makers)(rng, notebook)


CHANGING = one_of(
    notebook_tasks.add_and_run,
    notebook_tasks.add_markdown,
    notebook_tasks.run_named,
    notebook_tasks.delete_placed,
    notebook_tasks.fix,
)
SKILLS: dict[str, tuple[TaskMaker, Prepare]] = {
    "notebook: add a cell and run it": (
        partial(notebook_tasks.add_and_run, request=notebook_tasks.held_out_sum),
        undisturbed,
    ),
    "notebook: add a markdown cell": (notebook_tasks.add_markdown, undisturbed),
    "notebook: run cell ab12": (notebook_tasks.run_named, undisturbed),
    "notebook: run the last cell": (notebook_tasks.run_placed, undisturbed),
    "notebook: delete the last cell": (notebook_tasks.delete_placed, undisturbed),
    "notebook: fix a cell": (notebook_tasks.fix, undisturbed),
    "notebook: change a cell": (notebook_tasks.change, undisturbed),
    "notebook: show or explain a cell": (one_of(notebook_tasks.show_named, notebook_tasks.explain), undisturbed),
    "notebook: count cells, list files": (one_of(notebook_tasks.count_cells, notebook_tasks.list_files), undisturbed),
    "notebook: read a file": (notebook_tasks.read_file, undisturbed),
    "notebook: a rejected call": (CHANGING, rejecting),
    "notebook: a failed call": (CHANGING, failing),
}


@dataclass(slots=True)
class Attempt:
    """One request, and what the model did with it. `expected` and `done` are texts of calls and the answer."""

    notebook: SimulatedNotebook
    messages: list[Message]
    expected: list[str]
    done: list[str]
    finished: bool = False

    def __repr__(self) -> str:
        return f"<Attempt [{len(self.done)} steps]>"

    def right(self) -> bool:
        return self.done == self.expected

    def take(self, text: str) -> None:
        """Execute the call in a generated text, or finish with its answer."""
        thought, _, rest = text.rpartition("</think>")
        answer = rest.strip()
        self.done.append(answer)
        step = self._execute(answer)
        if step is None or len(self.done) > MOST_STEPS:
            self.finished = True
            return
        [called, result] = notebook.messages_of([step], reasoned=False)
        if reasoning := thought.replace("<think>", "").strip():
            called["reasoning_content"] = reasoning
        self.messages += [called, result]

    def _execute(self, answer: str) -> Step | None:
        found = CALL.fullmatch(answer)
        if not found:
            return None
        try:
            call: dict[str, Any] = json.loads(found[1])
            return Step(call["name"], call["arguments"], self.notebook.call(call["name"], call["arguments"]))
        except (ValueError, KeyError):
            return None


def attempt(make: TaskMaker, prepare: Prepare, number: int) -> Attempt:
    """The request with this number, in a notebook that the training did not contain."""
    rng = Random(f"attempt {number}")
    name = notebook.scene(FIRST_UNSEEN + number % NAMES).name
    simulated = notebook.notebook_of(rng, name)
    simulated.style = 0
    prepare(simulated)
    question, plan = make(rng, simulated)
    own = copy.deepcopy(simulated)
    steps, answer = perform(plan, simulated)
    messages = [{"role": "system", "content": notebook.SYSTEM.format(name=name)}, user(question)]
    return Attempt(own, messages, [*map(notebook.step_text, steps), answer], [])


def attempts(skill: str, count: int) -> list[Attempt]:
    return [attempt(*SKILLS[skill], number) for number in range(count)]


class Driver:
    """Lets a model work on requests. The system messages, which have most tokens of a prompt, are computed once."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.heads: dict[tuple[int, ...], list[Any]] = {}

    def __repr__(self) -> str:
        return f"<Driver [{len(self.heads)} system messages]>"

    def drive(self, started: list[Attempt], *, think: bool) -> None:
        """Generate and execute calls until each request has an answer."""
        while unfinished := [one for one in started if not one.finished]:
            texts = self.generate([one.messages for one in unfinished], think=think)
            for one, text in zip(unfinished, texts, strict=True):
                one.take(text)

    def generate(self, conversations: list[list[Message]], *, think: bool) -> list[str]:
        prompts = [self._prompt(messages, think=think) for messages in conversations]
        heads = [tuple(prompt[: prompt.index(self.tokenizer.eos_token_id) + 1]) for prompt in prompts]
        caches = [self._cache(head) for head in heads]
        rests = [prompt[len(head) :] for prompt, head in zip(prompts, heads, strict=True)]
        return batch_generate(self.model, self.tokenizer, rests, prompt_caches=caches, max_tokens=MOST_TOKENS).texts

    def _prompt(self, messages: list[Message], *, think: bool) -> list[int]:
        return self.tokenizer.apply_chat_template(
            messages, tools=notebook.TOOLS, add_generation_prompt=True, enable_thinking=think
        )

    def _cache(self, head: tuple[int, ...]) -> list[Any]:
        if head not in self.heads:
            self.heads[head] = make_prompt_cache(self.model)
            mx.eval(self.model(mx.array([head]), cache=self.heads[head]))
        return self.heads[head]
