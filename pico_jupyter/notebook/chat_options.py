"""The options of %%chat and %chat: a line in, options and a question out. Knows no shell and no model."""

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
    """How a cell asks. "" and None: not given. `images` are words: paths, or variables."""

    question: str
    model: str
    reasoning: Reasoning | None
    system: str
    images: tuple[str, ...]
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    into: str
    new: bool
    code: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidRequest(f"{message}. %%chat? tells more.")


def _parser() -> _Parser:
    parser = _Parser("%%chat", usage="%(prog)s [options]", add_help=False)
    add = parser.add_argument
    add("--model", "-m", default="", metavar="NAME", help="the model that answers, for this cell")
    add("--reasoning", "-r", choices=SWITCH, help="whether it thinks first, for this cell")
    add("--system", "-s", default="", metavar="TEXT", help="what it is told before everything else, from here on")
    add("--image", "-i", action="append", default=[], metavar="PICTURE", help="a path or a variable; may be repeated")
    add("--temperature", type=float, metavar="NUMBER", help="0 for the likeliest answer, 2 for the wildest")
    add("--max-tokens", type=int, metavar="N", help="the most tokens of thinking and text together")
    add("--seed", type=int, metavar="N", help="draws the same answer again")
    add("--into", default="answer", metavar="VARIABLE", help="the variable that keeps the answer (answer)")
    add("--new", action="store_true", help="forget the conversation first")
    add("--code", action="store_true", help="put the code of the answer into the next cell")
    return parser


PARSER = _parser()
FLAGS = ("--new", "--code")
NAMES = tuple(name for name in PARSER.format_help().split() if re.fullmatch(r"--[a-z-]+", name))


def read_options(line: str, cell: str | None) -> ChatOptions:
    """The options of a cell, or, where there is none, of a line that is the question too. Raises InvalidRequest."""
    if cell is None:
        line, question = _split(line)
    else:
        question = cell
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(f"{line.strip()}: {str(error).lower()}") from None
    options = PARSER.parse_args(words)
    if not options.into.isidentifier() or keyword.iskeyword(options.into):
        raise InvalidRequest(f"--into {options.into}: not the name of a variable")
    if not question.strip():
        raise InvalidRequest("there is no question. %%chat? tells more.")
    return ChatOptions(
        question=question.strip(),
        model=options.model,
        reasoning=options.reasoning,
        system=options.system,
        images=tuple(options.image),
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        seed=options.seed,
        into=options.into,
        new=options.new,
        code=options.code,
    )


def describe_options() -> str:
    """The options, for help."""
    _, _, options = PARSER.format_help().partition("\n\n")
    return options


def _split(line: str) -> tuple[str, str]:
    """A line's options, and the question behind them, which is taken as it is written."""
    position = 0
    while found := OPTION.match(line, position):
        position = found.end()
        if found[1] not in FLAGS and not found[2]:
            value = VALUE.match(line, position)
            position = value.end() if value else position
    return line[:position], line[position:]
