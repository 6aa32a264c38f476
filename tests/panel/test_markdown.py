"""The conversation as Markdown, which no renderer can be made to run or load anything with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nbconvert.filters import markdown2html

from pico_jupyter.panel.markdown import conversation_markdown, harmless

CASES = json.loads((Path(__file__).parent / "harmless.json").read_text())


@pytest.mark.parametrize(("source", "expected"), CASES)
def test_html_becomes_text_and_pictures_become_links(source: str, expected: str) -> None:
    assert harmless(source) == expected


@pytest.mark.parametrize("source", [source for source, _ in CASES])
def test_nbconvert_makes_nothing_of_it_that_runs_or_loads(source: str) -> None:
    html = markdown2html(harmless(source))
    for danger in ("<img", "<script", "<b>", "<!--", "<?php"):
        assert danger not in html


def test_the_conversation_has_everything_that_was_said() -> None:
    question = {"role": "user", "content": "What is it?", "attachments": [{"name": "a_b.png"}, {"name": "x.py"}]}
    answer = {"role": "assistant", "model": "tiny", "reasoning": "Round, <so>", "content": "A `circle`."}
    failed = {"role": "assistant", "content": "", "status": "failed", "error": "out of\nmemory"}
    assert conversation_markdown([question, answer, failed]) == (
        "**You**\n\nWhat is it?\n\n*Attached: a&#95;b.png, x.py*\n\n"
        "**tiny**\n\n<details><summary>Reasoning</summary>\n\nRound, &lt;so>\n\n</details>\n\nA `circle`.\n\n"
        "**Model**\n\n*Failed: out of memory*"
    )
    assert conversation_markdown([]) == "*Nothing has been said yet.*"
