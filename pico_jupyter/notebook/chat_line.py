"""ChatLine: allows `%chat` lines that end in a question mark.

IPython reads "%chat What is my name?" as a request for help on `name`. ChatLine rewrites the line before that.
"""

from __future__ import annotations

import tokenize
from tokenize import TokenInfo

from IPython.core.inputtransformer2 import (
    HelpEnd,
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

LAYOUT = (tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER)


class ChatLine(TokenTransformBase):
    """Rewrites a `%chat` line that ends in a question mark as a call. `%chat?` still shows the help."""

    priority = HelpEnd.priority - 1

    @classmethod
    def find(cls, tokens_by_line: list[list[TokenInfo]]) -> ChatLine | None:
        """See TokenTransformBase.find."""
        for line in tokens_by_line:
            tokens = [token for token in line if token.type not in LAYOUT]
            words = [token.string for token in tokens]
            if words[:2] == ["%", "chat"] and words[-1] == "?" and words[2] != "?":
                return cls(tokens[0].start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """See TokenTransformBase.transform."""
        start = (self.start_line, self.start_col)
        end = find_end_of_continued_line(lines, self.start_line)
        _, _, question = assemble_continued_line(lines, start, end).partition("chat")
        call = f"get_ipython().run_line_magic('chat', {question.strip()!r})\n"
        return [*lines[: self.start_line], lines[self.start_line][: self.start_col] + call, *lines[end + 1 :]]
