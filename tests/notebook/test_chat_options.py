"""The options of %%chat and %chat."""

from __future__ import annotations

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook.chat_options import NAMES, describe_options, read_options


def test_the_line_of_a_cell_holds_the_options() -> None:
    line = "-m tiny -r off --system 'Be brief.' -i a.png --image \"b c.png\" --temperature 0.5 --max-tokens 9 --seed 1"
    options = read_options(line, "\nWhat is {x}?\n")
    assert options.question == "What is {x}?"
    assert (options.model, options.reasoning, options.system) == ("tiny", "off", "Be brief.")
    assert options.images == ("a.png", "b c.png")
    assert (options.temperature, options.max_tokens, options.seed) == (0.5, 9, 1)
    assert (options.into, options.new, options.code) == ("answer", False, False)


@pytest.mark.parametrize(
    ("line", "question"),
    [
        ("What's 3 - 5?", "What's 3 - 5?"),
        ('--new -m tiny say "hi" --twice', 'say "hi" --twice'),
        ("-s 'You are brief.' --code --temperature=0 hello", "hello"),
        ("-5 + 3?", "-5 + 3?"),
    ],
)
def test_the_question_of_a_line_needs_no_quotes(line: str, question: str) -> None:
    assert read_options(line, None).question == question


@pytest.mark.parametrize(
    ("line", "cell", "reason"),
    [
        ("", " \n", "the question is missing"),
        ("-m tiny", None, "the question is missing"),
        ("--modal x", "hi", "unrecognized arguments: --modal x"),
        ("tiny", "hi", "unrecognized arguments: tiny"),
        ("-r perhaps", "hi", "invalid choice: 'perhaps'"),
        ("--temperature hot", "hi", "argument --temperature: invalid float value: 'hot'"),
        ("-m", "hi", "argument --model/-m: expected one argument"),
        ("-s 'open", "hi", "no closing quotation"),
        ("--into 3x", "hi", "--into 3x: not a valid name of a variable"),
        ("--into class", "hi", "--into class: not a valid name of a variable"),
    ],
)
def test_a_wrong_argument_is_named(line: str, cell: str | None, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        read_options(line, cell)


def test_help_and_completion_have_every_option() -> None:
    assert set(NAMES) == {
        *("--model", "--reasoning", "--system", "--image", "--temperature"),
        *("--max-tokens", "--seed", "--schema", "--into", "--new", "--code"),
    }
    assert all(name in describe_options() for name in NAMES)
