"""Parses the options and the question of %%chat and %chat."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from dataclasses import dataclass
from typing import NoReturn

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.sources.calls import Reasoning

SWITCH: tuple[Reasoning, ...] = ("on", "off", "default")
OPTION = re.compile(r"\s*(--?[A-Za-z][\w-]*)(=\S*)?")
VALUE = re.compile(r"""\s*(?:"[^"]*"|'[^']*'|\S+)""")


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """The question and the options of one cell. Omitted options are "" or None. `images` are paths or variables, and
    `schema` is a variable."""

    question: str
    model: str
    reasoning: Reasoning | None
    system: str
    images: tuple[str, ...]
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    schema: str
    into: str
    new: bool
    code: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidRequest(f"{message}. %%chat? shows the help.")


def _parser() -> _Parser:
    parser = _Parser("%%chat", usage="%(prog)s [options]", add_help=False)
    add = parser.add_argument
    add("--model", "-m", default="", metavar="NAME", help="the model, for this cell")
    add("--reasoning", "-r", choices=SWITCH, help="reasoning, for this cell")
    add("--system", "-s", default="", metavar="TEXT", help="the system message, from this cell on")
    add(
        "--image",
        "-i",
        dest="images",
        action="append",
        default=[],
        metavar="IMAGE",
        help="a path or a variable; may be repeated",
    )
    add("--temperature", type=float, metavar="NUMBER", help="0 to 2; 0 always picks the most likely token")
    add("--max-tokens", type=int, metavar="N", help="maximum number of tokens, including reasoning")
    add("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    add(
        "--schema", default="", metavar="NAME", help="a variable with a type or a JSON schema, which the answer matches"
    )
    add("--into", default="answer", metavar="VARIABLE", help="the variable for the answer (default: answer)")
    add("--new", action="store_true", help="start a new conversation")
    add("--code", action="store_true", help="insert the code of the answer as the next cell")
    return parser


PARSER = _parser()
FLAGS = ("--new", "--code")
NAMES = tuple(name for name in PARSER.format_help().split() if re.fullmatch(r"--[a-z-]+", name))


def read_options(line: str, cell: str | None) -> ChatOptions:
    """Parse the line and the body of %%chat. If `cell` is None, parse the line of %chat. Raises InvalidRequest."""
    line, question = _split(line) if cell is None else (line, cell)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(f"{line.strip()}: {str(error).lower()}") from None
    options = PARSER.parse_args(words)
    if not options.into.isidentifier() or keyword.iskeyword(options.into):
        raise InvalidRequest(f"--into {options.into}: not a valid name of a variable")
    if not question.strip():
        raise InvalidRequest("the question is missing. %%chat? shows the help.")
    options.images = tuple(options.images)
    return ChatOptions(question=question.strip(), **vars(options))


def describe_options() -> str:
    """Return the help of all options."""
    _, _, options = PARSER.format_help().partition("\n\n")
    return options


def _split(line: str) -> tuple[str, str]:
    """Split the line of %chat into its options and the question. The question needs no quotes."""
    position = 0
    while found := OPTION.match(line, position):
        position = found.end()
        if found[1] not in FLAGS and not found[2]:
            value = VALUE.match(line, position)
            position = value.end() if value else position
    return line[:position], line[position:]
