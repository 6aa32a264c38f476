"""TokenDecoder: the exact bytes of each token, according to the decoder in tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BYTE_TOKEN_LENGTH = len("<0xFF>")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's table from characters to bytes. Byte-level vocabularies write each byte as one printable character."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(256 + offset): byte for offset, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


BYTE_ALPHABET = _byte_alphabet()


@dataclass(frozen=True, slots=True, repr=False)
class TokenDecoder:
    """Maps token ids to bytes.

    `token_of` maps an id to its token, and `bytes_of` a token to its bytes. `added` maps added tokens to their bytes.
    With `strips_leading_space`, encoding adds a space before each text, and decoding removes this space.
    """

    name: str
    token_of: Callable[[int], str | None]
    bytes_of: Callable[[str], bytes]
    added: Mapping[int, bytes]
    strips_leading_space: bool = False

    def __repr__(self) -> str:
        return f"<TokenDecoder [{self.name}]>"

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token; b"" for an id without a token."""
        if token_id in self.added:
            return self.added[token_id]
        token = self.token_of(token_id)
        return b"" if token is None else self.bytes_of(token)


def token_decoder(hf: Any) -> TokenDecoder:
    """Create the decoder for a Hugging Face tokenizer, according to its decoder in tokenizer.json."""
    added = {int(i): str(token) for i, token in hf.added_tokens_decoder.items()}
    raw = {i: content.encode() for i, content in added.items()}
    steps = list(_steps(_description(hf)))
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        return TokenDecoder("byte-level", hf.convert_ids_to_tokens, _byte_level_bytes, added=raw)
    if not kinds & {"ByteFallback", "Metaspace"}:
        return TokenDecoder("probed", lambda i: _probe(hf, i), str.encode, added=raw)
    pieces = SentencePieces(steps)
    return TokenDecoder(
        "sentencepiece",
        hf.convert_ids_to_tokens,
        pieces.bytes_of,
        added={i: pieces.text_of(content).encode() for i, content in added.items()},
        strips_leading_space=pieces.strips_leading_space,
    )


def _description(hf: Any) -> dict[str, Any]:
    """The "decoder" object of tokenizer.json; empty for a tokenizer that is implemented in Python."""
    if not hf.is_fast or hf.backend_tokenizer.decoder is None:
        return {}
    description: dict[str, Any] = json.loads(hf.backend_tokenizer.decoder.__getstate__())
    return description


def _steps(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if description.get("type") == "Sequence":
        for step in description["decoders"]:
            yield from _steps(step)
    elif description:
        yield description


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes([BYTE_ALPHABET[char] for char in token])
    except KeyError:
        return token.encode()


class SentencePieces:
    """A vocabulary that writes spaces as another character and may have a token for each byte (<0x0A>)."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        replacements = [
            (step["pattern"].get("String", ""), step["content"]) for step in steps if step["type"] == "Replace"
        ]
        spaces = [(step["replacement"], " ") for step in steps if step["type"] == "Metaspace"]
        self._replacements = [(old, new) for old, new in replacements + spaces if old]
        self._has_byte_tokens = any(step["type"] == "ByteFallback" for step in steps)
        self.strips_leading_space = any(_strips_leading_space(step) for step in steps)

    def text_of(self, token: str) -> str:
        """A token's text, with its spaces restored."""
        for old, new in self._replacements:
            token = token.replace(old, new)
        return token

    def bytes_of(self, token: str) -> bytes:
        """A token's bytes: one byte for a byte token, UTF-8 for all others."""
        if self._has_byte_tokens and len(token) == BYTE_TOKEN_LENGTH and token.startswith("<0x") and token[-1] == ">":
            return bytes([int(token[3:5], 16)])
        return self.text_of(token).encode()


def _strips_leading_space(step: dict[str, Any]) -> bool:
    if step["type"] == "Metaspace":
        return bool(step.get("prepend_scheme", "always") != "never")
    return bool(step["type"] == "Strip" and step["content"] == " " and step["start"] > 0)


def _probe(hf: Any, token_id: int) -> str | None:
    """The text that a token adds after "a". For decoders that combine tokens, such as WordPiece."""
    if token_id >= len(hf):
        return None
    anchor = hf.encode("a", add_special_tokens=False)[:1]
    before: str = hf.decode(anchor, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    after: str = hf.decode([*anchor, token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return after.removeprefix(before)
