"""Speculation: a smaller model drafts tokens for a lone row, and the row's own model checks them all in one pass.

Invariants: every token of the row is drawn by its own model, with the key of its position, and a drafted token counts
only where it equals that draw. So at any temperature the tokens are those without drafts. The draft model draws with
the same keys, which makes the same draw likely. Between steps its cache holds a beginning of the row's tokens; it falls
behind while the row decodes in company, and follows later. Knows no prompt and no prefix cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import mlx.core as mx

from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.base import Draw
from pico_jupyter.engine.backends.batch import Batch, Row, penalise
from pico_jupyter.engine.sampling import sample

# How many of the row's tokens the draft model takes in at a step, at most: the row's own next token waits for it.
_CHUNK = 512
# Callers may ask for any number; more drafts than these are hardly ever right to the last.
_MOST = 16
# Drafts that a new row is taken to have seen, and how many of them were right: the first steps soon outweigh them.
_ASSUMED_CHECKED = 3.0
_ASSUMED_RIGHT = 2.4
# What an earlier step counts in comparison with the one after it.
_FADING = 0.9


class Drafter(Protocol):
    """What a loaded model does for another one's rows."""

    def logits(self, tokens: mx.array, cache: kv.Cache) -> mx.array:
        """Take in tokens of one row; float32 logits (vocabulary,) after the last one, lazy."""
        ...

    def open_cache(self, tokens: Sequence[int]) -> tuple[kv.Cache, int]:
        """A cache that holds a beginning of these tokens, and the length of that."""
        ...

    def keep_cache(self, tokens: Sequence[int], cache: kv.Cache, turn: int) -> None:
        """Take back a cache that holds these tokens; see Row about `turn`."""
        ...


class Speculation:
    """The drafts for one row: at most `tokens` a step, each at the `cost` of so many passes of the row's own model.

    The row's own model knows the first `vocabulary` token ids.
    """

    def __init__(self, drafter: Drafter, tokens: int, *, cost: float, vocabulary: int) -> None:
        self._drafter = drafter
        self._most = min(tokens, _MOST)
        self._cost = cost
        self._vocabulary = vocabulary
        self._cache: kv.Cache | None = None
        self._held = 0
        self._checked = _ASSUMED_CHECKED
        self._right = _ASSUMED_RIGHT

    def __repr__(self) -> str:
        return f"<Speculation [{self.length} of {self._most} tokens | {self._right / self._checked:.0%} right]>"

    @property
    def nbytes(self) -> int:
        """Bytes of the draft model's cache."""
        return kv.nbytes(self._cache) if self._cache else 0

    @property
    def length(self) -> int:
        """How many tokens the next step drafts."""
        return best_length(self._right / self._checked, self._cost, self._most)

    def is_behind(self, row: Row) -> bool:
        """Whether the draft model lacks so many of the row's tokens that it must follow before it drafts."""
        self._open(row)
        return len(row.tokens) - self._held > _CHUNK

    def follow(self, row: Row) -> None:
        """Let the draft model take in some more of the row's tokens. Nothing is waited for."""
        cache = self._open(row)
        chunk = row.tokens[self._held : self._held + _CHUNK]
        self._drafter.logits(mx.array(chunk, mx.uint32), cache)
        kv.evaluate(cache)
        self._held += len(chunk)

    def step(self, batch: Batch, model: Any) -> list[Draw]:
        """Draft some tokens for the lone row of a batch and have them checked by its model."""
        (row,) = batch.rows
        length = self.length
        draws, right = batch.verify(model, self._draft(row, batch.inputs, length))
        cache = self._open(row)
        # The last draft was not taken in by the draft model, and a wrong one goes.
        self._held = min(self._held, len(row.tokens))
        kv.trim(cache, self._held)
        self._right = _FADING * self._right + right
        self._checked = _FADING * self._checked + min(right + 1, length)
        return draws

    def keep(self, row: Row) -> None:
        """Give the cache back for the next prompt of the row's conversation. Nothing may be called afterwards."""
        if self._cache:
            self._drafter.keep_cache(row.tokens[: self._held], self._cache, row.turn)

    def _open(self, row: Row) -> kv.Cache:
        if self._cache is None:
            self._cache, self._held = self._drafter.open_cache(row.tokens)
        return self._cache

    def _draft(self, row: Row, pending: mx.array, length: int) -> mx.array:
        """`length` tokens to follow the row's tokens and the pending one; lazy."""
        cache = self._open(row)
        fed = mx.concatenate([mx.array(row.tokens[self._held :], mx.uint32), pending])
        latest = pending
        for place in range(length):
            logits = self._drafter.logits(fed, cache)[None, : self._vocabulary]
            fed = sample(penalise(row, latest, logits), [row.sampling], [row.drawn + place])
            latest = mx.concatenate([latest, fed])
        self._held = len(row.tokens) + length
        return latest[1:]


def best_length(chance: float, cost: float, most: int) -> int:
    """How many tokens to draft for the most tokens per time, 1 to `most`.

    Each draft is right with `chance` if those before it are, and costs `cost` passes of the model that checks them.
    """

    def pace(length: int) -> float:
        tokens = sum(chance**place for place in range(length + 1))
        return tokens / (1 + length * cost)

    return max(range(1, most + 1), key=pace)
