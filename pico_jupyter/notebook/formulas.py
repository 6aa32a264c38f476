r"""Finds formulas in Markdown.

labextension/src/model/formulas.ts has the same rule; tests/panel/formulas.json tests both:

- Code has precedence over formulas: a formula contains no backtick and no fence.
- An opening sign has no letter or digit before it, a closing dollar sign has none after it. Scripts without blanks
  between words, for example Chinese, are exempt. `$` has no blank inside.
- A subscript, a superscript or a command alone is a formula inside a word too, for example CO$_2$ and n$\times$m.
- Text that reads as prose is no formula, for example `$5 or 10$` and `\[optional\]`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Delimiter: TypeAlias = Literal["$$", "$", ""]

# Scripts without blanks between words.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
WORD_SIGN = f"[^\\W_{UNSPACED}]"
WORD_BEFORE = re.compile(rf"[$]|{WORD_SIGN}")
MAX_URL = 300
IN_URL = re.compile(r"(?:\]\(|\]:\s*|://)[^\s()]*\Z")
PLAIN_WORD = re.compile(
    r"(?<![\\a-zA-Z])(?<![^\W\d_])(?!(?:cos|exp|lim|log|max|min|mod|sin|tan)(?![^\W\d_]))[^\W\d_]{3,}(?![^\W\d_]|\()"
)
# Words between blanks, the name of a variable of a shell, or a script without blanks.
PROSE = re.compile(rf"\A[A-Za-z_]\w{{2,}}[,;:.]|\A[A-Z][A-Z0-9_]{{2,}}\W|(?<=[\s(])[^\W\d_]{{2,}}(?=\s)|[{UNSPACED}]")
# Signs that only formulas have.
STRONG = re.compile(r"\\[a-zA-Z]|\^|_\{|(?<![^\W_])[^\W\d_]_[^\W_]|\s[=<>+*/≤≥≈-]\s")
FENCE_LINE = re.compile(r"\n[ \t]*~{3,}")
EMPTY_LINE = re.compile(r"\n[ \t]*\n")
# The closing dollar sign may be followed by the ending of a word such as "nth".
AFTER = rf"(?:(?=(?:th|st|nd|rd|s)(?!{WORD_SIGN}))|(?!{WORD_SIGN}|[$({{]))"
# What follows "_" or "^", in braces if it is longer than two signs.
SCRIPT = r"(?:\{(?:[^{}$`\n]|\{[^{}$`\n]*\}){1,99}\}|\\[a-zA-Z]{1,20}(?:\{[^{}$`\n]*\})?|[a-zA-Z0-9+-]{1,2})"
# The length of the longest display formula with its delimiters, in characters. The limit keeps the search linear.
MAX_FORMULA = 4050
FORMULA = re.compile(
    rf"\$\$(?!\s*[,;:!?)'\"/])(?P<display>(?:\\.|[^\\`$]|\$(?!\$)){{1,3999}}?)\$\${AFTER}"
    r"|\\\[(?P<bracketed>(?:\\[^\[\]]|[^\\`]){1,3999}?)\\\]"
    rf"|\$(?P<script>_{SCRIPT}(?:\^{SCRIPT})?|\^{SCRIPT}(?:_{SCRIPT})?)\$(?![\d$_({{])"
    r"|\$(?P<command>\\[a-zA-Z]{2,20})\$(?![$({])"
    rf"|\$(?![\s$.,;:!?)'\"/])(?P<inline>(?:\\[^\n]|[^\\`$\n]){{1,999}}?)(?<!\s)\${AFTER}"
    r"|\\\((?P<parenthesised>(?:\\[^()]|[^\\`]){1,999}?)\\\)"
    r"|(?P<environment>\\begin\{(?P<name>[a-zA-Z]*\*?)\}[^`]{0,3999}?\\end\{(?P=name)\})",
    re.DOTALL,
)
BLOCK_OPENING = re.compile(r" {0,3}(?=\$\$|\\\[|\\begin\{)")
BLOCK_ENDING = re.compile(r"[ \t]*[.,;:!?]?[ \t]*(?:\n|\Z)")
LONELY_OPENING = re.compile(r"(?:\$\$|\\\[|\\begin\{[^}\n]*\})[ \t]*\n")
CONTENT = re.compile(r"[^\W_]|\\")


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula. `delimiter` is "$$" for a display formula, "$" for one in a line, "" for an environment."""

    raw: str
    tex: str
    delimiter: Delimiter


def read_formula(text: str, position: int = 0) -> Formula | None:
    """Return the formula that begins at `position`, or None."""
    found = FORMULA.match(text, position)
    if found is None or (position and is_in_url(text, position)):
        return None
    before = text[position - 1] if position else ""
    inside_words = found["script"] or found["command"]
    if inside_words and before != "$":
        return Formula(found[0], inside_words, "$")
    if WORD_BEFORE.match(before):
        return None
    if FENCE_LINE.search(found[0]):
        return None
    if found["environment"] is not None:
        return Formula(found[0], found[0], "")
    bracketed = found["bracketed"] or found["parenthesised"]
    is_displayed = (found["display"] or found["bracketed"]) is not None
    tex = bracketed or found["display"] or found["inline"] or inside_words
    is_formula = _is_bracketed_formula(tex, is_displayed=is_displayed) if bracketed else _is_formula(tex)
    return Formula(found[0], tex, "$$" if is_displayed else "$") if is_formula else None


def is_in_url(text: str, position: int) -> bool:
    """Return whether the destination of a link continues at `position`."""
    return IN_URL.search(text, max(0, position - MAX_URL), position) is not None


def read_formula_block(text: str) -> str | None:
    """Return the lines of the display formula at the start of `text`, or None.

    A formula may contain empty lines only if its opening mark is alone on its line.
    """
    opening = BLOCK_OPENING.match(text)
    formula = read_formula(text[opening.end() :]) if opening else None
    if opening is None or formula is None:
        return None
    ending = BLOCK_ENDING.match(text, opening.end() + len(formula.raw))
    is_broken = EMPTY_LINE.search(formula.raw) and not LONELY_OPENING.match(formula.raw)
    return None if ending is None or is_broken else text[: ending.end()]


def _is_formula(tex: str) -> bool:
    """Return whether a text between dollar signs is a formula and not prose."""
    return bool(CONTENT.search(tex) and (STRONG.search(tex) or "=" in tex or not PROSE.search(tex)))


def _is_bracketed_formula(tex: str, *, is_displayed: bool) -> bool:
    r"""Return whether a text between escaped brackets is a formula. Such brackets can be text, for example `\[x\]`."""
    if not CONTENT.search(tex):
        return False
    is_mathematical = not is_displayed or re.search(r"\A\s|[=<>+]", tex)
    return bool(STRONG.search(tex) or (not PLAIN_WORD.search(tex) and is_mathematical))
