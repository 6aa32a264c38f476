"""TokenizedText: a text with its tokens. encode_pieces() encodes a text, or only the beginning of a long text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.text.tokenizer import Tokenizer

# In characters. A longer text is first encoded in pieces of this size, to find out whether it exceeds the context.
# Encoding 30 MB in one call takes minutes and gigabytes.
LARGE_TEXT = 64 * 1024
# A text that control tokens cut into more pieces is checked in the same way.
MANY_PIECES = 1024


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text and its tokens.

    `is_complete` is false if the text is too long and only its beginning was encoded. `last_piece` is the end of the
    text that was encoded in one piece; None for the whole text.
    """

    text: str
    tokens: list[int]
    is_complete: bool = True
    media: Media | None = None
    last_piece: str | None = None

    @property
    def end(self) -> str:
        """The last piece of the text. All control tokens in it are from the template."""
        return self.text if self.last_piece is None else self.last_piece


def encode_pieces(
    pieces: Sequence[str], context: Sequence[int], tokenizer: Tokenizer, limit: int, *, is_continuation: bool = False
) -> TokenizedText:
    """Encode pieces of a text separately and prepend `context`.

    If the text has far more tokens than `limit`, encode only its beginning. `is_continuation`: other text precedes it.
    """
    text = "".join(pieces)
    beginning = [*context]
    if len(text) > LARGE_TEXT or len(pieces) > MANY_PIECES:
        for piece in _cut_pieces(pieces):
            beginning += tokenizer.encode(piece, add_special_tokens=False)
            # Splitting can add tokens, so a count slightly above `limit` does not prove that the text is too long.
            if len(beginning) > 2 * limit:
                return TokenizedText(text, beginning, is_complete=False)
    tokens = [*context]
    if not is_continuation:
        tokens += tokenizer.encode(pieces[0], add_special_tokens=False)
    for piece in pieces if is_continuation else pieces[1:]:
        tokens += tokenizer.encode_continuation(piece)
    return TokenizedText(text, tokens, last_piece=pieces[-1])


def _cut_pieces(pieces: Sequence[str]) -> Iterator[str]:
    for piece in pieces:
        yield from (piece[start : start + LARGE_TEXT] for start in range(0, len(piece), LARGE_TEXT))
