"""%%chat, %chat and %pico in a real InteractiveShell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from pico_jupyter.errors import EngineUnavailable
from pico_jupyter.notebook import Answer, Pico
from pico_jupyter.notebook.connection import connect
from pico_jupyter.notebook.magics import ChatMagics, code_of
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, ReasoningPiece, TextPiece
from pico_jupyter.sources.discovery import shared_engine
from tests.e2e.running import RunningServer
from tests.fakes.hub import FakeHub
from tests.fakes.source import FakeSource

ANSWER = (ReasoningPiece("hm"), TextPiece("625"), FinishPiece("stop"))


@dataclass
class Notebook:
    """A shell whose magics use a scripted source."""

    shell: InteractiveShell
    source: FakeSource
    magics: ChatMagics
    capsys: pytest.CaptureFixture[str]

    def run(self, code: str) -> str:
        """Run code and return what it prints."""
        self.shell.run_cell(code, store_history=True)
        captured = self.capsys.readouterr()
        return captured.out + captured.err

    @property
    def call(self) -> AnswerRequest:
        return self.source.calls[-1]

    @property
    def said(self) -> list[str]:
        return [turn.content for turn in self.call.messages]


@pytest.fixture(scope="session")
def shell() -> InteractiveShell:
    running = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    running.colors = "nocolor"
    running.run_line_magic("load_ext", "pico_jupyter")
    return running


@pytest.fixture
def notebook(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    yield notebook_of(shell, FakeSource(*ANSWER), capsys)
    shell.reset()


def notebook_of(shell: InteractiveShell, source: FakeSource, capsys: pytest.CaptureFixture[str]) -> Notebook:
    pico = Pico(source, shared_loop())
    magics = ChatMagics(shell, lambda: pico)
    shell.register_magics(magics)
    return Notebook(shell, source, magics, capsys)


def test_the_cell_is_the_question_and_the_answer_is_stored(notebook: Notebook) -> None:
    assert notebook.run("%%chat\nWhat is 348 + 277?\n") == "<think>\nhm\n</think>\n\n625\n"
    assert notebook.said == ["What is 348 + 277?"]
    answer = notebook.shell.user_ns["answer"]
    assert isinstance(answer, Answer)
    assert answer.text == "625"


def test_fix_sends_the_failed_cell_with_its_error_and_inserts_the_correction(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = (TextPiece("Here:\n```python\nprint(1)\n```"), FinishPiece("stop"))
    notebook = notebook_of(shell, FakeSource(*answer), capsys)
    notebook.run("pritn(1)")
    notebook.run("%fix keep it short")
    (question,) = notebook.said
    assert question.startswith("This cell of a Jupyter notebook fails.")
    assert "```python\npritn(1)\n```" in question
    assert "NameError: name 'pritn' is not defined" in question
    assert question.endswith("keep it short")
    assert shell.rl_next_input == "print(1)"
    shell.rl_next_input = None


def test_fix_without_a_failed_cell_says_so(notebook: Notebook) -> None:
    notebook.run("1 + 1")
    assert "It did not fail." in notebook.run("%fix")
    assert notebook.source.calls == []


@pytest.mark.parametrize("code", ["1 / 0", "x = (", "import nothing_like_this"])
def test_explain_asks_about_every_kind_of_error(notebook: Notebook, code: str) -> None:
    notebook.run(code)
    assert "625" in notebook.run("%explain")
    assert "Explain the error" in notebook.said[0]
    assert code in notebook.said[0]


def test_explain_asks_about_a_cell_without_error(notebook: Notebook) -> None:
    notebook.run("total = sum(range(10))")
    notebook.run("%chat hi")
    notebook.run("%explain in one word")
    (question,) = notebook.said
    assert "what this cell of a Jupyter notebook does" in question
    assert "total = sum(range(10))" in question
    assert question.endswith("in one word")


def test_a_long_error_keeps_its_end(notebook: Notebook) -> None:
    notebook.run("raise ValueError('x' * 10_000 + 'end')")
    notebook.run("%explain")
    assert len(notebook.said[0]) < 5_000
    assert "xxend" in notebook.said[0]


def test_the_schema_is_a_variable(notebook: Notebook) -> None:
    notebook.shell.user_ns["Number"] = {"type": "integer"}
    notebook.run("%%chat --schema Number\nWhat is 348 + 277?")
    assert notebook.call.schema == '{"type": "integer"}'
    assert notebook.run("print(answer.parsed + 1)") == "626\n"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Absent", "{Absent} is not defined"),
        ("f()", "--schema f(): not the name of a variable, an attribute or an item"),
        ("text", "schema: must be a pydantic model"),
    ],
)
def test_a_wrong_schema_is_named(notebook: Notebook, name: str, reason: str) -> None:
    notebook.shell.user_ns["text"] = "a text"
    assert reason in notebook.run(f"%%chat --schema {name}\nhi")
    assert notebook.source.calls == []


def test_the_line_is_the_question(notebook: Notebook) -> None:
    notebook.run("%chat -r off --into sum What's 348 + 277?")
    assert notebook.said == ["What's 348 + 277?"]
    assert notebook.call.reasoning == "off"
    assert notebook.shell.user_ns["sum"].text == "625"


def test_options_reach_the_request(notebook: Notebook) -> None:
    printed = notebook.run("%%chat -m large -s 'Be {how}.' --temperature 0 --max-tokens 9 --seed 3\nhi")
    assert printed.startswith("UsageError: {how} is not defined")
    assert notebook.source.calls == []
    notebook.shell.user_ns["how"] = "brief"
    notebook.run("%%chat -m large -s 'Be {how}.' --temperature 0 --max-tokens 9 --seed 3\nhi")
    call = notebook.call
    assert (call.model, call.system, call.temperature, call.max_tokens, call.seed) == ("large", "Be brief.", 0, 9, 3)


def test_variables_in_the_question_are_replaced(notebook: Notebook) -> None:
    notebook.shell.user_ns["rows"] = [348, 277]
    notebook.run('%%chat\n{rows[0]} + {rows[1]}? {{rows}} {"a": 1} $rows')
    assert notebook.said == ['348 + 277? {rows} {"a": 1} $rows']


def test_images_are_variables_or_paths(notebook: Notebook) -> None:
    notebook.shell.user_ns["pictures"] = [np.zeros((2, 2), np.uint8)]
    notebook.run("%%chat -i pictures[0] -i pictures\nhi")
    assert [attachment.name for attachment in notebook.call.messages[0].attachments] == ["images[0]", "images[1]"]
    assert "cannot read 'nothing.png': No such file" in notebook.run("%chat -i nothing.png hi")


def test_the_conversation_continues_until_a_new_one_is_started(notebook: Notebook) -> None:
    notebook.run("%chat --system Hm. a")
    notebook.run("%chat b")
    assert notebook.said == ["a", "625", "b"]
    assert notebook.call.system == "Hm."
    notebook.run("%chat --new c")
    assert (notebook.said, notebook.call.system) == (["c"], "")
    assert notebook.run("%pico new") == "New conversation.\n"
    notebook.run("%chat d")
    assert notebook.said == ["d"]


def test_a_model_of_one_cell_is_not_that_of_the_next(notebook: Notebook) -> None:
    notebook.run("%chat -m large a")
    notebook.run("%chat b")
    assert notebook.call.model == "tiny"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("%%chat\n\n", "UsageError: the question is missing"),
        ("%%chat tiny\nhi", "UsageError: unrecognized arguments: tiny"),
        ("%chat {absent}", "UsageError: {absent} is not defined"),
        ("%chat --temperature 3 hi", "UsageError: temperature: 3.0 is not a number from 0 to 2"),
        ("%pico lod", "UsageError: %pico lod: there is no such command"),
        ("%pico reasoning perhaps", "UsageError: %pico reasoning perhaps: there is no such command"),
        ("%pico model large", "UsageError: there is no model 'large'. The models are: tiny"),
    ],
)
def test_an_error_is_one_line(notebook: Notebook, code: str, reason: str) -> None:
    printed = notebook.run(code)
    assert printed.startswith(reason)
    assert "Traceback" not in printed
    assert notebook.source.calls == []


def test_a_failure_is_one_line_after_the_text_so_far(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = notebook_of(shell, FakeSource(TextPiece("6"), EngineUnavailable("the server is gone")), capsys)
    assert notebook.run("%chat hi") == "6\nEngineUnavailable: the server is gone\n"
    assert shell.user_ns["answer"].finish_reason == "failed"


def test_code_is_inserted_as_the_next_cell(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = notebook_of(shell, FakeSource(TextPiece("Do\n```python\nx = 1\n```\n"), FinishPiece("stop")), capsys)
    notebook.run("%chat --code hi")
    assert shell.rl_next_input == "x = 1"
    shell.rl_next_input = None


def test_an_answer_without_code_is_reported(notebook: Notebook) -> None:
    assert notebook.run("%chat --code hi").endswith("The answer contains no code.\n")


def test_python_blocks_are_preferred() -> None:
    text = "First\n```sh\nls\n```\nthen\n```python\na = 1\n```\n1. and\n   ~~~py\nb = 2"
    assert code_of(text) == "a = 1\n\nb = 2"
    assert code_of("```sh\nls\n```") == "ls"
    assert code_of("no code, but `x`") == ""


def test_settings_apply_to_all_later_cells(notebook: Notebook) -> None:
    assert notebook.run("%pico reasoning off") == "reasoning: off\n"
    assert notebook.run("%pico model tiny") == "model: tiny\n"
    notebook.run("%chat a")
    assert (notebook.call.reasoning, notebook.call.model) == ("off", "tiny")
    notebook.run("%chat -r on a")
    assert notebook.call.reasoning == "on"
    assert notebook.run("%pico model default") == "model: tiny\n"


def test_the_status_is_printed(notebook: Notebook) -> None:
    notebook.run("%chat a")
    assert notebook.run("%pico") == (
        "answers come from  an engine in this kernel\n"
        "model              tiny\n"
        "reasoning          default\n"
        "conversation       1 answer\n"
        "in memory          no model\n"
    )


def test_models_are_loaded_unloaded_and_listed(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    magics = ChatMagics(shell, lambda: Pico(shared_engine(), shared_loop()))
    shell.register_magics(magics)
    shell.run_line_magic("pico", "load pico-tiny")
    assert "pico-tiny" in shell.run_line_magic("pico", "ps").names
    shell.run_line_magic("pico", "unload pico-tiny")
    assert "pico-tiny" in shell.run_line_magic("pico", "models").names
    assert capsys.readouterr().out == "pico-tiny is in memory.\npico-tiny is not in memory.\n"
    shell.run_cell("%pico load absent")
    assert "ModelNotFound" in capsys.readouterr().out


def completions(shell: InteractiveShell, text: str) -> list[str]:
    with provisionalcompleter():
        return [completion.text for completion in shell.Completer.completions(text, len(text))]


def test_words_are_completed_in_lines_of_the_magics_only(shell: InteractiveShell) -> None:
    shell.run_line_magic("reload_ext", "pico_jupyter")
    assert sorted(completions(shell, "%pico load pico-")) == ["pico-tiny", "pico-tiny-vl"]
    assert completions(shell, "%%chat -r on --model pico-tiny-") == ["pico-tiny-vl"]
    assert sorted(completions(shell, "x = 1\n%chat --m")) == ["--max-tokens", "--model"]
    assert "pico-tiny-vl" not in completions(shell, "%%chat\n%pico load pico-tiny-")


@pytest.mark.parametrize("question", ["What is my name?", "Is it x?", "What's up?", "Why??", "-r off really?"])
def test_a_line_may_end_in_a_question_mark(notebook: Notebook, question: str) -> None:
    notebook.run(f"if True:\n    x = 1\n    %chat {question}\n    y = 2")
    assert notebook.said == [question.removeprefix("-r off ")]
    assert notebook.shell.user_ns["y"] == 2


def test_a_question_mark_after_the_magic_still_shows_help(notebook: Notebook) -> None:
    assert "--reasoning" in notebook.run("%chat?")
    assert "%pico load NAME" in notebook.run("%pico?")
    assert notebook.source.calls == []


def test_help_has_the_options_and_the_commands(shell: InteractiveShell) -> None:
    shell.run_line_magic("reload_ext", "pico_jupyter")
    assert "--reasoning" in str(shell.object_inspect("%%chat")["docstring"])
    assert "%pico load NAME" in str(shell.object_inspect("%pico")["docstring"])


def test_models_are_pulled_and_removed(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], server: RunningServer, hub: FakeHub
) -> None:
    hub.add("org/from-magic", BUILTIN_DIR / "pico-tiny")
    shell.register_magics(ChatMagics(shell, lambda: connect(url=server.url, token=server.token)))
    shell.run_cell("%pico pull org/from-magic")
    assert capsys.readouterr().out == "org/from-magic is on this machine.\n"
    shell.run_cell("%pico rm from-magic")
    assert capsys.readouterr().out == "from-magic is deleted; this freed 2.9 MB.\n"
    shell.run_cell("%pico rm pico-tiny")
    assert "part of pico_jupyter" in capsys.readouterr().out
