"""Prefill: a prompt on its way into a KV cache. Knows neither batches that decode nor the prefix cache.

A prompt is prefilled in a scalar cache, in chunks. Its last token is left to the first decode step, which needs its
logits; only where few tokens are left does the last chunk take it in and give the logits, which saves that step. Short
prompts may end in one forward pass, padded to the longest. While pictures are still to come a prompt goes in as
embeddings, and no chunk ends inside a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from pico_jupyter.engine.backend import Media
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import Row, positions_of
from pico_jupyter.engine.backends.vision import Sight, VisionModel

# Up to how many tokens a forward pass gives logits for all of them, of which only the last are needed.
_FEW = 32


@dataclass(slots=True, eq=False)
class Prefill:
    """A prompt, whose cache `rows` will share. `done` tokens are in it; `marks` are lengths at which to keep it.

    What is seen of its `media` takes memory from its first chunk until the last picture is in the cache.
    """

    rows: list[Row]
    prompt: list[int]
    cache: kv.Cache
    done: int
    marks: set[int] = field(default_factory=set)
    media: Media | None = None
    sight: Sight | None = None

    @property
    def left(self) -> int:
        """Tokens to prefill; 0: the rows can decode."""
        return max(0, len(self.prompt) - 1 - self.done)

    @property
    def nbytes(self) -> int:
        return kv.nbytes(self.cache) + (self.sight.nbytes if self.sight else 0)

    @property
    def next_mark(self) -> int | None:
        return min((mark for mark in self.marks if self.done < mark < len(self.prompt)), default=None)

    @property
    def sees(self) -> bool:
        """Whether there are pictures in what is left."""
        return self.media is not None and self.done < self.media.spans[-1][1]

    def tokens(self, start: int, end: int) -> list[int]:
        """Tokens of the prompt as the model knows them."""
        if self.media is None:
            return self.prompt[start:end]
        seen = len(self.media.tokens)
        return [*self.media.tokens[start:end], *self.prompt[max(start, seen) : max(end, seen)]]

    def advance(self, model: Any, limit: int) -> mx.array | None:
        """Compute at most `limit` tokens, up to the next mark. Returns logits (1, vocabulary) if the last one is in.

        A picture may take more than `limit`.
        """
        if self.media and self.sees:
            # What was drawn behind the prompt, before it was put back, is no part of what is seen.
            self._look(model, min(self._end_of_chunk(limit), len(self.media.tokens)))
            return None
        if self.next_mark is None and 0 < self.left <= min(limit, _FEW):
            chunk, self.done = self.tokens(self.done, len(self.prompt)), len(self.prompt)
            logits: mx.array = model(mx.array([chunk]), cache=self.cache, **positions_of(self.rows[:1]))[:, -1]
            mx.eval(logits, [layer.state for layer in self.cache])
            return logits
        end = self._end_of_chunk(limit)
        if chunk := self.tokens(self.done, end):
            model(mx.array([chunk]), cache=self.cache, **positions_of(self.rows[:1]))
            mx.eval([layer.state for layer in self.cache])
            self.done = end
        return None

    def _end_of_chunk(self, limit: int) -> int:
        end = min(self.done + limit, self.next_mark or len(self.prompt), len(self.prompt) - 1)
        for start_of_span, end_of_span in self.media.spans if self.media else ():
            if start_of_span < end < end_of_span:
                return start_of_span if start_of_span > self.done else end_of_span
        return end

    def _look(self, model: VisionModel, end: int) -> None:
        """Compute a chunk of text and pictures."""
        assert self.media
        self.sight = self.sight or model.look(self.media)
        chunk = self.sight.chunk(self.done, end)
        model(mx.array([self.tokens(self.done, end)]), cache=self.cache, **chunk)
        mx.eval([layer.state for layer in self.cache])
        self.done = end
        if not self.sees:
            self.sight = None


def choose_along(first: Prefill, others: Sequence[Prefill], limit: int) -> list[Prefill]:
    """The prompts of one row each that can end in one forward pass with the first: `limit` tokens with padding."""
    chosen = [first] if _is_simple(first) else []
    for one in others if chosen else []:
        longest = max(each.left for each in (*chosen, one))
        if _is_simple(one) and (len(chosen) + 1) * longest <= limit:
            chosen.append(one)
    return chosen[1:]


def _is_simple(prefill: Prefill) -> bool:
    return len(prefill.rows) == 1 and prefill.left > 0 and prefill.next_mark is None and not prefill.sees


def finish_together(model: Any, prefills: Sequence[Prefill]) -> tuple[kv.Cache, mx.array | None]:
    """Take several prompts to their ends in one forward pass.

    Returns their merged cache, and the logits (prompts, vocabulary) if the last tokens were few enough to go along.
    """
    with_last = len(prefills) * (1 + max(prefill.left for prefill in prefills)) <= _FEW
    ends = [len(prefill.prompt) - (0 if with_last else 1) for prefill in prefills]
    chunks = [prefill.tokens(prefill.done, end) for prefill, end in zip(prefills, ends, strict=True)]
    lengths = [len(chunk) for chunk in chunks]
    padding = [max(lengths) - length for length in lengths]
    cache = kv.merge([prefill.cache for prefill in prefills])
    for layer in cache:
        layer.prepare(lengths=lengths, right_padding=padding)
    padded = mx.array([chunk + [0] * missing for chunk, missing in zip(chunks, padding, strict=True)])
    logits = model(padded, cache=cache, **positions_of([prefill.rows[0] for prefill in prefills]))
    for layer in cache:
        layer.finalize()
    last = logits[mx.arange(len(prefills)), mx.array(lengths) - 1] if with_last else None
    mx.eval([] if last is None else last, [layer.state for layer in cache])
    for prefill, end in zip(prefills, ends, strict=True):
        prefill.done = end
    return cache, last
