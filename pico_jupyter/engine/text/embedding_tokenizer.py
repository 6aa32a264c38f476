"""EmbeddingTokenizer: turns texts into the tokens of an embedding model, and cuts long texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, ModelLoadFailed

# If a text may be cut, at most this many of its characters are encoded for each token of the context, because encoding
# 30 MB takes minutes.
_CHARACTERS_PER_TOKEN = 32


class EmbeddingTokenizer:
    """The tokenizer in tokenizer.json, with the special tokens that it adds around a text. Thread-safe."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()

    def __repr__(self) -> str:
        return f"<EmbeddingTokenizer [{self.vocab_size} tokens]>"

    def encode(self, text: str | Sequence[int], limit: int, param: str, *, truncate: bool) -> list[int]:
        """The tokens of a text, at most `limit`. A text that is given as tokens is returned as it is.

        A longer text is cut if `truncate` is set. Its special tokens at the end are kept. Raises InvalidRequest and
        ContextLengthExceeded, which name the request field `param`.
        """
        if isinstance(text, str):
            tokens, ending = self._encode(text, limit)
        else:
            tokens, ending = self._check(text, param), 0
        if not tokens:
            raise InvalidRequest(f"{param} is empty", param=param)
        if len(tokens) <= limit:
            return tokens
        if not truncate:
            reason = f"{param} has more tokens than the model's maximum context length of {limit}"
            raise ContextLengthExceeded(reason, param=param)
        return tokens[: limit - ending] + tokens[len(tokens) - ending :]

    def _encode(self, text: str, limit: int) -> tuple[list[int], int]:
        """The tokens of a text, and the number of special tokens at its end. A very long text is cut first."""
        beginning = text[: _CHARACTERS_PER_TOKEN * limit]
        encoding = self._tokenizer.encode(beginning)
        if len(encoding.ids) <= limit and len(beginning) < len(text):
            encoding = self._tokenizer.encode(text)
        mask = encoding.special_tokens_mask
        ending = next((index for index, is_special in enumerate(reversed(mask)) if not is_special), 0)
        return encoding.ids, ending

    def _check(self, tokens: Sequence[int], param: str) -> list[int]:
        for token in tokens:
            if not 0 <= token < self.vocab_size:
                reason = (
                    f"{param}: token {token} is not one of the model's {self.vocab_size} tokens. Tokens must be those "
                    "of this model; LangChain's OpenAIEmbeddings sends text with check_embedding_ctx_length=False"
                )
                raise InvalidRequest(reason, param=param)
        return list(tokens)


def load_embedding_tokenizer(path: Path) -> EmbeddingTokenizer:
    """Load the tokenizer of the model folder `path`. Raises ModelLoadFailed."""
    try:
        return EmbeddingTokenizer(tokenizers.Tokenizer.from_file(str(path / "tokenizer.json")))
    except Exception as error:  # tokenizers raises a plain Exception for a file that it cannot use
        raise ModelLoadFailed(f"the tokenizer cannot be loaded: {error}") from error
