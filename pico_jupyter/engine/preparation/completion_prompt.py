"""tokenize_completion(): tokenizes a prompt that the model continues without a chat template."""

from __future__ import annotations

from pico_jupyter.engine.formats.infill_format import InfillFormat
from pico_jupyter.engine.preparation.control_text import ControlText, free_mark
from pico_jupyter.engine.preparation.tokenized_text import TokenizedText, encode_pieces
from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import CompletionPrompt


def tokenize_completion(prompt: CompletionPrompt, name: str, tokenizer: Tokenizer, limit: int) -> TokenizedText:
    """The tokens of a prompt. Raises InvalidRequest for wrong tokens, and for a suffix that the model cannot use.

    Of a text with far more tokens than `limit`, only the beginning is encoded. `name` is the model's name in errors.
    """
    if prompt.tokens:
        return TokenizedText(*_known_tokens(prompt.tokens, tokenizer))
    first = tokenizer.first_tokens if prompt.special_tokens else []
    if not prompt.suffix:
        return encode_pieces([prompt.text], first, tokenizer, limit)
    infill = tokenizer.infill_format
    if infill is None:
        raise InvalidRequest(f"{name} does not support insert", param="suffix", model=name)
    return _tokenize_infill(prompt, infill, first, tokenizer, limit)


def end_tokens(prompt: CompletionPrompt, tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end the answer, besides those that always do: all special tokens of a text in the middle."""
    infill = tokenizer.infill_format
    if not prompt.suffix or infill is None:
        return frozenset()
    return frozenset(_ids(infill, tokenizer).values())


def _tokenize_infill(
    prompt: CompletionPrompt, infill: InfillFormat, first: list[int], tokenizer: Tokenizer, limit: int
) -> TokenizedText:
    prefix = _encode_literally(prompt.text, infill, tokenizer, limit)
    suffix = _encode_literally(prompt.suffix, infill, tokenizer, limit, is_continuation=True)
    ids = _ids(infill, tokenizer)
    marked_prefix, marked_suffix = [ids[infill.prefix], *prefix.tokens], [ids[infill.suffix], *suffix.tokens]
    parts = [marked_suffix, marked_prefix] if infill.suffix_first else [marked_prefix, marked_suffix]
    end = [ids[infill.middle]] if infill.middle else []
    tokens = [*first, *parts[0], *parts[1], *end]
    is_complete = prefix.is_complete and suffix.is_complete
    return TokenizedText(tokenizer.decode_all(tokens) if is_complete else "", tokens, is_complete=is_complete)


def _encode_literally(
    text: str, infill: InfillFormat, tokenizer: Tokenizer, limit: int, *, is_continuation: bool = False
) -> TokenizedText:
    """Encode the text of a file. Control tokens in it are plain text, so that a file may contain them."""
    literal = ControlText(tokenizer.control_tokens | frozenset(infill.tokens), free_mark(text))
    pieces = literal.escape(text).split(literal.mark)
    return encode_pieces(pieces, (), tokenizer, limit, is_continuation=is_continuation)


def _ids(infill: InfillFormat, tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of those tokens of a format that the vocabulary has, by their text."""
    added = tokenizer.added_token_ids("".join((*infill.tokens, *infill.ends)))
    return {text: added[text] for text in (*infill.tokens, *infill.ends) if text in added}


def _known_tokens(tokens: tuple[int, ...], tokenizer: Tokenizer) -> tuple[str, list[int]]:
    if any(not 0 <= token < tokenizer.vocab_size for token in tokens):
        text = f"prompt contains ids that are not among the model's {tokenizer.vocab_size} tokens"
        raise InvalidRequest(text, param="prompt")
    return tokenizer.decode_all(tokens), list(tokens)
