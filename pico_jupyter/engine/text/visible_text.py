"""VisibleText: decodes the tokens of one answer to the text that the parser reads."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Protocol

from pico_jupyter.engine.formats.output_format import OutputFormat


class ParserTokenizer(Protocol):
    """The part of a Tokenizer that the parser uses."""

    @property
    def output_format(self) -> OutputFormat:
        """The tags in the model's output."""

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Tokens whose text is not part of an answer."""

    @property
    def strips_leading_space(self) -> bool:
        """Whether decoding removes the first space of a text."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token."""


class VisibleText:
    """Decodes tokens. Special tokens are omitted, unless they may be part of one of `tags`.

    With `strips_space`, the first space of the answer is removed. `special_texts` are the special tokens that were not
    omitted. The caller removes them from text that it does not parse as a tag.
    """

    def __init__(self, tokenizer: ParserTokenizer, tags: Iterable[str], *, strips_space: bool) -> None:
        self.special_texts: set[str] = set()
        self._token_bytes = tokenizer.token_bytes
        self._special_token_ids = tokenizer.special_token_ids
        self._tags = tuple(tags)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # Whether the decoder holds an incomplete character, and the cached texts of tokens with complete characters.
        self._is_partial = False
        self._texts: dict[int, str] = {}
        self._strips_space = strips_space

    def decode(self, token_id: int, keeps_special: bool) -> str:
        """The text that a token completes. `keeps_special`: special tokens are not omitted."""
        text = self._texts.get(token_id)
        if text is not None and not self._is_partial:
            return text
        data = self._token_bytes(token_id)
        if token_id in self._special_token_ids and not self._is_visible(data, keeps_special):
            return ""
        return self._decode(token_id, data)

    def _decode(self, token_id: int, data: bytes) -> str:
        was_partial = self._is_partial or self._strips_space
        text = self._without_first_space(self._decoder.decode(data))
        self._is_partial = bool(self._decoder.getstate()[0])
        is_special = token_id in self._special_token_ids
        if not (was_partial or self._is_partial or is_special or "\ufffd" in text):
            self._texts[token_id] = text
        return text

    def decode_end(self) -> str:
        """The text of an incomplete character at the end of the answer."""
        return self._without_first_space(self._decoder.decode(b"", final=True))

    def _is_visible(self, data: bytes, keeps_special: bool) -> bool:
        special = data.decode("utf-8", "replace")
        if not special or not (keeps_special or any(special in tag for tag in self._tags)):
            return False
        self.special_texts.add(special)
        return True

    def _without_first_space(self, text: str) -> str:
        if not text or not self._strips_space:
            return text
        self._strips_space = False
        return text.removeprefix(" ")
