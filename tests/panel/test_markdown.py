"""A conversation as Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pico_jupyter.notebook.markdown import safe_markdown
from pico_jupyter.panel.transcript import conversation_markdown

# The TypeScript side is tested with the same cases.
CASES = json.loads((Path(__file__).parent / "safe.json").read_text())
# Texts, and the formulas in their safe Markdown.
FORMULAS = json.loads((Path(__file__).parent / "formulas.json").read_text())
CODE = re.compile(r"<code>.*?</code>|<pre>.*?</pre>|^```.*?^```", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|\\begin.*?\\end\{\w+\}", re.DOTALL)


@pytest.mark.parametrize(("source", "expected"), CASES)
def test_python_and_typescript_write_the_same_safe_markdown(source: str, expected: str) -> None:
    assert safe_markdown(source) == expected


@pytest.mark.parametrize(("text", "formulas"), FORMULAS)
def test_only_mathematics_is_a_formula(text: str, formulas: list[str]) -> None:
    shown = CODE.sub("", safe_markdown(text))
    assert [re.sub(r"\s+", " ", formula) for formula in FORMULA.findall(shown)] == formulas


def test_markdown_signs_in_a_long_formula_take_little_time() -> None:
    assert safe_markdown("$$\n" + "\\[ $ \\( `a` $$ " * 4000).count("<code>a</code>") == 4000
    assert safe_markdown("$$ a\n" * 4000).count("<span>") == 0
    assert safe_markdown("$$a\n\n" * 4000).count("<span>") == 8000


def test_the_markdown_of_a_conversation_has_all_messages() -> None:
    question = {"role": "user", "content": "What is it?", "attachments": [{"name": "a_b.png"}, {"name": "x.py"}]}
    answer = {"role": "assistant", "model": "tiny", "reasoning": "Round, <so>", "content": "A `circle`."}
    failed = {"role": "assistant", "content": "", "status": "failed", "error": "out of\nmemory"}
    assert conversation_markdown([question, answer, failed]) == (
        "**You**\n\nWhat is it?\n\n*Attached: a_b.png, x.py*\n\n"
        "**tiny**\n\n<details><summary>Thinking</summary>\n\nRound, &#60;so>\n\n</details>\n\n"
        "A <code>circle</code>.\n\n"
        "**Model**\n\n*Failed: out of memory*"
    )
    assert conversation_markdown([]) == "*No messages yet.*"


def test_the_calls_of_tools_have_a_line_each() -> None:
    calls = [{"name": "run_cell", "result": "Output:\n47"}, {"name": "read_file"}]
    answer = {"role": "assistant", "model": "tiny", "content": "", "calls": calls}
    assert conversation_markdown([answer]) == (
        f"**tiny**\n\n*Called {safe_markdown('run_cell')}: Output:*\n\n*Called {safe_markdown('read_file')}: not done*"
    )
