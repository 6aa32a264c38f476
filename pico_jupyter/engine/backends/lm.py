"""A model of mlx-lm or mlx-vlm behind the Backend floor. Knows caches and logits; knows no text and no request.

Invariants: everything here runs on the thread that loaded the model. A prompt is prefilled from where the prefix cache
leaves off. Rows decode in one batch, or
in several where their lengths differ so much that padding costs more than reading the weights again. Tokens are
drafted while one row decodes alone.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from pico_jupyter.engine.backend import Drafting, Draw, Media, RowSampling
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.batch import Batch, Row
from pico_jupyter.engine.backends.prefill import Prefill, choose_along, finish_together
from pico_jupyter.engine.backends.sampling import logits_processors
from pico_jupyter.engine.backends.speculation import Prospect, Speculation
from pico_jupyter.engine.backends.vision import VisionModel
from pico_jupyter.engine.memory.prefix_cache import Found, Kept, ModelPrefixes, PrefixCache

_LOAD_SHARE = 128 << 20
# Padding that is never worth a second pass over the weights, in bytes, and the share of the caches that always is.
_LITTLE_PADDING = 16 << 20
_MUCH_PADDING = 0.25
# How far a prompt must be known beyond what is cached for a checkpoint of its own, in tokens.
_WORTH_A_CHECKPOINT = 64


def leave_thread() -> None:
    """Let go of what MLX keeps for the calling thread, which must not use MLX afterwards.

    MLX computes on a thread of its own for each thread that uses it. If that one still frees arrays while the
    interpreter ends, the process aborts (seen with mlx 0.32).
    """
    gc.collect()
    mx.synchronize()
    mx.clear_streams()


def weights_of(model: Any) -> list[mx.array]:
    """A model's weights, in their own order."""
    return [weight for _, weight in tree_flatten(model.parameters())]


class LmBackend:
    """One model with the rows that it generates. A model that sees is a VisionModel, and all others are mlx-lm's."""

    def __init__(
        self,
        model: Any,
        name: str,
        *,
        prefixes: ModelPrefixes | None = None,
        kv_bits: int = 0,
        little_padding: int = _LITTLE_PADDING,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._little_padding = little_padding
        self._model = model
        self._name = name
        self._kv_bits = kv_bits
        self._prefixes = prefixes or PrefixCache(0).of(name)
        self._loading = list(_shares(weights_of(model)))
        self._weights_nbytes = sum(weight.nbytes for weight in weights_of(model))
        self._prefills: list[Prefill] = []
        self._batches: list[Batch] = []
        # Drawn by a prefill; the next step gives them out.
        self._first_draws: list[Draw] = []
        self._gave_first = False
        self._speculations: dict[int, Speculation] = {}
        self._is_cuttable = kv.is_cuttable(self._new_cache())
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
        drafts = sum(speculation.nbytes for speculation in self._speculations.values())
        return prefills + sum(kv.nbytes(batch.cache) for batch in self._batches) + drafts

    def load_step(self) -> int:
        if self._loading:
            mx.eval(self._loading.pop(0))
        return sum(weight.nbytes for share in self._loading for weight in share)

    def estimate_cache(self, tokens: int) -> int:
        return sum(size.nbytes(tokens) for size in self._sizes)

    def match(self, prompt: Sequence[int]) -> int:
        return self._prefixes.match(list(prompt), is_cuttable=self._is_cuttable)

    def insert(
        self,
        rows: Mapping[int, RowSampling],
        prompt: Sequence[int],
        *,
        drawn: int = 0,
        boundaries: Sequence[int] = (),
        drafting: Drafting | None = None,
        media: Media | None = None,
    ) -> int:
        tokens = list(prompt)
        turn = boundaries[-1] if boundaries else len(tokens) - 1
        delta = self._model.rope_delta(media) if isinstance(self._model, VisionModel) else None
        media = self._in_one_span(media) if media else None
        opened = [
            Row(number, sampling, logits_processors(sampling), turn, drawn, rope_delta=delta)
            for number, sampling in rows.items()
        ]
        if drafting and not media:  # a draft model sees nothing
            self._speculate(rows, drafting)
        known = self._prefixes.overlap(tokens)
        cache, cached = self.open_cache(tokens, media.spans if media else ())
        prefill = Prefill(opened, tokens, cache, cached, media=media)
        if not self._is_cuttable:
            prefill.marks.update(boundaries)
            if known - cached >= _WORTH_A_CHECKPOINT:
                # Here this prompt leaves the road of another one; others may do so as well.
                prefill.marks.add(min(known, len(tokens) - 1))
        self._prefills.append(prefill)
        return cached

    def keep(self, row: int, length: int) -> None:
        prefill = self._prefill_of(row)
        length = min(length, len(prefill.prompt) - 1)
        if length > prefill.done:
            prefill.marks.add(length)
        elif self._is_cuttable or length == prefill.done:
            self._keep_prefix(prefill, length)

    def prefill(self, rows: Sequence[int], limit: int) -> dict[int, int]:
        first, *others = (self._prefill_of(row) for row in rows)
        along = choose_along(first, others, limit) if self._can_merge else []
        if along:
            cache, logits = finish_together(self._model, [first, *along])
        else:
            cache, logits = first.cache, first.advance(self._model, limit)
            if first.done in first.marks:
                self._keep_prefix(first, first.done)
        worked_on = [first, *along]
        if not first.left:
            self._join(worked_on, cache, logits)
        return {row: prefill.left for prefill, row in zip((first, *others), rows, strict=True) if prefill in worked_on}

    def step(self) -> list[Draw]:
        first, self._first_draws = self._first_draws, []
        self._gave_first = bool(first) and not self._gave_first
        if self._gave_first:
            return first  # before anything is computed, but not twice in a row: the others wait
        rows = [row for batch in self._batches for row in batch.rows]
        if len(rows) == 1 and (speculation := self._speculations.get(rows[0].number)):
            return first + speculation.step(self._batches[0], self._model)
        for batch in self._batches:
            batch.advance(self._model)
        draws = first + [draw for batch in self._batches for draw in batch.collect()]
        # Somebody waits for a row's first token: that one is not left to the next step.
        return draws + [draw for batch in self._batches if batch.has_newcomers for draw in batch.give_out()]

    def remove(self, rows: Collection[int], *, keep: bool) -> None:
        for prefill in self._prefills:
            leaving = [row for row in prefill.rows if row.number in rows]
            prefill.rows = [row for row in prefill.rows if row not in leaving]
            if leaving and not prefill.rows and keep:
                self._keep_whole(prefill.prompt[: prefill.done], prefill.cache, leaving[0].turn)
        self._prefills = [prefill for prefill in self._prefills if prefill.rows]
        for batch in self._batches:
            leaving_at = [index for index, row in enumerate(batch.rows) if row.number in rows]
            if keep:
                for index in leaving_at:
                    row = batch.rows[index]
                    self._keep_whole(row.tokens, batch.cache_of(index), row.turn)
                    if speculation := self._speculations.get(row.number):
                        speculation.keep(row)
            if leaving_at:
                batch.reduce([index for index in range(len(batch.rows)) if index not in leaving_at])
        self._batches = [batch for batch in self._batches if batch.rows]
        self._first_draws = [draw for draw in self._first_draws if draw.row not in rows]
        for number in rows:
            self._speculations.pop(number, None)

    def close(self) -> None:
        self._prefills.clear()
        self._batches.clear()
        self._first_draws.clear()
        self._speculations.clear()
        self._loading.clear()
        self._prefixes.clear()
        self._model = None
        mx.clear_cache()

    # What this model does for the rows of a larger one

    def logits(self, tokens: mx.array, cache: kv.Cache) -> mx.array:
        logits: mx.array = self._model(tokens[None], cache=cache)[0, -1]
        return logits.astype(mx.float32)

    def open_cache(self, tokens: Sequence[int], spans: Sequence[tuple[int, int]] = ()) -> tuple[kv.Cache, int]:
        found = self._prefixes.take(list(tokens), kv.cut, is_cuttable=self._is_cuttable) or Found(0)
        cache, length = self._cache_from(found), found.length
        start = next((start for start, end in spans if start < length < end), None)
        if start is None:
            return cache, length
        # Part of a picture is none.
        if not self._is_cuttable:
            return self._new_cache(), 0
        kv.trim(cache, start)
        return cache, start

    def _in_one_span(self, media: Media) -> Media:
        """Media that the model can only look at together, in an empty cache, are one."""
        if isinstance(self._model, VisionModel) and self._model.must_look_at_once(media):
            return replace(media, spans=((0, media.spans[-1][1]),))
        return media

    def keep_cache(self, tokens: Sequence[int], cache: kv.Cache, turn: int) -> None:
        self._keep_whole(list(tokens), cache, turn)

    def _speculate(self, rows: Collection[int], drafting: Drafting) -> None:
        """Have tokens drafted for new rows, where both models' caches allow it."""
        drafter = drafting.backend
        if drafting.tokens and isinstance(drafter, LmBackend) and drafter._is_cuttable and self._is_cuttable:
            vocabulary = self._model(mx.array([[0]])).shape[-1]  # lazy: nothing is computed for it
            for number in rows:
                # Decoding reads all weights at every pass and does little else.
                prospect = Prospect(cost=drafter.weights_nbytes / self._weights_nbytes)
                self._speculations[number] = Speculation(
                    drafter, drafting.tokens, prospect=prospect, vocabulary=vocabulary, clock=self._clock
                )

    @cached_property
    def _sizes(self) -> list[kv.LayerSize]:
        cache = self._new_cache()
        self._model(mx.array([[0]]), cache=cache)  # lazy: shapes are known, nothing is computed
        return kv.sizes(cache)

    def _new_cache(self) -> kv.Cache:
        from mlx_lm.models.cache import make_prompt_cache

        return kv.quantized(make_prompt_cache(self._model), self._kv_bits)

    def _cache_from(self, found: Found) -> kv.Cache:
        if found.whole is not None:
            cache: kv.Cache = found.whole
            if self._is_cuttable:
                kv.trim(cache, found.length)
            return cache
        if found.length:
            return kv.restore(self._new_cache(), found.blocks, found.checkpoint, found.length)
        return self._new_cache()

    def _prefill_of(self, row: int) -> Prefill:
        return next(prefill for prefill in self._prefills if row in (one.number for one in prefill.rows))

    def _keep_prefix(self, prefill: Prefill, length: int) -> None:
        held = None if self._is_cuttable else kv.checkpoint(prefill.cache)
        self._prefixes.keep_blocks(prefill.prompt[:length], lambda start, end: kv.cut(prefill.cache, start, end), held)

    def _keep_whole(self, tokens: list[int], cache: kv.Cache, turn: int) -> None:
        kept = Kept(cache, kv.nbytes(cache))
        self._prefixes.keep_whole(tokens, kept, kv.cut, turn=turn, is_cuttable=self._is_cuttable)

    def _join(self, prefills: list[Prefill], cache: kv.Cache, logits: mx.array | None) -> None:
        """Let the rows of finished prompts decode: in a batch, or each on its own where caches cannot merge.

        `cache` is that of the prompts, merged if they are several; `logits` came after their last tokens, if those are
        in it.
        """
        mx.clear_cache()
        self._prefills = [prefill for prefill in self._prefills if prefill not in prefills]
        rows = [row for prefill in prefills for row in prefill.rows]
        inputs = [prefill.prompt[-1] for prefill in prefills for _ in prefill.rows]
        for prefill in prefills:
            for row in prefill.rows:
                row.tokens = prefill.prompt[:-1]
        if self._can_merge:
            is_shared = len(prefills) == 1 < len(rows)
            joining = [Batch(rows, kv.merge([cache] * len(rows)) if is_shared else cache, inputs)]
        else:
            copies = [copy.deepcopy(cache) if index else cache for index in range(len(rows))]
            joining = [Batch([row], own, inputs[:1]) for row, own in zip(rows, copies, strict=True)]
        for batch in joining:
            if logits is not None:
                batch.begin(logits if len(prefills) > 1 else mx.repeat(logits, len(batch.rows), axis=0))
                self._first_draws += batch.give_out()
            self._find_company(batch)

    def _find_company(self, joining: Batch) -> None:
        for batch in self._batches if self._can_merge else ():
            if self._should_join(batch, joining):
                batch.extend(joining)
                return
        self._batches.append(joining)

    def _should_join(self, batch: Batch, joining: Batch) -> bool:
        """Whether padding all rows to the longest costs less than another pass over the weights."""
        lengths = [len(row.tokens) for row in (*batch.rows, *joining.rows)]
        exact = sum(self.estimate_cache(length) for length in lengths)
        padding = len(lengths) * self.estimate_cache(max(lengths)) - exact
        return padding <= max(self._little_padding, min(self._weights_nbytes, int(_MUCH_PADDING * exact)))


def _shares(weights: list[mx.array], share: int = _LOAD_SHARE) -> Iterator[list[mx.array]]:
    """Cut the weights into lists of about `share` bytes, in their own order."""
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
