"""LmBackend: a model of mlx-lm or mlx-vlm behind the Backend interface.

Invariants:
- All methods run on the thread that loaded the model.
- The prefill of a prompt begins after the tokens that were found in the prefix cache.
- Rows decode in one batch, or in several if padding all rows to the longest costs more than reading the weights again.
- Speculative decoding runs only while a single row decodes.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from pico_jupyter.engine.backend import DraftModel, Media, RowSampling, SampledToken
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import DecodeBatch
from pico_jupyter.engine.backends.prefill import Prefill, finish_together, select_batchable
from pico_jupyter.engine.backends.row import Row
from pico_jupyter.engine.backends.sampling import logits_processors
from pico_jupyter.engine.backends.speculation import DraftStatistics, Speculation
from pico_jupyter.engine.backends.vision import VisionModel
from pico_jupyter.engine.memory.device import release_free_memory
from pico_jupyter.engine.memory.prefix_cache import CachedValue, FoundPrefix, ModelPrefixes, PrefixCache

_LOAD_SHARE = 128 << 20  # bytes of weights that one load_step() reads
# Padding of at most this many bytes is always accepted. More padding is limited to a share of the unpadded caches.
_SMALL_PADDING = 16 << 20
_MAX_PADDING_SHARE = 0.25
# A checkpoint at the point where two prompts diverge must be at least this many tokens longer than the cached prefix.
_MIN_CHECKPOINT_DISTANCE = 64


def release_thread() -> None:
    """Free MLX's resources of the calling thread. This thread must not use MLX afterwards.

    MLX 0.32 starts a worker thread for each thread that uses it. The process aborts if a worker thread still frees
    arrays while the interpreter exits.
    """
    gc.collect()
    mx.synchronize()
    mx.clear_streams()


def weights_of(model: Any) -> list[mx.array]:
    """The weights of a model, in the order of its parameters()."""
    return [weight for _, weight in tree_flatten(model.parameters())]


class LmBackend:
    """One model and its rows. Backend and DraftBackend document the methods.

    `model` is a VisionModel or a model of mlx-lm. `kv_bits` is the number of bits of quantized KV caches; 0: not
    quantized. `small_padding` is the padding in bytes that a batch always accepts. `clock` returns seconds.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        *,
        prefixes: ModelPrefixes | None = None,
        kv_bits: int = 0,
        small_padding: int = _SMALL_PADDING,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._small_padding = small_padding
        self._model = model
        self._name = name
        self._kv_bits = kv_bits
        self._prefixes = prefixes or PrefixCache(0).for_model(name)
        self._loading = list(load_shares(weights_of(model)))
        self._weights_nbytes = sum(weight.nbytes for weight in weights_of(model))
        self._prefills: list[Prefill] = []
        self._batches: list[DecodeBatch] = []
        # Tokens that prefills have sampled and that step() has not returned yet.
        self._first_tokens: list[SampledToken] = []
        # The scores of complete prompts, by row, until step() returns the first token of the row.
        self._scores: dict[int, tuple[SampledToken, ...]] = {}
        self._skipped_pass = False
        self._speculations: dict[int, Speculation] = {}
        self._is_trimmable = kv.is_trimmable(self._new_cache())
        self._can_merge = kv.can_merge(self._new_cache())

    def __repr__(self) -> str:
        decoding = sum(len(batch.rows) for batch in self._batches)
        prefilling = sum(len(prefill.rows) for prefill in self._prefills)
        return f"<LmBackend {self._name} [{decoding} decoding | {prefilling} prefilling]>"

    @property
    def weights_nbytes(self) -> int:
        return self._weights_nbytes

    @property
    def cache_nbytes(self) -> int:
        prefills = sum(prefill.nbytes for prefill in self._prefills)
        batches = sum(kv.nbytes(batch.cache) for batch in self._batches)
        return prefills + batches + sum(speculation.nbytes for speculation in self._speculations.values())

    def load_step(self) -> int:
        if self._loading:
            mx.eval(self._loading.pop(0))
        return sum(weight.nbytes for share in self._loading for weight in share)

    def estimate_cache(self, tokens: int) -> int:
        return sum(size.nbytes(tokens) for size in self._sizes)

    def match(self, prompt: Sequence[int]) -> int:
        return self._prefixes.match(list(prompt), is_trimmable=self._is_trimmable)

    def insert(
        self,
        rows: Mapping[int, RowSampling],
        prompt: Sequence[int],
        *,
        generated: int = 0,
        boundaries: Sequence[int] = (),
        draft: DraftModel | None = None,
        media: Media | None = None,
        scores_prompt: bool = False,
    ) -> int:
        assert not (media and scores_prompt), "the tokens of images and videos have no log-probabilities"
        tokens = list(prompt)
        continuation_start = boundaries[-1] if boundaries else len(tokens) - 1
        delta = self._model.rope_delta(media) if isinstance(self._model, VisionModel) else None
        media = self._as_one_span(media) if media else None
        for sampling in rows.values():
            if sampling.constraint is not None:
                sampling.constraint.restart(tokens[len(tokens) - generated :])
        new_rows = [
            Row(number, sampling, logits_processors(sampling), continuation_start, generated, rope_delta=delta)
            for number, sampling in rows.items()
        ]
        # Draft models have no vision, and a draft would have to follow the constraint.
        if draft and not media and not any(sampling.constraint for sampling in rows.values()):
            self._speculate(rows, draft)
        shared = self._prefixes.overlap(tokens)
        spans = media.spans if media else ()
        cache, cached = (self._new_cache(), 0) if scores_prompt else self.open_cache(tokens, spans)
        prefill = Prefill(new_rows, tokens, cache, cached, media=media, scores=[] if scores_prompt else None)
        if not self._is_trimmable:
            prefill.keep_at.update(boundaries)
            if shared - cached >= _MIN_CHECKPOINT_DISTANCE:
                # An earlier prompt begins with the same tokens, so later prompts may begin with them, too.
                prefill.keep_at.add(min(shared, len(tokens) - 1))
        self._prefills.append(prefill)
        return cached

    def keep(self, row: int, length: int) -> None:
        prefill = self._prefill_of(row)
        length = min(length, len(prefill.prompt) - 1)
        if length > prefill.computed:
            prefill.keep_at.add(length)
        elif self._is_trimmable or length == prefill.computed:
            self._keep_prefix(prefill, length)

    def prefill(self, rows: Sequence[int], limit: int) -> dict[int, int]:
        first, *others = (self._prefill_of(row) for row in rows)
        batched = select_batchable(first, others, limit) if self._can_merge else []
        if batched:
            cache, logits = finish_together(self._model, [first, *batched])
        else:
            cache, logits = first.cache, first.advance(self._model, limit)
            if first.computed in first.keep_at:
                self._keep_prefix(first, first.computed)
        computed = [first, *batched]
        if not first.remaining:
            self._start_decoding(computed, cache, logits)
        pairs = zip((first, *others), rows, strict=True)
        return {row: prefill.remaining for prefill, row in pairs if prefill in computed}

    def step(self) -> list[SampledToken]:
        sampled = self._step()
        if not self._scores:
            return sampled
        return [replace(token, prompt=self._scores.pop(token.row, ())) for token in sampled]

    def _step(self) -> list[SampledToken]:
        first, self._first_tokens = self._first_tokens, []
        # A step with first tokens skips the forward pass, but not twice in a row, because other rows wait for a pass.
        self._skipped_pass = bool(first) and not self._skipped_pass
        if self._skipped_pass:
            return first
        rows = [row for batch in self._batches for row in batch.rows]
        if len(rows) == 1 and (speculation := self._speculations.get(rows[0].number)):
            return first + speculation.step(self._batches[0], self._model)
        for batch in self._batches:
            batch.advance(self._model)
        sampled = first + [token for batch in self._batches for token in batch.collect()]
        # A client waits for the first token of a new row, so this step returns it and not the next one.
        return sampled + [token for batch in self._batches if batch.has_new_rows for token in batch.flush()]

    def remove(self, rows: Collection[int], *, keep: bool) -> None:
        for prefill in self._prefills:
            removed = [row for row in prefill.rows if row.number in rows]
            prefill.rows = [row for row in prefill.rows if row not in removed]
            if removed and not prefill.rows and keep:
                self._keep_whole(prefill.prompt[: prefill.computed], prefill.cache, removed[0].continuation_start)
        self._prefills = [prefill for prefill in self._prefills if prefill.rows]
        for batch in self._batches:
            removed_at = [index for index, row in enumerate(batch.rows) if row.number in rows]
            if keep:
                for index in removed_at:
                    row = batch.rows[index]
                    self._keep_whole(row.tokens, batch.cache_of(index), row.continuation_start)
                    if speculation := self._speculations.get(row.number):
                        speculation.keep(row)
            if removed_at:
                batch.reduce([index for index in range(len(batch.rows)) if index not in removed_at])
        self._batches = [batch for batch in self._batches if batch.rows]
        self._first_tokens = [token for token in self._first_tokens if token.row not in rows]
        for number in rows:
            self._speculations.pop(number, None)
            self._scores.pop(number, None)

    def close(self) -> None:
        self._prefills.clear()
        self._batches.clear()
        self._first_tokens.clear()
        self._scores.clear()
        self._speculations.clear()
        self._loading.clear()
        self._prefixes.clear()
        self._model = None
        release_free_memory()

    def logits(self, tokens: mx.array, cache: kv.Cache) -> mx.array:
        logits: mx.array = self._model(tokens[None], cache=cache)[0, -1]
        return logits.astype(mx.float32)

    def open_cache(self, tokens: Sequence[int], spans: Sequence[tuple[int, int]] = ()) -> tuple[kv.Cache, int]:
        found = self._prefixes.check_out(list(tokens), kv.copy_tokens, is_trimmable=self._is_trimmable)
        found = found or FoundPrefix(0)
        cache, length = self._cache_from(found), found.length
        start = next((start for start, end in spans if start < length < end), None)
        if start is None:
            return cache, length
        # A cached prefix must not end inside an image or a video.
        if not self._is_trimmable:
            return self._new_cache(), 0
        kv.trim(cache, start)
        return cache, start

    def keep_cache(self, tokens: Sequence[int], cache: kv.Cache, continuation_start: int) -> None:
        self._keep_whole(list(tokens), cache, continuation_start)

    def _as_one_span(self, media: Media) -> Media:
        """Join all spans into one from the start of the prompt, if the model must compute them in its first chunk."""
        if isinstance(self._model, VisionModel) and self._model.needs_one_chunk(media):
            return replace(media, spans=((0, media.spans[-1][1]),))
        return media

    def _speculate(self, rows: Collection[int], draft: DraftModel) -> None:
        """Use a draft model for new rows if the caches of both models are trimmable."""
        backend = draft.backend
        if draft.tokens and isinstance(backend, LmBackend) and backend._is_trimmable and self._is_trimmable:
            vocabulary = self._model(mx.array([[0]])).shape[-1]  # lazy: computes nothing
            for number in rows:
                # First estimate: a decode step takes as long as reading the weights.
                statistics = DraftStatistics(cost=backend.weights_nbytes / self._weights_nbytes)
                self._speculations[number] = Speculation(
                    backend, draft.tokens, statistics=statistics, vocabulary=vocabulary, clock=self._clock
                )

    @cached_property
    def _sizes(self) -> list[kv.LayerSize]:
        cache = self._new_cache()
        self._model(mx.array([[0]]), cache=cache)  # lazy: sets the shapes and computes nothing
        return kv.sizes(cache)

    def _new_cache(self) -> kv.Cache:
        from mlx_lm.models.cache import make_prompt_cache

        return kv.quantized(make_prompt_cache(self._model), self._kv_bits)

    def _cache_from(self, found: FoundPrefix) -> kv.Cache:
        if found.whole is not None:
            cache: kv.Cache = found.whole
            if self._is_trimmable:
                kv.trim(cache, found.length)
            return cache
        if found.length:
            return kv.restore(self._new_cache(), found.blocks, found.checkpoint, found.length)
        return self._new_cache()

    def _prefill_of(self, row: int) -> Prefill:
        return next(prefill for prefill in self._prefills if any(one.number == row for one in prefill.rows))

    def _keep_prefix(self, prefill: Prefill, length: int) -> None:
        checkpoint = None if self._is_trimmable else kv.checkpoint(prefill.cache)
        copy_tokens = partial(kv.copy_tokens, prefill.cache)
        self._prefixes.keep_blocks(prefill.prompt[:length], copy_tokens, checkpoint)

    def _keep_whole(self, tokens: list[int], cache: kv.Cache, continuation_start: int) -> None:
        cached = CachedValue(cache, kv.nbytes(cache))
        self._prefixes.keep_whole(
            tokens, cached, kv.copy_tokens, continuation_start=continuation_start, is_trimmable=self._is_trimmable
        )

    def _start_decoding(self, prefills: list[Prefill], cache: kv.Cache, logits: mx.array | None) -> None:
        """Move the rows of complete prompts to a batch, or each row to its own batch if caches cannot be merged.

        `cache` is the cache of one prompt, or the merged cache of several. `logits` are the logits after the last token
        of each prompt; None if the last tokens were not computed.
        """
        mx.clear_cache()
        self._prefills = [prefill for prefill in self._prefills if prefill not in prefills]
        rows = [row for prefill in prefills for row in prefill.rows]
        inputs = [prefill.prompt[-1] for prefill in prefills for _ in prefill.rows]
        for prefill in prefills:
            for row in prefill.rows:
                row.tokens = prefill.prompt[:-1]
                if prefill.scores is not None:
                    self._scores[row.number] = tuple(prefill.scores)
        if self._can_merge:
            is_shared = len(prefills) == 1 and len(rows) > 1
            new_batches = [DecodeBatch(rows, kv.merge([cache] * len(rows)) if is_shared else cache, inputs)]
        else:
            copies = [copy.deepcopy(cache) if index else cache for index in range(len(rows))]
            new_batches = [DecodeBatch([row], copied, inputs[:1]) for row, copied in zip(rows, copies, strict=True)]
        for batch in new_batches:
            if logits is not None:
                batch.begin(logits if len(prefills) > 1 else mx.repeat(logits, len(batch.rows), axis=0))
                self._first_tokens += batch.flush()
            self._add_batch(batch)

    def _add_batch(self, new: DecodeBatch) -> None:
        for batch in self._batches:
            if self._can_merge and self._should_join(batch, new):
                batch.extend(new)
                return
        self._batches.append(new)

    def _should_join(self, batch: DecodeBatch, new: DecodeBatch) -> bool:
        """Whether padding all rows to the longest costs less than a second pass over the weights."""
        lengths = [len(row.tokens) for row in (*batch.rows, *new.rows)]
        exact = sum(self.estimate_cache(length) for length in lengths)
        padding = len(lengths) * self.estimate_cache(max(lengths)) - exact
        return padding <= max(self._small_padding, min(self._weights_nbytes, int(_MAX_PADDING_SHARE * exact)))


def load_shares(weights: list[mx.array], share: int = _LOAD_SHARE) -> Iterator[list[mx.array]]:
    """Split the weights, in order, into lists of about `share` bytes."""
    collected: list[mx.array] = []
    size = 0
    for weight in weights:
        collected.append(weight)
        size += weight.nbytes
        if size >= share:
            yield collected
            collected, size = [], 0
    if collected:
        yield collected
