"""Commands, links, endpoints and code in the README exist and are valid."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pico_jupyter.cli.main import _parser
from pico_jupyter.dialects.openapi import openapi_document

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINKS = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)


def test_every_command_that_is_shown_exists() -> None:
    usage = _parser().format_help()
    shown = set(re.findall(r"jupyter pico (\w+)", README))
    assert shown
    assert all(re.search(rf"^ +{command} ", usage, re.MULTILINE) for command in shown)


def test_every_make_target_that_is_shown_exists() -> None:
    words = set(re.findall(r"make (\w+)", README))
    assert words
    assert all(re.search(rf"^{word}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for word in words)


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_every_linked_file_exists(link: str) -> None:
    assert (ROOT / link).exists()


def test_every_linked_heading_exists() -> None:
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", README, re.MULTILINE)}
    linked = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert linked
    assert linked <= headings


def test_every_endpoint_of_the_table_is_served() -> None:
    paths = openapi_document(base_url="/", version="", authenticated=True)["paths"]
    cells = re.findall(r"^\| (?:OpenAI|Ollama) \| (.+?) \|", README, re.MULTILINE)
    shown = {word for cell in cells for word in re.findall(r"(?:v1|api)/[\w/{}]+", cell)}
    assert len(shown) > 8
    assert {f"/{path}" for path in shown} <= set(paths)


def test_the_python_code_is_valid() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)
