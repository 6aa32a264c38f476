"""Text of a model made safe to show anywhere: its HTML is text, its pictures are links, its code is code.

Invariant: of what the model wrote, a "<" is left as it is only inside fences that this module writes, at the beginning
of a line and behind an empty one, where every renderer sees a fence. All other backticks and tildes that could open
code are written as entities, so no renderer can be of another opinion about where code begins and ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FENCE = re.compile(
    r"(?P<indent>[ \t]*)(?P<marker>(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)"
)
# Longer ones are taken for prose, so that no text takes long.
SPAN = re.compile(
    r"(?<![`\\])(?P<ticks>`+)(?!`)(?P<code>.{1,999}?)(?<!`)(?P=ticks)(?!`)"
    r"|(?<!\\)\$\$(?P<block>.{1,999}?)\$\$"
    r"|\\\[(?P<bracketed>.{1,999}?)\\\]"
    r"|(?<![\\$])\$(?![\s$])(?P<inline>[^$\n]{1,999}?)(?<![\s\\])\$(?![\d$])"
    r"|\\\((?P<parenthesised>.{1,999}?)\\\)",
    re.DOTALL,
)
LANGUAGE = re.compile(r"[\w+#.-]+")
# What could open HTML, code, a picture or a formula; a backslash in front would escape the "&" of the entity.
LIVE = re.compile(r"\\?(<|`|~{3,}|!(?=\[)|\$)")
MARKUP = re.compile(r"[^\w ]")
# What a terminal obeys; a model may have read it anywhere.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe_markdown(text: str, *, keeps_lines: bool = False) -> str:
    """`text`, safe to render. With `keeps_lines` a line ends where it ended, as in a poem."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(_blocks(lines, "  \n" if keeps_lines else "\n")).strip("\n")


def printable(text: str) -> str:
    """`text`, safe to print in a terminal."""
    return CONTROLS.sub("", text)


def fold(reasoning: str, *, is_open: bool) -> str:
    """Thinking in a block that opens with a click; "" where there is none."""
    if not reasoning.strip():
        return ""
    state = " open" if is_open else ""
    return f"<details{state}><summary>Thinking</summary>\n\n{safe_markdown(reasoning, keeps_lines=True)}\n\n</details>"


def _blocks(lines: list[str], line_end: str) -> Iterator[str]:
    paragraph: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        opening = FENCE.fullmatch(line)
        if opening is None and line.strip():
            paragraph.append(line)
            continue
        if paragraph:
            yield _prose(paragraph, line_end)
            paragraph = []
        if opening is None:
            yield ""
        else:
            end = _closing(lines, index, opening)
            yield _code(opening, lines[index:end])
            index = end + 1
    if paragraph:
        yield _prose(paragraph, line_end)


def _closing(lines: list[str], start: int, opening: re.Match[str]) -> int:
    """Where the fence ends: at a line of marks like its own, or with the text."""
    mark = opening["mark"]
    for index in range(start, len(lines)):
        line = lines[index].strip()
        if len(line) >= len(mark) and not line.strip(mark[0]):
            return index
    return len(lines)


def _code(opening: re.Match[str], lines: list[str]) -> str:
    found = LANGUAGE.match(opening["info"])
    language = found.group() if found else ""
    if opening["indent"] or opening["marker"]:
        return _indented_code(opening, language, lines)
    code = "\n".join(lines)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 0)
    return f"\n{fence}{language}\n{code}\n{fence}\n"


def _indented_code(opening: re.Match[str], language: str, lines: list[str]) -> str:
    """Code in a list item. On one line, so that it stays there however a renderer counts blanks."""
    indent = len((opening["indent"] + (opening["marker"] or "")).expandtabs(4))
    dedented = [re.sub(rf"^ {{0,{indent}}}", "", line.expandtabs(4)) for line in lines]
    kind = f' class="language-{language}"' if language else ""
    prefix = opening["indent"] + (opening["marker"] or "")
    return f"{prefix}<pre><code{kind}>{_as_entities(chr(10).join(dedented))}</code></pre>\n"


def _prose(lines: list[str], line_end: str) -> str:
    paragraph = "\n".join(lines)
    parts: list[str] = []
    position = 0
    for span in SPAN.finditer(paragraph):
        parts += [_escape(paragraph[position : span.start()]), _span(span)]
        position = span.end()
    return "".join([*parts, _escape(paragraph[position:])]).replace("\n", line_end)


def _span(span: re.Match[str]) -> str:
    if span["code"] is not None:
        code = span["code"].replace("\n", " ")
        is_padded = code.startswith(" ") and code.endswith(" ") and code.strip()
        return f"<code>{_as_entities(code[1:-1] if is_padded else code)}</code>"
    displayed = span["block"] or span["bracketed"]
    formula = displayed or span["inline"] or span["parenthesised"]
    formula = formula.strip() if displayed is None else formula
    mark = "$" if displayed is None else "$$"
    return f"{mark}{LIVE.sub(_in_formula, formula)}{mark}"


def _in_formula(live: re.Match[str]) -> str:
    """TeX has a word for the one; the others it has no use for, and they are kept apart from what follows."""
    return r"\lt " if live[1] == "<" else " ".join((*live[1].strip("$`"), ""))


def _escape(text: str) -> str:
    return LIVE.sub(lambda live: _as_entities(live[1]), text)


def _as_entities(text: str) -> str:
    return MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", text)
