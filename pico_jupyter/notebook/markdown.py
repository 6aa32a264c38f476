"""Makes text of a model safe in every Markdown renderer: HTML becomes text, images become links, code remains code.

markdown-it finds the code. These invariants hold even in renderers that find code in other places:

- A "<" of the model remains only in fences that this module writes. Such a fence is at the start of a line, after an
  empty line, and longer than any fence in the code. Markup in other code is replaced by entities.
- Backticks, tildes and dollar signs that could open code, struck text or a formula are replaced by entities. A dollar
  sign has its own HTML element, because MathJax searches the text of rendered pages for formulas.
- Every formula is closed, because nbconvert 7.17 searches for formulas before fences. A display formula inside a line,
  or with lines that Markdown could read as blocks, has no line breaks.
- A link has a safe scheme or a relative destination, because nbconvert 7.17 renders javascript: links.

labextension/src/model/safeMarkdown.ts does the same; tests/panel/safe.json checks that both give the same result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from pico_jupyter.notebook.formulas import MAX_FORMULA, Delimiter, is_in_url, read_formula, read_formula_block

LANGUAGE = re.compile(r"[\w+#.-]+")
# Group 1 could open HTML, code, an image or a formula. Group 2 is a backslash that could open a formula.
LIVE = re.compile(r"\\?(<|`|~{3,}|(?<!~)~(?!~)|!(?=\[)|\$)|\\(\\|(?=begin\{))|\\.", re.DOTALL)
# The "(" of a link or the ":" of a link definition, before a destination with an unsafe scheme or with escapes.
UNSAFE_LINK = re.compile(
    r"(?<=\])[(:](?=[\x00-\x20]*(?![\x00-\x20]|(?:https?|ftp|mailto|tel):)[^:&\\/?#()\"']*[:&\\])", re.IGNORECASE
)
# A "[" at the start of a line without a matching "]" in its block. nbconvert would match a "]" in a later fence.
OPEN_LABEL = re.compile(r"^( {0,3})\[(?=(?:[^\[\]\\]|\\.|\\\Z)*\Z)", re.MULTILINE | re.DOTALL)
# The start of a display formula inside another formula. A space disables it in renderers, and TeX ignores the space.
NESTED_OPENING = re.compile(r"(?<=.)(\\begin(?=\{)|\\\\(?=[\[(]))", re.DOTALL)
# The label of text that only looks like a link definition. Renderers would hide it.
NO_DEFINITION = re.compile(
    r"^([ \t>*+.)\d-]*)\[(?=(?:[^\[\]\\\n]|\\.)+\]:)(?:(?=\^)|(?![^\]]*\]:\s*<?(?:https?:|mailto:|#|\.{0,2}/)))",
    re.IGNORECASE | re.MULTILINE,
)
FORMULA_OPENING = re.compile(r"\\?[(\[]|begin\{")
# A line of a formula that Markdown could read as a block.
BLOCK_SIGN = re.compile(r"\n[ \t]*(?:\n|[-+*>#=|]|\d+[.)])")
FORMULA_BLOCK_SIGNS = ("$$", "\\[", "\\begin{")
PLAIN = re.compile(r"\$+|\\.", re.DOTALL)
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
        if token.map is not None and (is_code or token.type in ("inline", "formula_block")):
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
    if language == "math" and read_formula(formula := f"$$\n{code}\n$$"):
        return f"\n{_prose(formula)}\n"
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
            case "formula":
                # Without a space between them, two formulas would be rendered as one.
                shown += " " if shown.endswith("$") else ""
                line_before = shown[shown.rfind("\n") + 1 :]
                # _formula_rule sets the markup to a Delimiter, and markdown-it-py types it as str.
                shown += _formula(token.content, token.markup, line_before=line_before)  # type: ignore[arg-type]
            case _:
                linked = UNSAFE_LINK.sub(lambda sign: _entities(sign[0]), token.content)
                shown += LIVE.sub(_live_entities, linked)
    return NO_DEFINITION.sub(r"\1&#91;", OPEN_LABEL.sub(r"\1&#91;", shown))


def _formula(tex: str, delimiter: Delimiter, *, line_before: str) -> str:
    """Return a formula that is safe to render. `line_before` is the text before it in its line."""
    shown = UNSAFE_LINK.sub(r" \g<0>", LIVE.sub(_escape_in_formula, tex))
    if delimiter != "$$":
        # NESTED_OPENING matches only after another character. The opening dollar sign is that character here.
        shown = NESTED_OPENING.sub(r"\1 ", delimiter + shown)[len(delimiter) :]
    if (delimiter == "$$" and line_before) or BLOCK_SIGN.search(shown):
        without_comments = re.sub(r"(?<!\\)%[^\n]*", "", shown)
        shown = re.sub(r"\s*\n[\s>]*" if ">" in line_before else r"\s*\n\s*", " ", without_comments)
    if not shown.strip():
        return ""
    # A backslash at the end would escape the closing dollar sign.
    space = " " if shown.endswith("\\") else ""
    return f"{delimiter}{shown}{space}{delimiter}"


def _live_entities(markup: re.Match[str]) -> str:
    """Replace group 1 or 2 of LIVE by entities. Other escaped characters stay."""
    if markup[0] == "~" and is_in_url(markup.string, markup.start()):
        return "~"
    if markup[1]:
        is_alone = markup[1] == "$" and not is_in_url(markup.string, markup.start())
        return _apart("$") if is_alone else _entities(markup[1])
    if markup[2] is None:
        return markup[0]
    return _apart("\\") if FORMULA_OPENING.match(markup.string, markup.end()) else "&#92;"


def _apart(sign: str) -> str:
    """Return a sign in its own HTML element, because MathJax searches the text of rendered pages for formulas."""
    return f"<span>{_entities(sign)}</span>"


def _escape_in_formula(markup: re.Match[str]) -> str:
    r"""Replace "<" by \lt and "\$" by its character code. Remove backticks and other dollar signs.

    Add a space after "!" and each "~", so that they do not start an image or code.
    """
    if not markup[1]:
        return markup[0]
    if markup[0] == r"\$":
        return r"\unicode{36}"
    return r"\lt " if markup[1] == "<" else " ".join((*markup[1].strip("$`"), ""))


def _entities(text: str) -> str:
    return MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)


def _formula_rule(state: StateInline, silent: bool) -> bool:
    """The inline rule for formulas. Escaped characters and other dollar signs remain text."""
    formula = read_formula(state.src, state.pos)
    if formula is not None:
        token = state.push("formula", "", 0)
        token.markup = formula.delimiter
        token.content = formula.tex.strip() if formula.delimiter == "$" else formula.tex
        state.pos += len(formula.raw)
        return True
    plain = PLAIN.match(state.src, state.pos)
    if plain is None:
        return False
    state.pending += plain[0]
    state.pos = plain.end()
    return True


def _formula_block_rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """The block rule for display formulas, whose lines Markdown could read as lists or headings."""
    position = state.bMarks[start] + state.tShift[start]
    if state.is_code_block(start) or not state.src.startswith(FORMULA_BLOCK_SIGNS, position):
        return False
    last = start + 1
    while (
        last < end
        and state.bMarks[last] - position < MAX_FORMULA
        and (state.isEmpty(last) or state.sCount[last] >= state.blkIndent)
    ):
        last += 1
    lines = read_formula_block(state.getLines(start, last, state.blkIndent, False))
    if lines is None:
        return False
    if not silent:
        state.line = start + lines.removesuffix("\n").count("\n") + 1
        state.push("formula_block", "", 0).map = [start, state.line]
    return True


PARSER = MarkdownIt("zero").enable(["fence", "code", "list", "blockquote", "heading", "hr", "backticks"])
PARSER.inline.ruler.before("backticks", "formula", _formula_rule)
PARSER.block.ruler.before("code", "formula_block", _formula_block_rule, {"alt": ["paragraph", "blockquote", "list"]})
