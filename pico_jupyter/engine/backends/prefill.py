"""Prefill: a prompt on its way into a KV cache. Knows neither batches that decode nor the prefix cache.

A prompt is prefilled in a scalar cache, in chunks. Its last token is left to the first decode step, which needs its
logits; only where few tokens are left does the last chunk take it in and give the logits, which saves that step. Short
prompts may end in one forward pass, padded to the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import Row

# Up to how many tokens a forward pass gives logits for all of them, of which only the last are needed.
_FEW = 32


@dataclass(slots=True, eq=False)
class Prefill:
    """A prompt, whose cache `rows` will share. `done` tokens are in it; `marks` are lengths at which to keep it."""

    rows: list[Row]
    prompt: list[int]
    cache: kv.Cache
    done: int
    marks: set[int] = field(default_factory=set)

    @property
    def left(self) -> int:
        """Tokens to prefill; 0: the rows can decode."""
        return max(0, len(self.prompt) - 1 - self.done)

    @property
    def next_mark(self) -> int | None:
        return min((mark for mark in self.marks if self.done < mark < len(self.prompt)), default=None)

    def advance(self, model: Any, limit: int) -> mx.array | None:
        """Compute at most `limit` tokens, up to the next mark. Returns logits (1, vocabulary) if the last one is in."""
        if self.next_mark is None and 0 < self.left <= min(limit, _FEW):
            chunk, self.done = self.prompt[self.done :], len(self.prompt)
            logits: mx.array = model(mx.array([chunk]), cache=self.cache)[:, -1]
            mx.eval(logits, [layer.state for layer in self.cache])
            return logits
        stop = min(self.done + limit, self.next_mark or len(self.prompt), len(self.prompt) - 1)
        if chunk := self.prompt[self.done : stop]:
            model(mx.array([chunk]), cache=self.cache)
            mx.eval([layer.state for layer in self.cache])
            self.done = stop
        return None


def choose_along(first: Prefill, others: Sequence[Prefill], limit: int) -> list[Prefill]:
    """The prompts of one row each that can end in one forward pass with the first: `limit` tokens with padding."""
    chosen = [first] if _is_simple(first) else []
    for one in others if chosen else []:
        longest = max(each.left for each in (*chosen, one))
        if _is_simple(one) and (len(chosen) + 1) * longest <= limit:
            chosen.append(one)
    return chosen[1:]


def _is_simple(prefill: Prefill) -> bool:
    return len(prefill.rows) == 1 and prefill.left > 0 and prefill.next_mark is None


def finish_together(model: Any, prefills: Sequence[Prefill]) -> tuple[kv.Cache, mx.array | None]:
    """Take several prompts to their ends in one forward pass.

    Returns their merged cache, and the logits (prompts, vocabulary) if the last tokens were few enough to go along.
    """
    with_last = len(prefills) * (1 + max(prefill.left for prefill in prefills)) <= _FEW
    ends = [len(prefill.prompt) - (0 if with_last else 1) for prefill in prefills]
    chunks = [prefill.prompt[prefill.done : end] for prefill, end in zip(prefills, ends, strict=True)]
    lengths = [len(chunk) for chunk in chunks]
    padding = [max(lengths) - length for length in lengths]
    cache = kv.merge([prefill.cache for prefill in prefills])
    for layer in cache:
        layer.prepare(lengths=lengths, right_padding=padding)
    padded = mx.array([chunk + [0] * missing for chunk, missing in zip(chunks, padding, strict=True)])
    logits = model(padded, cache=cache)
    for layer in cache:
        layer.finalize()
    last = logits[mx.arange(len(prefills)), mx.array(lengths) - 1] if with_last else None
    mx.eval([] if last is None else last, [layer.state for layer in cache])
    for prefill, end in zip(prefills, ends, strict=True):
        prefill.done = end
    return cache, last
