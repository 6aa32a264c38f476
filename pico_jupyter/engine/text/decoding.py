"""TokenDecoder: from a vocabulary entry to the exact bytes it stands for. Knows the decoders of tokenizer.json only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# The most common vocabularies write a byte that is no printable character as another character (GPT-2's table).
BYTE_TOKEN_LENGTH = len("<0xFF>")


def _byte_alphabet() -> dict[str, int]:
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    shifted = {chr(256 + offset): byte for offset, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


BYTE_ALPHABET = _byte_alphabet()


class TokenDecoder:
    """Gives the bytes of a token. `strips_leading_space`: a text's first space belongs to the tokenizer."""

    def __init__(
        self,
        name: str,
        token_of: Callable[[int], str | None],
        bytes_of: Callable[[str], bytes],
        *,
        added: Mapping[int, bytes],
        strips_leading_space: bool = False,
    ) -> None:
        self.name = name
        self.strips_leading_space = strips_leading_space
        self._token_of = token_of
        self._bytes_of = bytes_of
        self._added = added

    def __repr__(self) -> str:
        return f"<TokenDecoder [{self.name}]>"

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token; b"" for an id that has none."""
        if token_id in self._added:
            return self._added[token_id]
        token = self._token_of(token_id)
        return b"" if token is None else self._bytes_of(token)


def token_decoder(hf: Any) -> TokenDecoder:
    """The decoder of a Hugging Face tokenizer, read from its own description and never guessed from its name."""
    added = {int(i): str(token) for i, token in hf.added_tokens_decoder.items()}
    raw = {i: content.encode() for i, content in added.items()}
    parts = list(_parts(_description(hf)))
    kinds = {part["type"] for part in parts}
    if "ByteLevel" in kinds:
        return TokenDecoder("byte-level", hf.convert_ids_to_tokens, _byte_level_bytes, added=raw)
    if not kinds & {"ByteFallback", "Metaspace"}:
        return TokenDecoder("probed", lambda i: _probe(hf, i), str.encode, added=raw)
    pieces = SentencePieces(parts)
    return TokenDecoder(
        "sentencepiece",
        hf.convert_ids_to_tokens,
        pieces.bytes_of,
        added={i: pieces.text_of(content).encode() for i, content in added.items()},
        strips_leading_space=pieces.strips_leading_space,
    )


def _description(hf: Any) -> dict[str, Any]:
    if not hf.is_fast or hf.backend_tokenizer.decoder is None:
        return {}
    description: dict[str, Any] = json.loads(hf.backend_tokenizer.decoder.__getstate__())
    return description


def _parts(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if description.get("type") == "Sequence":
        for part in description["decoders"]:
            yield from _parts(part)
    elif description:
        yield description


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes([BYTE_ALPHABET[char] for char in token])
    except KeyError:
        return token.encode()


class SentencePieces:
    """Vocabulary entries with a mark for spaces and, mostly, one entry for each byte (<0x0A>)."""

    def __init__(self, parts: list[dict[str, Any]]) -> None:
        replacements = [
            (part["pattern"].get("String", ""), part["content"]) for part in parts if part["type"] == "Replace"
        ]
        spaces = [(part["replacement"], " ") for part in parts if part["type"] == "Metaspace"]
        self._replacements = [(old, new) for old, new in replacements + spaces if old]
        self._has_byte_tokens = any(part["type"] == "ByteFallback" for part in parts)
        self.strips_leading_space = any(_strips_leading_space(part) for part in parts)

    def text_of(self, token: str) -> str:
        """A token's text, with its spaces."""
        for old, new in self._replacements:
            token = token.replace(old, new)
        return token

    def bytes_of(self, token: str) -> bytes:
        """A token's bytes: one byte for a byte token, else its text's."""
        if self._has_byte_tokens and len(token) == BYTE_TOKEN_LENGTH and token.startswith("<0x") and token[-1] == ">":
            return bytes([int(token[3:5], 16)])
        return self.text_of(token).encode()


def _strips_leading_space(part: dict[str, Any]) -> bool:
    if part["type"] == "Metaspace":
        return bool(part.get("prepend_scheme", "always") != "never")
    return bool(part["type"] == "Strip" and part["content"] == " " and part["start"] > 0)


def _probe(hf: Any, token_id: int) -> str | None:
    """A token's text behind another one, for decoders that look at more than one token (WordPiece, Python classes)."""
    if token_id >= len(hf):
        return None
    anchor = hf.encode("a", add_special_tokens=False)[:1]
    before: str = hf.decode(anchor, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    after: str = hf.decode([*anchor, token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return after.removeprefix(before)
