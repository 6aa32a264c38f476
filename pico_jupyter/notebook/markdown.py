"""Makes text of a model safe in every Markdown renderer: HTML is text, images are links, code remains code.

markdown-it finds the code. These invariants hold even if another renderer treats other text as code:

- A "<" of the model stays only inside fences that this module writes: at the start of a line, after an empty line, and
  longer than any fence in the code. All other code is written as entities.
- Backticks, tildes and dollar signs that could open code or a formula are entities. nbconvert 7.17 searches for
  formulas before fences: every formula is closed, and a display formula that starts inside a line is put on one line.
- A link needs a safe scheme or a relative destination. nbconvert 7.17 would render a javascript: link.

labextension/src/model/safeMarkdown.ts does the same; tests/panel/safe.json checks that both give the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# A formula of more than 999 characters is text, so that the search stays linear.
MATH = re.compile(
    r"\$\$(?P<block>.{1,999}?)(?<!\\)\$\$"
    r"|\\\[(?P<bracketed>.{1,999}?)\\\]"
    r"|\$(?![\s$])(?P<inline>[^$\n]{1,999}?)(?<![\s\\])\$(?![\d$])"
    r"|\\\((?P<parenthesised>.{1,999}?)\\\)"
    r"|(?P<environment>\\begin\{(?P<name>[a-zA-Z]*\*?)\}.{0,999}?\\end\{(?P=name)\})"
    r"|(?P<text>\$+|\\.)",
    re.DOTALL,
)
LANGUAGE = re.compile(r"[\w+#.-]+")
# Group 1 could open HTML, code, an image or a formula. Group 2 is a backslash that could open a formula.
LIVE = re.compile(r"\\?(<|`|~{3,}|!(?=\[)|\$)|\\(\\|(?=begin\{))|\\.", re.DOTALL)
# The "(" of a link or the ":" of a link definition, before a destination with another scheme or with escapes.
UNSAFE_LINK = re.compile(
    r"(?<=\])[(:](?=[\x00-\x20]*(?![\x00-\x20]|(?:https?|ftp|mailto|tel):)[^:&\\/?#()\"']*[:&\\])", re.IGNORECASE
)
# A link label that its block does not close. nbconvert would search for its end in a later fence.
OPEN_LABEL = re.compile(r"^( {0,3})\[(?=(?:[^\[\]\\]|\\.|\\\Z)*\Z)", re.MULTILINE | re.DOTALL)
# The opening of a display formula inside another formula. TeX ignores a space after it.
NESTED_OPENING = re.compile(r"(?<=.)(\\begin(?=\{)|\\\\(?=[\[(]))", re.DOTALL)
MARKUP = re.compile(r"[^\w ]")
# Terminals interpret these characters.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe_markdown(text: str, *, keeps_lines: bool = False) -> str:
    """`text`, safe to render. With `keeps_lines` every line break is a hard one."""
    normalized = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(_blocks(normalized, "  \n" if keeps_lines else "\n")).strip("\n")


def printable(text: str) -> str:
    """`text` without control characters, safe to print in a terminal."""
    return CONTROLS.sub("", text)


def fold(reasoning: str, *, is_open: bool) -> str:
    """Reasoning in a collapsible block; "" without reasoning."""
    if not reasoning.strip():
        return ""
    state = " open" if is_open else ""
    return f"<details{state}><summary>Thinking</summary>\n\n{safe_markdown(reasoning, keeps_lines=True)}\n\n</details>"


def _blocks(text: str, line_end: str) -> Iterator[str]:
    lines = text.split("\n")
    tokens: list[Token] = []
    PARSER.block.parse(text, PARSER, {}, tokens)
    position = 0
    for token in tokens:
        is_fence = token.type == "fence" or (token.type == "code_block" and token.level == 0)
        if token.map is not None and (is_fence or token.type == "inline"):
            start, end = token.map
            yield from map(_prose, lines[position:start])
            yield (
                _code(token, lines[start]) if is_fence else _prose("\n".join(lines[start:end])).replace("\n", line_end)
            )
            position = end
    yield from map(_prose, lines[position:])


def _code(token: Token, first_line: str) -> str:
    found = LANGUAGE.match(token.info.strip())
    language = found.group() if found else ""
    code = token.content.removesuffix("\n")
    if token.level:
        # On one line, so that it stays in its list item or quote in renderers that count indents differently.
        kind = f' class="language-{language}"' if language else ""
        prefix = first_line[: first_line.index(token.markup)]
        return f"{prefix}<pre><code{kind}>{_entities(code)}</code></pre>\n"
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 0)
    return f"\n{fence}{language}\n{code}\n{fence}\n"


def _prose(text: str) -> str:
    if not text.strip():
        return ""
    tokens: list[Token] = []
    PARSER.inline.parse(text, PARSER, {}, tokens)
    shown = ""
    for token in tokens:
        match token.type:
            case "code_inline":
                shown += f"<code>{_entities(token.content)}</code>"
            case "math":
                # Two formulas without a space between them would be read as one.
                shown += " " if shown.endswith("$") else ""
                shown += _formula(token, is_inside_line=shown != "" and not shown.endswith("\n"))
            case _:
                linked = UNSAFE_LINK.sub(lambda sign: _entities(sign[0]), token.content)
                shown += LIVE.sub(_live_entities, linked)
    return OPEN_LABEL.sub(r"\1&#91;", shown)


def _formula(token: Token, *, is_inside_line: bool) -> str:
    formula = UNSAFE_LINK.sub(lambda sign: f" {sign[0]}", LIVE.sub(_escape_in_formula, token.content))
    if token.markup != "$$":
        formula = NESTED_OPENING.sub(r"\1 ", token.markup + formula)[len(token.markup) :]
    elif is_inside_line:
        formula = re.sub(r"\s*\n[\s>]*", " ", formula)
    if not formula.strip():
        return ""
    # A backslash would escape the closing dollar sign.
    return f"{token.markup}{formula}{' ' if formula.endswith(chr(92)) else ''}{token.markup}"


def _live_entities(markup: re.Match[str]) -> str:
    if markup[1]:
        return _entities(markup[1])
    return markup[0] if markup[2] is None else "&#92;"


def _escape_in_formula(markup: re.Match[str]) -> str:
    r"""Replace "<" by \lt, and remove backticks and dollar signs, which TeX does not need.

    Add a space after each other character, so that it opens nothing.
    """
    if not markup[1]:
        return markup[0]
    return r"\lt " if markup[1] == "<" else " ".join((*markup[1].strip("$`"), ""))


def _entities(text: str) -> str:
    return MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _math(state: StateInline, silent: bool) -> bool:
    """The inline rule for formulas. Escaped characters and single dollar signs remain text."""
    found = MATH.match(state.src, state.pos)
    if found is None:
        return False
    if found["text"] is not None:
        state.pending += found["text"]
    else:
        displayed = found["block"] or found["bracketed"]
        inline = found["inline"] or found["parenthesised"]
        token = state.push("math", "", 0)
        token.markup = "$$" if displayed else "$" if inline else ""
        token.content = displayed or (inline.strip() if inline else found["environment"])
    state.pos = found.end()
    return True


PARSER = MarkdownIt("zero").enable(["fence", "code", "list", "blockquote", "heading", "hr", "backticks"])
PARSER.inline.ruler.before("backticks", "math", _math)
