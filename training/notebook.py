"""Makes conversations in which the model drives a notebook with the eight tools of notebook_tools.json."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from training import tools, words
from training.conversation import Message, Sample, Tool, Turn, assistant, user
from training.notebook_tasks import HEADINGS, NEEDS, TASKS, Plan, Task, TaskMaker, file_name, program
from training.simulated_notebook import REJECTED, NotebookCell, SimulatedNotebook
from training.words import listed

SYSTEM = (
    "You are an assistant in the Jupyter notebook {name}. Use the tools to read, change and run its cells. "
    "When you are done, say so in one sentence."
)
DEFINITIONS = Path(__file__).parents[1] / "pico_jupyter" / "assistant" / "notebook_tools.json"
TOOLS: list[Tool] = json.loads(DEFINITIONS.read_text())
SCENES = 150
REJECTED_ANSWER = "You rejected this, so I stop here."
RESULT_REASONING = "The tool gave me the result."
FAILURES = listed(
    """The kernel is busy.|The kernel has died.|The notebook is closed.|No notebook is open.|The file is too large.|
The cell changed since it was read: read it again.|The folder does not exist.|There is no kernel.|
The user rejected this.""",
    "|",
)


@dataclass(slots=True)
class Step:
    name: str
    arguments: dict[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The start of a conversation, which many samples share."""

    name: str
    system: str | None
    tools: tuple[Tool, ...]

    def offers(self, make: TaskMaker) -> bool:
        names = {tool["function"]["name"] for tool in self.tools}
        return NEEDS[make] <= names


@cache
def scene(number: int) -> Scene:
    """A scene, which depends only on its number. The training uses the first SCENES."""
    rng = Random(f"scene {number}")
    name = f"{_notebook_name(rng)}.ipynb"
    kind = rng.random()
    if kind < 0.6:
        return Scene(name, SYSTEM.format(name=name), tuple(TOOLS))
    system = SYSTEM.format(name=name) if kind < 0.85 else None
    if rng.random() < 0.4:
        others = [rng.choice((tools.weather, tools.clock, tools.calculator))(rng)[0]]
        return Scene(name, system, (*TOOLS, *others) if rng.random() < 0.7 else (*others, *TOOLS))
    kept = rng.sample(TOOLS, rng.randint(4, 7))
    if rng.random() < 0.7:
        kept = [tool for tool in TOOLS if tool in kept]
    return Scene(name, system, tuple(kept))


def _notebook_name(rng: Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(("Untitled", "Untitled1", "Untitled2", "analysis", "notebook", "demo", "test", "plots"))
    name = rng.choice(" _-").join(rng.sample(words.WORDS, rng.randint(1, 3)))
    return f"{rng.choice(words.WORDS)}/{name}" if rng.random() < 0.15 else name


def notebook_of(rng: Random, name: str) -> SimulatedNotebook:
    """A notebook of one to six cells, some of which were run."""
    notebook = SimulatedNotebook(rng, name.rpartition("/")[2], [], style=rng.randint(0, 2))
    for _ in range(rng.choices((1, 2, 3, 4, 5, 6), (2, 3, 4, 3, 2, 1))[0]):
        if rng.random() < 0.2:
            text = rng.choice(HEADINGS) if rng.random() < 0.5 else words.phrase(rng, 1, 4)
            notebook.cells.append(NotebookCell(notebook.new_id(), f"# {text}", "markdown"))
            continue
        cell = NotebookCell(notebook.new_id(), program(rng))
        notebook.cells.append(cell)
        if rng.random() < 0.4:
            notebook.call("run_cell", {"cell": cell.id})
    notebook.files = {file_name(rng): words.phrase(rng, 2, 4) for _ in range(rng.randint(1, 4))}
    notebook.files[notebook.name] = "{}"
    return notebook


def perform(plan: Plan, notebook: SimulatedNotebook) -> tuple[list[Step], str]:
    """Run a plan. A rejected or failed call ends it with a sentence about that."""
    steps: list[Step] = []
    try:
        name, arguments = next(plan)
        while True:
            result = notebook.call(name, arguments)
            steps.append(Step(name, arguments, result))
            if result == REJECTED:
                return steps, REJECTED_ANSWER
            if result.startswith("Error: "):
                return steps, f"That did not work: {result.removeprefix('Error: ')}"
            name, arguments = plan.send(result)
    except StopIteration as end:
        return steps, end.value


def call_message(step: Step, *, reasoned: bool) -> Message:
    call = {"type": "function", "function": {"name": step.name, "arguments": step.arguments}}
    message: Message = {"role": "assistant", "content": "", "tool_calls": [call]}
    if reasoned:
        message["reasoning_content"] = step_reasoning(step)
    return message


def step_reasoning(step: Step) -> str:
    return f"I can use the tool {step.name}."


def step_text(step: Step) -> str:
    body = json.dumps({"name": step.name, "arguments": step.arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def messages_of(steps: list[Step], *, reasoned: bool) -> list[Message]:
    messages: list[Message] = []
    for step in steps:
        messages += [call_message(step, reasoned=reasoned), {"role": "tool", "name": step.name, "content": step.result}]
    return messages


def draw_task(rng: Random, given: Scene, notebook: SimulatedNotebook) -> Task:
    if not notebook.cells:
        notebook.cells.append(NotebookCell(notebook.new_id(), program(rng)))
    offered = [make for make in TASKS if given.offers(make)]
    return rng.choices(offered, [TASKS[make] for make in offered])[0](rng, notebook)


def disturb(rng: Random, notebook: SimulatedNotebook) -> None:
    """Sometimes the user rejects changes, calls fail, or a cell prints something unexpected."""
    kind = rng.random()
    notebook.rejects = kind < 0.07
    notebook.failure = rng.choice(FAILURES) if 0.07 <= kind < 0.1 else None
    notebook.printed = rng.choice((str(words.number(rng)), words.phrase(rng, 1, 3))) if 0.1 <= kind < 0.35 else None


def use(rng: Random, other: Callable[[Random], Turn]) -> Sample:
    """A conversation of one to four requests. It ends before one of the steps of the last request.

    `other` makes questions that need no tool.
    """
    given = scene(rng.randrange(SCENES))
    messages: list[Message] = [] if given.system is None else [{"role": "system", "content": given.system}]
    notebook = notebook_of(rng, given.name)
    for _ in range(rng.choice((0, 0, 1, 2, 3))):
        disturb(rng, notebook)
        question, plan = draw_task(rng, given, notebook)
        steps, answer = perform(plan, notebook)
        messages += [user(question), *messages_of(steps, reasoned=False), assistant(answer)]
    if rng.random() < 0.13:
        turn = other(rng)
        think = rng.random() < turn.reasoned
        messages.append(user(turn.question))
        return Sample("tool not needed", messages, turn.reasoning, turn.answer, [*given.tools], think, turn.value)
    disturb(rng, notebook)
    question, plan = draw_task(rng, given, notebook)
    messages.append(user(question))
    return ending(rng, given, messages, *perform(plan, notebook))


def ending(rng: Random, given: Scene, messages: list[Message], steps: list[Step], answer: str) -> Sample:
    """The sample of a random step of the last request, or of its answer."""
    think = rng.random() < 0.5
    done = rng.randint(0, len(steps))
    messages += messages_of(steps[:done], reasoned=think and rng.random() < 0.6)
    if done == len(steps):
        return Sample("notebook", messages, RESULT_REASONING, answer, [*given.tools], think)
    step = steps[done]
    return Sample("notebook", messages, step_reasoning(step), step_text(step), [*given.tools], think)
