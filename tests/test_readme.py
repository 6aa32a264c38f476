"""The README says what is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pico_jupyter.cli.main import _parser
from pico_jupyter.server.extension import PicoJupyter

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_configuration_table_lists_every_setting_with_its_default() -> None:
    _, _, section = README.partition("## Configuration")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", section, re.MULTILINE)
    told = {name: ast.literal_eval(default) for name, default in rows}
    assert told == {name: trait.default() for name, trait in PicoJupyter.class_own_traits(config=True).items()}


def test_every_command_that_is_shown_exists() -> None:
    usage = _parser().format_help()
    shown = set(re.findall(r"jupyter pico (\w+)", README))
    assert shown
    assert all(re.search(rf"^ +{command} ", usage, re.MULTILINE) for command in shown)
