"""Makes text of a model safe in every Markdown renderer: HTML becomes text, images become links, code remains code.

markdown-it finds the code. These invariants hold even in renderers that find code in other places:

- A "<" of the model remains only in fences that this module writes. Such a fence is at the start of a line, after an
  empty line, and longer than any fence in the code. Markup in other code is replaced by entities.
- Backticks, tildes and dollar signs that could open code or a formula are replaced by entities. nbconvert 7.17 searches
  for formulas before fences. So every formula is closed, and a display formula inside a line has no line breaks.
- A link has a safe scheme or a relative destination, because nbconvert 7.17 renders javascript: links.

labextension/src/model/safeMarkdown.ts does the same; tests/panel/safe.json checks that both give the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# A formula of more than 999 characters remains text, so that the search takes linear time.
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
# A "[" at the start of a line whose block has no "]" for it. nbconvert would find the "]" in a later fence.
OPEN_LABEL = re.compile(r"^( {0,3})\[(?=(?:[^\[\]\\]|\\.|\\\Z)*\Z)", re.MULTILINE | re.DOTALL)
# The start of a display formula inside another formula. A space disables it in renderers, and TeX ignores the space.
NESTED_OPENING = re.compile(r"(?<=.)(\\begin(?=\{)|\\\\(?=[\[(]))", re.DOTALL)
MARKUP = re.compile(r"[^\w ]")
# Terminals interpret these characters.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe_markdown(text: str, *, keeps_lines: bool = False) -> str:
    """Return `text` as Markdown that is safe to render. With `keeps_lines`, the rendered text has the same lines."""
    normalized = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(_blocks(normalized, "  \n" if keeps_lines else "\n")).strip("\n")


def printable(text: str) -> str:
    """Return `text` without control characters. The result is safe to print in a terminal."""
    return CONTROLS.sub("", text)


def fold(reasoning: str, *, is_open: bool) -> str:
    """Return a collapsible block with the reasoning, or "" if it is blank."""
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
        is_code = token.type == "fence" or (token.type == "code_block" and token.level == 0)
        if token.map is not None and (is_code or token.type == "inline"):
            start, end = token.map
            yield from map(_prose, lines[position:start])
            if is_code:
                yield _code(token, lines[start])
            else:
                yield _prose("\n".join(lines[start:end])).replace("\n", line_end)
            position = end
    yield from map(_prose, lines[position:])


def _code(token: Token, first_line: str) -> str:
    found = LANGUAGE.match(token.info.strip())
    language = found.group() if found else ""
    code = token.content.removesuffix("\n")
    if token.level:
        # Code in a list item or a quote is written on one line, because renderers count its indent differently.
        kind = f' class="language-{language}"' if language else ""
        prefix = first_line[: first_line.index(token.markup)]
        return f"{prefix}<pre><code{kind}>{_entities(code)}</code></pre>\n"
    longest = max(map(len, re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
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
                # Without a space between them, two formulas would be rendered as one.
                shown += " " if shown.endswith("$") else ""
                shown += _formula(token, is_inside_line=shown != "" and not shown.endswith("\n"))
            case _:
                linked = UNSAFE_LINK.sub(lambda sign: _entities(sign[0]), token.content)
                shown += LIVE.sub(_live_entities, linked)
    return OPEN_LABEL.sub(r"\1&#91;", shown)


def _formula(token: Token, *, is_inside_line: bool) -> str:
    formula = UNSAFE_LINK.sub(r" \g<0>", LIVE.sub(_escape_in_formula, token.content))
    if token.markup != "$$":
        # NESTED_OPENING matches only after another character. The opening dollar sign is that character here.
        formula = NESTED_OPENING.sub(r"\1 ", token.markup + formula)[len(token.markup) :]
    elif is_inside_line:
        formula = re.sub(r"\s*\n[\s>]*", " ", formula)
    if not formula.strip():
        return ""
    # A backslash at the end would escape the closing dollar sign.
    space = " " if formula.endswith("\\") else ""
    return f"{token.markup}{formula}{space}{token.markup}"


def _live_entities(markup: re.Match[str]) -> str:
    """Replace group 1 or 2 of LIVE by entities. Other escaped characters stay."""
    if markup[1]:
        return _entities(markup[1])
    return markup[0] if markup[2] is None else "&#92;"


def _escape_in_formula(markup: re.Match[str]) -> str:
    r"""Replace "<" by \lt, and remove backticks and dollar signs, which TeX does not need.

    Add a space after "!" and each "~", so that they start no image and no code.
    """
    if not markup[1]:
        return markup[0]
    return r"\lt " if markup[1] == "<" else " ".join((*markup[1].strip("$`"), ""))


def _entities(text: str) -> str:
    return MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _math(state: StateInline, silent: bool) -> bool:
    """Find a formula, as an inline rule of markdown-it. Escaped characters and unmatched dollar signs remain text."""
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
