"""The tasks that a user gives to the assistant in a notebook.

A task is a question and a plan: a Python generator that yields calls of the notebook tools, receives their results and
returns the answer.
"""

from collections.abc import Callable, Generator
from random import Random
from typing import Any

from training import words
from training.simulated_notebook import MISSPELLINGS, NO_OUTPUT, NotebookCell, SimulatedNotebook, output_of
from training.sums import draw_pair
from training.words import listed

Call = tuple[str, dict[str, Any]]
Plan = Generator[Call, str, str]
Task = tuple[str, Plan]
RequestMaker = Callable[[Random], tuple[str, str]]
TaskMaker = Callable[[Random, SimulatedNotebook], Task]

ORDINALS = {"first": 0, "second": 1, "third": 2, "last": -1}

MODULES = listed("os sys math json re random time numpy pandas")
STEMS = listed("notes data readme todo report results main utils list test")
ADD = listed(
    """Add a cell that {x}|Add a cell which {x}|Insert a cell that {x}|Add a new cell that {x}|Make a cell that {x}|
Create a cell that {x}|Write a cell that {x}|Add a code cell that {x}|Insert a new cell that {x}""",
    "|",
)
AND_RUN = (" and run it", " and run it", " and run it", ", then run it", " and execute it", ", and run it")
TITLE = listed(
    """Add a markdown cell with the title {x}|Insert a markdown cell with the title {x}|Add the title {x}|
Add a heading {x}|Add a markdown cell with the heading {x}|Make a markdown cell with the title {x}""",
    "|",
)
PROSE = listed("Add a markdown cell that says {x}|Add a markdown cell with the text {x}|Insert a text cell: {x}", "|")
HEADINGS = listed("Results|Introduction|Data|Analysis|Summary|My notebook|Plots|Conclusion|Setup|Methods", "|")
FIX = listed("Fix {x}|Fix {x}|Repair {x}|Correct {x}|Fix the error in {x}", "|")
BROKEN = ("the cell", "the cell", "the cell with the error", "the broken cell", "my notebook")
CHANGE = listed("Change {x} to {y}|Replace {x} by {y}|Set {x} to {y}|Make {x} {y}", "|")
COUNT = listed(
    """How many cells are there?|How many cells does the notebook have?|How many cells are in the notebook?|
Count the cells|How many cells are in this notebook?|How many cells do I have?""",
    "|",
)
FILES = listed(
    """List the files|List the files|What files are there?|Which files are here?|Show me the files|
Which files are in the folder?|List all files""",
    "|",
)
FILES_IN = listed("List the files in {x}|Which files are in {x}?|List the files of the folder {x}", "|")
FIRST_LINE = listed(
    """Read {x} and say its first line|What is the first line of {x}?|Read the first line of {x}|
Read {x} and tell me the first line|Say the first line of {x}|Read {x}""",
    "|",
)
EXPLAIN = listed("Explain {x}|What does {x} do?|Explain the code of {x}", "|")
VERBS = {
    "run": listed("Run {x}|Run {x}|Execute {x}|Run {x} again", "|"),
    "delete": listed("Delete {x}|Delete {x}|Remove {x}", "|"),
    "show": listed("What is in {x}?|What's in {x}?|Show me {x}|Read {x}|What does {x} contain?", "|"),
}


def phrased(rng: Random, templates: list[str], **values: Any) -> str:
    """A question from a template, sometimes with other case, punctuation or a polite word."""
    text = rng.choice(templates).format(**values)
    kind = rng.random()
    if kind < 0.12:
        text = f"Please {text[0].lower()}{text[1:]}"
    elif kind < 0.4:
        text = text[0].lower() + text[1:]
    return text if rng.random() < 0.5 or text[-1] == "?" else f"{text}."


def reported(result: str) -> str:
    """The sentence about the result of run_cell."""
    if result == NO_OUTPUT:
        return "The cell ran without output."
    head, _, rest = result.partition("\n")
    if head == "Output:":
        return f"The cell printed {rest}."
    return f"The cell failed with {rest.rpartition(chr(10))[0]}."


def inserted(result: str) -> str:
    return result.removeprefix("Inserted cell ").removesuffix(".")


def expression(rng: Random, *, held_out: bool = False) -> str:
    operator = rng.choices("+-*", (6, 2, 2))[0]
    a, b = draw_pair(rng, "×" if operator == "*" else operator, rng.choice((1, 2, 2, 3, 4)), held_out=held_out)
    return f"{a} {operator} {b}"


def text_to_print(rng: Random) -> str:
    return rng.choice(("hello", "Hello", "hi", "done")) if rng.random() < 0.3 else words.phrase(rng, 1, 3)


def program(rng: Random) -> str:
    """The source of a code cell, one line."""
    match rng.choices(("sum", "text", "number", "set", "import", "zero"), (8, 3, 1, 3, 2, 0.7))[0]:
        case "sum":
            return f"print({expression(rng)})"
        case "text":
            return f"print('{text_to_print(rng)}')"
        case "number":
            return f"print({words.number(rng)})"
        case "set":
            return f"{variable(rng)} = {words.number(rng)}"
        case "import":
            return f"import {rng.choice(MODULES)}"
        case _:
            return f"print({words.number(rng)} / 0)"


def broken_program(rng: Random) -> str:
    inside = expression(rng) if rng.random() < 0.6 else f"'{text_to_print(rng)}'"
    return f"print({inside}" if rng.random() < 0.3 else f"{rng.choice(MISSPELLINGS)}({inside})"


def variable(rng: Random) -> str:
    return rng.choice("abcnxyz") if rng.random() < 0.7 else rng.choice(words.WORDS)


def file_name(rng: Random) -> str:
    stem = rng.choice(STEMS) if rng.random() < 0.6 else rng.choice(words.WORDS)
    return f"{stem}.{rng.choice(('txt', 'txt', 'md', 'csv', 'py'))}"


def _request(rng: Random) -> tuple[str, str]:
    """What a new cell does, in words, and its source."""
    match rng.choices(("sum", "add", "text", "set", "code"), (10, 2, 4, 3, 2))[0]:
        case "sum":
            asked = expression(rng)
            written = asked.replace(" ", "") if rng.random() < 0.15 else asked
            return (
                f"{rng.choice(('prints', 'prints', 'prints', 'computes', 'calculates'))} {written}",
                f"print({asked})",
            )
        case "add":
            a, b = draw_pair(rng, "+", rng.choice((1, 2, 3)))
            return f"adds {a} and {b}", f"print({a} + {b})"
        case "text":
            text = text_to_print(rng)
            return f"prints {rng.choice(('{}', repr('{}'), chr(34) + '{}' + chr(34))).format(text)}", f"print('{text}')"
        case "set":
            name, value = variable(rng), words.number(rng)
            return f"sets {name} to {value}", f"{name} = {value}"
        case _:
            source = program(rng)
            return f"says {source}", source


def held_out_sum(rng: Random) -> tuple[str, str]:
    asked = expression(rng, held_out=True)
    return f"prints {asked}", f"print({asked})"


def add_and_run(rng: Random, notebook: SimulatedNotebook, request: RequestMaker | None = None) -> Task:
    wish, source = request(rng) if request else _request(rng)

    def plan() -> Plan:
        result = yield "insert_cell", {"source": source}
        result = yield "run_cell", {"cell": inserted(result)}
        return reported(result)

    if wish.startswith("prints") and rng.random() < 0.1:
        return phrased(rng, ["{x} in a new cell"], x=wish.replace("prints", "Print", 1)), plan()
    return phrased(rng, [text + rng.choice(AND_RUN) for text in ADD], x=wish), plan()


def add(rng: Random, notebook: SimulatedNotebook) -> Task:
    wish, source = _request(rng)

    def plan() -> Plan:
        result = yield "insert_cell", {"source": source}
        return f"I added cell {inserted(result)}."

    return phrased(rng, ADD, x=wish), plan()


def add_markdown(rng: Random, notebook: SimulatedNotebook) -> Task:
    text = rng.choice(HEADINGS) if rng.random() < 0.3 else words.phrase(rng, 1, 4)
    title = rng.random() < 0.75
    quoted = f'"{text}"' if rng.random() < 0.15 else text

    def plan() -> Plan:
        result = yield "insert_cell", {"source": f"# {text}" if title else text, "kind": "markdown"}
        return f"I added cell {inserted(result)}."

    return phrased(rng, TITLE if title else PROSE, x=quoted), plan()


def _direct(verb: str, tool: str, answer: Callable[[str, str], str]) -> TaskMaker:
    """A task with one call on a cell that the question names by its id."""

    def make(rng: Random, notebook: SimulatedNotebook) -> Task:
        cell = rng.choice(notebook.cells).id if rng.random() < 0.93 else notebook.new_id()

        def plan() -> Plan:
            result = yield tool, {"cell": cell}
            return answer(cell, result)

        return phrased(rng, VERBS[verb], x=f"cell {cell}"), plan()

    return make


def _by_place(verb: str, tool: str, answer: Callable[[str, str], str]) -> TaskMaker:
    """A task on the first, second or last cell: the outline first, then the call."""

    def make(rng: Random, notebook: SimulatedNotebook) -> Task:
        place = rng.choice([word for word, index in ORDINALS.items() if index < len(notebook.cells)])

        def plan() -> Plan:
            yield "read_notebook", {}
            cell = notebook.cells[ORDINALS[place]].id
            result = yield tool, {"cell": cell}
            return answer(cell, result)

        return phrased(rng, VERBS[verb], x=f"the {place} cell"), plan()

    return make


def _contained(cell: str, result: str) -> str:
    """The first line of the source. The simulated page writes results of read_cell in three styles."""
    lines = result.splitlines()
    return f"Cell {cell} contains {lines[1] if lines[0] == 'Source:' or lines[0].startswith(cell) else lines[0]}"


run_named = _direct("run", "run_cell", lambda cell, result: reported(result))
delete_named = _direct("delete", "delete_cell", lambda cell, result: f"I deleted cell {cell}.")
show_named = _direct("show", "read_cell", _contained)
run_placed = _by_place("run", "run_cell", lambda cell, result: reported(result))
delete_placed = _by_place("delete", "delete_cell", lambda cell, result: f"I deleted cell {cell}.")
show_placed = _by_place("show", "read_cell", _contained)


def fix(rng: Random, notebook: SimulatedNotebook) -> Task:
    """A cell with a misspelled print or an open bracket: read, change, run."""
    source = broken_program(rng)
    for cell in notebook.cells:
        cell.output = None
    broken = NotebookCell(notebook.new_id(), source)
    if rng.random() < 0.75:
        broken.count, broken.output = rng.randint(1, 9), output_of(source)
    notebook.cells.insert(rng.randint(0, len(notebook.cells)), broken)
    named = rng.random() < 0.5
    name = source.partition("(")[0]
    change = {"source": f"{source})"} if name == "print" else {"find": name, "replace": "print"}

    def plan() -> Plan:
        if not named:
            yield "read_notebook", {}
        yield "read_cell", {"cell": broken.id}
        yield "edit_cell", {"cell": broken.id, **change}
        result = yield "run_cell", {"cell": broken.id}
        return f"I fixed cell {broken.id}. {reported(result)}"

    return phrased(rng, FIX, x=f"cell {broken.id}" if named else rng.choice(BROKEN)), plan()


def change(rng: Random, notebook: SimulatedNotebook) -> Task:
    cell, source = rng.choice(notebook.cells).id, program(rng)

    def plan() -> Plan:
        yield "read_cell", {"cell": cell}
        yield "edit_cell", {"cell": cell, "source": source}
        return f"I changed cell {cell}."

    return phrased(rng, CHANGE, x=f"cell {cell}", y=source), plan()


def count_cells(rng: Random, notebook: SimulatedNotebook) -> Task:
    def plan() -> Plan:
        result = yield "read_notebook", {}
        return f"The notebook has {result.splitlines()[0].rpartition(', ')[2]}."

    return phrased(rng, COUNT), plan()


def list_files(rng: Random, notebook: SimulatedNotebook) -> Task:
    folder = rng.choice(("data", "src", rng.choice(words.WORDS))) if rng.random() < 0.3 else ""
    if folder:
        notebook.files |= {f"{folder}/{file_name(rng)}": "" for _ in range(rng.randint(1, 3))}

    def plan() -> Plan:
        result = yield "list_files", {"path": folder} if folder else {}
        return f"The files are {', '.join(result.splitlines())}."

    questions = FILES_IN if folder else FILES
    return phrased(rng, questions, x=folder), plan()


def read_file(rng: Random, notebook: SimulatedNotebook) -> Task:
    path = file_name(rng)
    notebook.files[path] = "\n".join(words.phrase(rng, 2, 5) for _ in range(rng.randint(1, 3)))

    def plan() -> Plan:
        result = yield "read_file", {"path": path}
        return f"The first line is: {result.splitlines()[0]}"

    return phrased(rng, FIRST_LINE, x=path), plan()


def explain(rng: Random, notebook: SimulatedNotebook) -> Task:
    source = rng.choice((f"print({expression(rng)})", f"{variable(rng)} = {words.number(rng)}", program(rng)))
    cell = NotebookCell(notebook.new_id(), source)
    notebook.cells.append(cell)

    def plan() -> Plan:
        yield "read_cell", {"cell": cell.id}
        return explained(source)

    return phrased(rng, EXPLAIN, x=f"cell {cell.id}"), plan()


def explained(source: str) -> str:
    if source.startswith("print("):
        return f"It prints {source[6:-1]}."
    if source.startswith("import "):
        return f"It imports {source[7:]}."
    name, _, value = source.partition(" = ")
    return f"It sets {name} to {value}."


TASKS: dict[TaskMaker, float] = {
    add_and_run: 9,
    add: 2.5,
    add_markdown: 3,
    run_named: 3.5,
    run_placed: 3.5,
    delete_named: 1.5,
    delete_placed: 3,
    show_named: 2.5,
    show_placed: 1.5,
    fix: 6,
    change: 2.5,
    count_cells: 2,
    list_files: 2,
    read_file: 2.5,
    explain: 2.5,
}
NEEDS: dict[TaskMaker, set[str]] = {
    add_and_run: {"insert_cell", "run_cell"},
    add: {"insert_cell"},
    add_markdown: {"insert_cell"},
    run_named: {"run_cell"},
    run_placed: {"read_notebook", "run_cell"},
    delete_named: {"delete_cell"},
    delete_placed: {"read_notebook", "delete_cell"},
    show_named: {"read_cell"},
    show_placed: {"read_notebook", "read_cell"},
    fix: {"read_notebook", "read_cell", "edit_cell", "run_cell"},
    change: {"read_cell", "edit_cell"},
    count_cells: {"read_notebook"},
    list_files: {"list_files"},
    read_file: {"read_file"},
    explain: {"read_cell"},
}
