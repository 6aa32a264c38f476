"""Prefill: computes a prompt into a KV cache, in chunks.

Invariants:
- A prompt is prefilled in a scalar cache. One forward pass may finish several short prompts, padded to the longest.
- Prefill leaves the last token to the first decode step, which needs the logits after that token. Only a short last
  chunk includes the last token and returns the logits, which saves a decode step.
- A prompt is computed from embeddings up to the end of its last image or video. No chunk ends inside an image or video.
- A prompt whose tokens are scored is computed alone, in smaller chunks, because all logits of a chunk are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import mlx.core as mx

from pico_jupyter.engine.backend import Media, SampledToken
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import positions_of
from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.backends.sampling import top_candidates
from pico_jupyter.engine.backends.vision import PromptEmbeddings, VisionModel

# A last chunk of at most this many tokens includes the last token. It is short, because all its logits are computed.
_MAX_WITH_LOGITS = 32
# The size of a chunk whose tokens are scored: about 64 MB of float32 logits for a vocabulary of 128,000 tokens.
_MAX_SCORED = 128


@dataclass(slots=True, eq=False)
class Prefill:
    """A prompt and the `rows` that will decode after it. The first `computed` tokens are in the cache.

    `keep_at` are lengths at which the prompt is stored in the prefix cache. `embeddings` are None before the first
    chunk with media and after the last. `scores` are the log-probabilities of the tokens after the first; None if they
    are not requested.
    """

    rows: list[Row]
    prompt: list[int]
    cache: kv.Cache
    computed: int
    keep_at: set[int] = field(default_factory=set)
    media: Media | None = None
    embeddings: PromptEmbeddings | None = None
    scores: list[SampledToken] | None = None

    @property
    def remaining(self) -> int:
        """The number of tokens that are left to prefill. 0: the rows can decode."""
        return max(0, len(self.prompt) - 1 - self.computed)

    @property
    def nbytes(self) -> int:
        """Bytes of the cache and of the embeddings."""
        return kv.nbytes(self.cache) + (self.embeddings.nbytes if self.embeddings else 0)

    @property
    def next_keep(self) -> int | None:
        """The next length at which the prompt is stored in the prefix cache."""
        return min((length for length in self.keep_at if self.computed < length < len(self.prompt)), default=None)

    @property
    def has_media_left(self) -> bool:
        """Whether the remaining tokens include media."""
        return self.media is not None and self.computed < self.media.spans[-1][1]

    def tokens(self, start: int, end: int) -> list[int]:
        """The tokens of the prompt from `start` to `end`, with the model's placeholder tokens for media."""
        if self.media is None:
            return self.prompt[start:end]
        length = len(self.media.tokens)
        return [*self.media.tokens[start:end], *self.prompt[max(start, length) : max(end, length)]]

    def advance(self, model: Any, limit: int) -> mx.array | None:
        """Compute at most `limit` tokens, up to the next length to keep. An image or a video may exceed the limit.

        Returns logits (1, vocabulary) if the last token was computed.
        """
        if self.media and self.has_media_left:
            # Tokens that were generated before a requeue have no embeddings.
            self._advance_media(model, min(self._end_of_chunk(limit), len(self.media.tokens)))
            return None
        if self.scores is not None:
            self._advance_scored(model, self._end_of_chunk(min(limit, _MAX_SCORED)), self.scores)
            return None
        if self.next_keep is None and 0 < self.remaining <= min(limit, _MAX_WITH_LOGITS):
            chunk = self.tokens(self.computed, len(self.prompt))
            self.computed = len(self.prompt)
            logits: mx.array = model(mx.array([chunk]), cache=self.cache, **positions_of(self.rows[:1]))[:, -1]
            mx.eval(logits, [layer.state for layer in self.cache])
            return logits
        end = self._end_of_chunk(limit)
        if chunk := self.tokens(self.computed, end):
            model(mx.array([chunk]), cache=self.cache, **positions_of(self.rows[:1]))
            mx.eval([layer.state for layer in self.cache])
            self.computed = end
        return None

    def _end_of_chunk(self, limit: int) -> int:
        end = min(self.computed + limit, self.next_keep or len(self.prompt), len(self.prompt) - 1)
        for start_of_span, end_of_span in self.media.spans if self.media else ():
            if start_of_span < end < end_of_span:
                return start_of_span if start_of_span > self.computed else end_of_span
        return end

    def _advance_scored(self, model: Any, end: int, scores: list[SampledToken]) -> None:
        """Compute the tokens up to `end`, and the log-probability of the token after each."""
        if chunk := self.tokens(self.computed, end):
            logits = model(mx.array([chunk]), cache=self.cache, **positions_of(self.rows[:1]))[0]
            scores += _score(self.rows[0], logits.astype(mx.float32), self.tokens(self.computed + 1, end + 1))
            mx.eval([layer.state for layer in self.cache])
            self.computed = end

    def _advance_media(self, model: VisionModel, end: int) -> None:
        """Compute the tokens up to `end` from embeddings."""
        assert self.media
        self.embeddings = self.embeddings or model.embed(self.media)
        chunk = self.embeddings.chunk(self.computed, end)
        model(mx.array([self.tokens(self.computed, end)]), cache=self.cache, **chunk)
        mx.eval([layer.state for layer in self.cache])
        self.computed = end
        if not self.has_media_left:
            self.embeddings = None


def _score(row: Row, logits: mx.array, tokens: list[int]) -> list[SampledToken]:
    """The log-probability of each of the `tokens`, and the likeliest tokens in its place, as for sampled tokens.

    `logits` (tokens, vocabulary) are those before each token.
    """
    logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    chosen = mx.take_along_axis(logprobs, mx.array(tokens)[:, None], axis=-1)[:, 0]
    top = top_candidates(logprobs, row.sampling.top_logprobs or 0)
    top_values = mx.take_along_axis(logprobs, top, axis=-1)
    mx.eval(chosen, top, top_values)
    columns = tokens, _lists(chosen), _lists(top), _lists(top_values)
    return [
        SampledToken(row.number, token, logprob, tuple(zip(likeliest, values, strict=True)))
        for token, logprob, likeliest, values in zip(*columns, strict=True)
    ]


def _lists(array: mx.array) -> list[Any]:
    return cast("list[Any]", array.tolist())


def select_batchable(first: Prefill, others: Sequence[Prefill], limit: int) -> list[Prefill]:
    """The prompts of `others` that can finish with `first` in one pass of at most `limit` tokens, padding included."""
    if not _is_simple(first):
        return []
    chosen = [first]
    for other in others:
        longest = max(prefill.remaining for prefill in (*chosen, other))
        if _is_simple(other) and (len(chosen) + 1) * longest <= limit:
            chosen.append(other)
    return chosen[1:]


def _is_simple(prefill: Prefill) -> bool:
    """Whether a prompt has one row, and one chunk of text remains whose tokens are not scored."""
    if len(prefill.rows) != 1 or prefill.scores is not None:
        return False
    return prefill.remaining > 0 and prefill.next_keep is None and not prefill.has_media_left


def finish_together(model: Any, prefills: Sequence[Prefill]) -> tuple[kv.Cache, mx.array | None]:
    """Compute the remaining tokens of several prompts in one forward pass.

    Returns the merged cache, and the logits (prompts, vocabulary) if the last token of each prompt was computed.
    """
    with_last = len(prefills) * (1 + max(prefill.remaining for prefill in prefills)) <= _MAX_WITH_LOGITS
    ends = [len(prefill.prompt) - (0 if with_last else 1) for prefill in prefills]
    chunks = [prefill.tokens(prefill.computed, end) for prefill, end in zip(prefills, ends, strict=True)]
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
        prefill.computed = end
    return cache, last
