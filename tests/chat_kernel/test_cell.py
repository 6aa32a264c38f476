from __future__ import annotations

import pytest

from pico_jupyter.chat_kernel.cell import Magic, check_magics, read_cell
from pico_jupyter.errors import InvalidRequest


def test_the_prompt_is_below_the_magics() -> None:
    cell = read_cell("%model tiny\n%reasoning on\n\nWhat is\n\n12 + 35?\n")
    assert cell.magics == (Magic("model", "tiny"), Magic("reasoning", "on"))
    assert cell.prompt == "What is\n\n12 + 35?"


@pytest.mark.parametrize("line", ["%model tiny", "  %model   tiny ", "%%model tiny", "%Model: tiny", "%model = 'tiny'"])
def test_magics_accept_several_spellings(line: str) -> None:
    assert read_cell(line).magics == (Magic("model", "tiny"),)


@pytest.mark.parametrize("prompt", ["50 % of 10?", "% of what?", "%5 or more", "100%"])
def test_a_percent_sign_alone_is_not_a_magic(prompt: str) -> None:
    assert read_cell(prompt) == read_cell("\n" + prompt)
    assert read_cell(prompt).prompt == prompt


def test_magics_below_a_prompt_are_part_of_it() -> None:
    cell = read_cell("Explain this:\n%matplotlib inline")
    assert (cell.magics, cell.prompt) == ((), "Explain this:\n%matplotlib inline")


def test_a_prompt_can_begin_with_what_looks_like_a_magic() -> None:
    cell = read_cell("%reasoning on\n\\%timeit does what?")
    assert cell.prompt == "%timeit does what?"
    assert cell.magics == (Magic("reasoning", "on"),)


def test_an_unknown_magic_is_refused_with_the_list_of_magics() -> None:
    with pytest.raises(InvalidRequest, match=r"no %speed\. The magics are %model, .*%help\. Write \\%speed") as raised:
        check_magics(read_cell("%model tiny\n%speed 3"))
    assert raised.value.param == "%speed"


def test_a_cell_may_be_empty() -> None:
    cell = read_cell("  \n\n")
    assert (cell.magics, cell.prompt) == ((), "")
