"""The conversations in which the model drives a notebook."""

import json
import re
from random import Random

import pytest

from training import notebook_tasks
from training.conversation import Sample, Turn
from training.held_out import is_held_out
from training.notebook import REJECTED_ANSWER, TOOLS, notebook_of, perform, use
from training.notebook_tasks import TASKS, TaskMaker
from training.simulated_notebook import NotebookCell, SimulatedNotebook, output_of

SCHEMAS = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
FINISHED = "The notebook is closed."


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = Random(5)
    return [use(rng, lambda _: Turn("greeting", "Hi", "The user greets me.", "Hello!")) for _ in range(300)]


def simulated() -> SimulatedNotebook:
    return SimulatedNotebook(Random(1), "demo.ipynb", [NotebookCell("ab12", "print(2 + 3)")])


@pytest.mark.parametrize("make", TASKS, ids=lambda make: getattr(make, "__name__", "task"))
def test_the_calls_of_a_task_follow_the_schemas_of_the_tools(make: TaskMaker) -> None:
    rng = Random(3)
    for _ in range(50):
        notebook = notebook_of(rng, "demo.ipynb")
        steps, answer = perform(make(rng, notebook)[1], notebook)

        assert answer
        for step in steps:
            assert set(step.arguments) <= set(SCHEMAS[step.name]["properties"])
            assert set(SCHEMAS[step.name].get("required", ())) <= set(step.arguments)


def test_a_sample_calls_only_tools_that_it_offers(samples: list[Sample]) -> None:
    for sample in samples:
        offered = {tool["function"]["name"] for tool in sample.tools}
        calls = [call for message in sample.messages for call in message.get("tool_calls", ())]
        assert {call["function"]["name"] for call in calls} <= offered


def test_a_cell_is_run_after_it_is_inserted_and_its_output_is_reported() -> None:
    notebook = simulated()
    _, plan = notebook_tasks.add_and_run(Random(2), notebook, lambda _: ("prints 12 + 35", "print(12 + 35)"))
    steps, answer = perform(plan, notebook)

    assert [step.name for step in steps] == ["insert_cell", "run_cell"]
    assert answer == "The cell printed 47."


def test_a_rejected_call_ends_the_task() -> None:
    notebook = simulated()
    notebook.rejects = True
    steps, answer = perform(notebook_tasks.add(Random(2), notebook)[1], notebook)

    assert [step.result for step in steps] == ["The user rejected this."]
    assert answer == REJECTED_ANSWER


def test_a_failed_call_is_reported() -> None:
    notebook = simulated()
    notebook.failure = FINISHED
    _, answer = perform(notebook_tasks.count_cells(Random(2), notebook)[1], notebook)

    assert answer == f"That did not work: {FINISHED}"


def test_a_fix_leaves_a_program_that_runs() -> None:
    rng = Random(4)
    for _ in range(50):
        notebook = notebook_of(rng, "demo.ipynb")
        steps, _ = perform(notebook_tasks.fix(rng, notebook)[1], notebook)

        assert steps[-1].result.startswith("Output:")


def test_no_sum_in_a_notebook_is_held_out(samples: list[Sample]) -> None:
    texts = [json.dumps(sample.messages) + sample.answer for sample in samples if sample.skill == "notebook"]
    sums = [match for text in texts for match in re.finditer(r"\((\d+) ([-+*]) (\d+)\)", text)]

    assert len(sums) > 200
    assert not [m.group() for m in sums if is_held_out(m[2].replace("*", "×"), int(m[1]), int(m[3]))]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("print(12 + 35)", "Output:\n47"),
        ("print('moon')", "Output:\nmoon"),
        ("x = 5", "No output."),
        ("print(3 / 0)", "Error:\nZeroDivisionError: division by zero\n(line 1)"),
        ("pritn(1)", "Error:\nNameError: name 'pritn' is not defined\n(line 1)"),
        ("print(1", "Error:\nSyntaxError: '(' was never closed\n(line 1)"),
    ],
)
def test_a_simulated_run_gives_the_result_of_python(source: str, result: str) -> None:
    assert output_of(source) == result


def test_the_outline_has_a_line_for_each_cell() -> None:
    notebook = simulated()
    notebook.call("run_cell", {"cell": "ab12"})

    assert notebook.call("read_notebook", {}) == "demo.ipynb, 1 cell\n1 ab12 code [1] print(2 + 3)"


def test_an_unknown_cell_is_an_error_with_the_ids_that_exist() -> None:
    assert simulated().call("run_cell", {"cell": "ffff"}) == "Error: There is no cell ffff. The cells are ab12."
