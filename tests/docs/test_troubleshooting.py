"""Messages that the troubleshooting page explains are still told."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
HEADINGS = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)
OTHER_WORDS = re.findall(r"\bOr, from Ollama clients, `([^`]+)`|API, `([^`]+)`", PAGE)
# What differs from one telling to the next.
VARIABLE = "…"


def texts(path: Path) -> list[str]:
    """The string literals of a Python module without its docstrings. An expression in braces becomes VARIABLE."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    return [text for node in nodes if node not in docstrings and (text := text_of(node))]


def text_of(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) or VARIABLE for value in values)
        case _:
            return ""


TOLD = {text for path in (ROOT / "pico_jupyter").rglob("*.py") for text in texts(path)}
SHOWN = "\n".join(path.read_text() for path in (ROOT / "labextension/src").rglob("*.ts*"))


@pytest.mark.parametrize("message", [*HEADINGS, *(word for words in OTHER_WORDS for word in words if word)])
def test_a_message_that_is_explained_is_told(message: str) -> None:
    assert any(message in text for text in TOLD) or message in SHOWN


def test_no_message_is_explained_twice() -> None:
    assert len(HEADINGS) > 30
    assert OTHER_WORDS
    assert len(set(HEADINGS)) == len(HEADINGS)
