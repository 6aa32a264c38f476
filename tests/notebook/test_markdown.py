"""safe_markdown(): text of a model in renderers that sanitize nothing."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbconvert.filters import markdown2html

from pico_jupyter.notebook.markdown import fold, printable, safe_markdown

# Three renderers of different families. They sanitize nothing; nbconvert's renders javascript: links.
RENDERERS = (
    markdown2html,
    MarkdownIt("commonmark", {"html": True}).render,
    MarkdownIt("gfm-like", {"html": True, "linkify": False}).render,
)
LIVE = "live"
# Markdown never makes this tag: a renderer that shows it has rendered the model's HTML.
TAG = f"<{LIVE} x=1>"
PIECES = (
    *(TAG, f"</{LIVE}>", f"<!--{TAG}", "-->", "<pre>", "</pre>", "<details>", "<script>", "&lt;", "`", "``", "```"),
    *("````", "~~~", "\n", "\n\n", "\r", "\t", "  ", "    ", "- ", "1. ", "> ", "#", "***", "---", "|", "a", "*", "_"),
    *("\\", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{a}", "\\end{a}", "python"),
    *("![", "[", "](", ")", "](http://x.invalid/p.png)", "]: ", "javascript:", "java&#115;cript", "&colon;", "data:"),
)


class Html(HTMLParser):
    """The tags of some HTML, and the destinations of its links that run code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.live_links: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        links = (value or "" for name, value in attrs if name in ("href", "src"))
        self.live_links |= {link for link in links if link.strip().lower().startswith(("javascript:", "data:"))}

    def handle_endtag(self, tag: str) -> None:
        self.tags.add(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.add("comment")


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
@example(f"- ```\n  x\n  ```\n{TAG}")
@example(f"1. a\n       ```\n   ```\n{TAG}\n```\n{TAG}")
@example(f"``` a`b\n{TAG}\n```")
@example(f"\\`` {TAG} `` `")
@example(f"$$\n\n```\n{TAG}\n```\n\n$$")
@example("$![a](http://x.invalid/p.png)$")
@example(f"\\(\n> ~~~ \\)\n\n{TAG}")
@example(f"~~~\n```\n~~~\n{TAG}")
@example("[a](java&#115;cript:x)")
@example("[a](javascript\\:x)")
@example("[a]\n\n[a]:\n  javascript:x")
@example("$[a]`(javascript:x)$")
@example("    <script>\n")
@example(f"*\\begin{{a}}\n\n```\n\\end{{a}}\n\n{TAG}\n```")
@example(f"So $$\nx\n$$ and\n\n```\n$$\n\n{TAG}\n```")
@example(f"*\\(a\\)\\(b\\)\n\n```\n$$\n\n{TAG}\n```")
@example(f"*$a \\\\[ b$\n\n```\n\\\\]\n\n{TAG}\n```")
@example(f"[a\n\n```\n]: b\n\n{TAG}\n```")
@example(f"\\(`\\)\n\n```\n$$\n\n{TAG}\n```")
@example(f"*$$a\\$$\n\n```\n$$\n\n{TAG}\n```")
@pytest.mark.timeout(300)
def test_no_renderer_shows_html_or_images_of_the_model_or_links_that_run_code(text: str) -> None:
    for shown in (safe_markdown(text), fold(text, is_open=True)):
        for render in RENDERERS:
            html = Html(str(render(shown)))
            assert not html.tags & {LIVE, "img", "script", "comment"}, (shown, render)
            assert not html.live_links, (shown, render)


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
        ("It costs $5 or $6.", "It costs <span>&#36;</span>5 or <span>&#36;</span>6."),
        ("a\r\nb", "a\nb"),
        ("> ```py\n> a < b\n> ```", '> <pre><code class="language-py">a &#60; b</code></pre>'),
        ("Use:\n\n    if a < b:", "Use:\n\n\n```\nif a < b:\n```"),
        ("C:\\\\<user>", "C:&#92;&#60;user>"),
        ("\\begin{a}x<y\\end{a} \\begin{b}", "\\begin{a}x\\lt y\\end{a} <span>&#92;</span>begin{b}"),
        ("\\(a\\)\\(\\begin{a}b\\end{a}\\)", "$a$ $\\begin {a}b\\end{a}$"),
        ("So $$\na\n$$", "So $$ a $$"),
        ("[a](https://x/?q=a:b) [b](/c) [d](mailto:e@f)", "[a](https://x/?q=a:b) [b](/c) [d](mailto:e@f)"),
        ("[a](javascript:x)", "[a]&#40;javascript:x)"),
        ("[LOG]: x\n\n[a]: https://a.example", "&#91;LOG]: x\n\n[a]: https://a.example"),
    ],
)  # fmt: skip
def test_the_meaning_is_unchanged(text: str, shown: str) -> None:
    assert safe_markdown(text) == shown


def test_reasoning_is_folded_and_keeps_its_line_breaks() -> None:
    assert fold("12\n35\n\nso", is_open=False) == (
        "<details><summary>Thinking</summary>\n\n12  \n35\n\nso\n\n</details>"
    )
    assert fold("hm", is_open=True).startswith("<details open>")
    assert fold(" \n", is_open=True) == ""


def test_terminals_get_no_control_characters() -> None:
    assert printable("a\x1b[31m\x07b\n\tc\x9b1m") == "a[31mb\n\tc1m"
