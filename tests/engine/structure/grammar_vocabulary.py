"""A vocabulary of bytes, phrases and special tokens, and random walks through a grammar with it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from pico_jupyter.engine.structure.grammar import Literal, token_literal

# Tokens that end a value. A walk that has become long prefers them.
_ENDS = ('"', "}", "]", ")")
_LONG = 120
_TOO_LONG = 4000


class ByteVocabulary:
    """All bytes, some phrases, special tokens, and an end token. It is what token_literal and llguidance need."""

    bos_token_id = None

    def __init__(self, special: Sequence[str], phrases: Sequence[str] = ()) -> None:
        self._special = {text: 256 + index for index, text in enumerate(special)}
        self.eos_token_id = 256 + len(special)
        self.special_token_ids = [*self._special.values(), self.eos_token_id]
        first_phrase = self.eos_token_id + 1
        self.phrases = [text for text in ("</", *phrases) if text and not any(token in text for token in special)]
        self.phrase_ids = range(first_phrase, first_phrase + len(self.phrases))
        names = [*special, "<end>", *self.phrases]
        self.tokens = [*(bytes([value]) for value in range(256)), *(name.encode() for name in names)]
        self.ll = LLTokenizer(TokenizerWrapper(self))

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)

    def added_token_ids(self, text: str) -> dict[str, int]:
        return {name: token_id for name, token_id in self._special.items() if name in text}

    @property
    def literal(self) -> Literal:
        return token_literal(self, self.ll)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text: special tokens where their texts are, else bytes."""
        ids: list[int] = []
        while text:
            name = next((name for name in self._special if text.startswith(name)), "")
            ids += [self._special[name]] if name else list(text[0].encode())
            text = text[len(name) or 1 :]
        return ids

    def accepts(self, grammar: str, text: str) -> bool:
        matcher = self.matcher(grammar)
        ids = self.encode(text)
        return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()

    def matcher(self, grammar: str) -> LLMatcher:
        matcher = LLMatcher(self.ll, grammar, log_level=0)
        assert not matcher.is_error(), f"{matcher.get_error()}\n{grammar}"
        return matcher

    def walk(self, grammar: str, chance: random.Random) -> str:
        """A random text that the grammar accepts."""
        matcher = self.matcher(grammar)
        ids: list[int] = []
        while not matcher.is_stopped():
            bias = matcher.compute_logit_bias()
            allowed = [token_id for token_id, value in enumerate(bias) if value]
            token_id = self._choose(allowed, chance, is_long=len(ids) > _LONG)
            if token_id == self.eos_token_id:
                break
            assert matcher.consume_token(token_id), matcher.get_error()
            ids.append(token_id)
            assert len(ids) < _TOO_LONG, f"the walk does not end: {b''.join(self.tokens[i] for i in ids)[-200:]!r}"
        assert not matcher.is_error(), matcher.get_error()
        return b"".join(self.tokens[token_id] for token_id in ids).decode()

    def _choose(self, allowed: Sequence[int], chance: random.Random, *, is_long: bool) -> int:
        if is_long and self.eos_token_id in allowed:
            return self.eos_token_id
        phrases = [token_id for token_id in allowed if token_id >= 256]
        ends = [ord(text) for text in _ENDS if ord(text) in allowed][:1]
        if (phrases or ends) and chance.random() < (0.9 if is_long else 0.2):
            return chance.choice([*phrases, *ends])
        # Exponents lead to numbers that JSON parsers read as infinite.
        finite = [token_id for token_id in allowed if token_id not in (ord("e"), ord("E"))] or list(allowed)
        printable = [token_id for token_id in finite if 32 <= token_id < 127]
        return chance.choice(printable if printable and chance.random() < 0.7 else finite)
