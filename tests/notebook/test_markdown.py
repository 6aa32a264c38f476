"""Text of a model, in renderers that would let anything through."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbconvert.filters import markdown2html

from pico_jupyter.notebook.markdown import fold, printable, safe_markdown

# Three renderers of different families; none of them cleans what it renders.
RENDERERS = (
    markdown2html,
    MarkdownIt("commonmark", {"html": True}).render,
    MarkdownIt("gfm-like", {"html": True, "linkify": False}).render,
)
LIVE = "live"
# A tag that no Markdown makes stands for all that could be live.
TAG = f"<{LIVE} x=1>"
PIECES = (
    *(TAG, f"</{LIVE}>", f"<!--{TAG}", "-->", "<pre>", "</pre>", "<details>", "<script>", "&lt;", "`", "``", "```"),
    *("````", "~~~", "\n", "\n\n", "\r", "\t", "  ", "    ", "- ", "1. ", "> ", "#", "***", "---", "|", "a", "*", "_"),
    *("\\", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{a}", "\\end{a}", "python"),
    *("![", "[", "](", ")", "](http://x.invalid/p.png)"),
)


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)

    def handle_endtag(self, tag: str) -> None:
        self.found.add(tag)

    def handle_comment(self, data: str) -> None:
        self.found.add("comment")


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
@example(f"- ```\n  x\n  ```\n{TAG}")
@example(f"1. a\n       ```\n   ```\n{TAG}\n```\n{TAG}")
@example(f"``` a`b\n{TAG}\n```")
@example(f"\\`` {TAG} `` `")
@example(f"$$\n\n```\n{TAG}\n```\n\n$$")
@example("$![a](http://x.invalid/p.png)$")
@example(f"\\(\n> ~~~ \\)\n\n{TAG}")
@example(f"~~~\n```\n~~~\n{TAG}")
@pytest.mark.timeout(300)
def test_no_renderer_makes_anything_live_of_it(text: str) -> None:
    for shown in (safe_markdown(text), fold(text, is_open=True)):
        for render in RENDERERS:
            found = Tags(str(render(shown))).found
            assert not found & {LIVE, "img", "script", "comment"}, (shown, render)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Plain *text* with a [link](https://example.com).", "Plain *text* with a [link](https://example.com)."),
        ("a < b and <b>bold</b>", "a &#60; b and &#60;b>bold&#60;/b>"),
        ("![a cat](http://x/cat.png) wow!", "&#33;[a cat](http://x/cat.png) wow!"),
        ("Use `List<int>` and ``a ` b``.", "Use <code>List&#60;int&#62;</code> and <code>a &#96; b</code>."),
        ("```python\nif a < b:\n    pass\n```", "```python\nif a < b:\n    pass\n```"),
        ("x\n```\n~~~\n<b>\n```\ny", "x\n\n```\n~~~\n<b>\n```\n\ny"),
        ("````md\n```\nx\n```\n````", "````md\n```\nx\n```\n````"),
        ("```py\nstill being writ", "```py\nstill being writ\n```"),
        ("1. Do:\n   ```\n   ls <a>\n   ```", "1. Do:\n   <pre><code>ls &#60;a&#62;</code></pre>"),
        ("- ```sh\n  ls\n  ```", '- <pre><code class="language-sh">ls</code></pre>'),
        ("$a<b$ and \\(c<d\\)", "$a\\lt b$ and $c\\lt d$"),
        ("\\[\nx<y\n\\]", "$$\nx\\lt y\n$$"),
        ("It costs $5 or $6.", "It costs &#36;5 or &#36;6."),
        ("a\r\nb", "a\nb"),
    ],
)  # fmt: skip
def test_it_means_what_it_meant(text: str, shown: str) -> None:
    assert safe_markdown(text) == shown


def test_thinking_is_folded_and_keeps_its_lines() -> None:
    assert fold("12\n35\n\nso", is_open=False) == (
        "<details><summary>Thinking</summary>\n\n12  \n35\n\nso\n\n</details>"
    )
    assert fold("hm", is_open=True).startswith("<details open>")
    assert fold(" \n", is_open=True) == ""


def test_terminals_are_told_nothing() -> None:
    assert printable("a\x1b[31m\x07b\n\tc\x9b1m") == "a[31mb\n\tc1m"
