"""A text model of mlx-lm behind the Backend floor. Knows caches and logits; knows no text and no request.

Invariants: everything here runs on the thread that loaded the model. A prompt is prefilled alone, in a scalar cache;
its last token is the row's first input to decode. A lone row decodes in its scalar cache, several in a merged one. One
step is always in flight: step() queues the next forward pass before it reads the tokens of the previous one.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten

from pico_jupyter.engine.backends.base import Backend, Draw, RowSampling
from pico_jupyter.engine.sampling import (
    LogitsProcessor,
    logits_processors,
    penalty_window,
    sample,
    top_candidates,
)
from pico_jupyter.types import ModelInfo

# Layers' caches, as mlx-lm's models take them: a scalar cache object, or a batch one, per layer.
Cache = list[Any]

_LOAD_SHARE = 256 << 20
_BUFFER_CACHE = 512 << 20
# How often the whole state of the caches is evaluated, so that no lazy graph grows behind a part that is rarely read.
_STEPS_BETWEEN_EVALS = 50


def load(info: ModelInfo, room: int = 0) -> Backend:
    """Open a model's files. Weights are read by load_step(), not here.

    On a CPU 16-bit weights become float32, which is several times faster there, when they then still fit in `room`
    bytes.
    """
    from mlx_lm.utils import load_model

    mx.set_cache_limit(_BUFFER_CACHE)
    model, _ = load_model(Path(info.path), lazy=True)
    dtypes = {weight.dtype for weight in _weights(model)}
    is_half = bool(dtypes) and dtypes <= {mx.bfloat16, mx.float16, mx.float32} and dtypes != {mx.float32}
    if is_half and mx.default_device() == mx.Device(mx.cpu) and _float32_nbytes(model) <= room:
        model.set_dtype(mx.float32)
    return LmBackend(model, info.name)


def leave_thread() -> None:
    """Let go of what MLX keeps for the calling thread, which must not use MLX afterwards.

    MLX computes on a thread of its own for each thread that uses it. If that one still frees arrays while the
    interpreter ends, the process aborts (seen with mlx 0.32).
    """
    gc.collect()
    mx.synchronize()
    mx.clear_streams()


def _weights(model: Any) -> list[mx.array]:
    return [weight for _, weight in tree_flatten(model.parameters())]


def _float32_nbytes(model: Any) -> int:
    return sum(4 * weight.size for weight in _weights(model))


@dataclass(slots=True, eq=False)
class _Row:
    """A row that decodes. `recent` are the latest tokens that its penalties see; `drawn` counts the tokens sampled."""

    number: int
    sampling: RowSampling
    processors: list[LogitsProcessor]
    recent: list[int] = field(default_factory=list)
    drawn: int = 0

    def remember(self, tokens: Sequence[int]) -> None:
        if window := penalty_window(self.sampling):
            self.recent = [*self.recent, *tokens][-window:]


@dataclass(slots=True, eq=False)
class _Prefill:
    """A prompt on its way into a scalar cache; `rows` will share it."""

    rows: list[_Row]
    prompt: list[int]
    cache: Cache
    done: int = 0


@dataclass(slots=True)
class _Logprobs:
    """Lazy log-probabilities of one row's token and of the likeliest ones."""

    chosen: mx.array
    top: mx.array
    top_values: mx.array


@dataclass(slots=True)
class _Batch:
    """Rows that decode together. `inputs` are the tokens that the next forward pass takes, one per row.

    `is_drawn` tells for each row whether its input was sampled (and is to be given out) or is the prompt's last token.
    """

    rows: list[_Row]
    cache: Cache
    inputs: mx.array
    is_drawn: list[bool]
    logprobs: list[_Logprobs | None]
    steps: int = 0


class LmBackend:
    """One model with the rows that it generates."""

    def __init__(self, model: Any, name: str) -> None:
        from mlx_lm.models.cache import make_prompt_cache

        self._make_cache = make_prompt_cache
        self._model = model
        self._name = name
        self._loading = list(_shares(_weights(model)))
        self._weights_nbytes = sum(weight.nbytes for weight in _weights(model))
        self._prefills: list[_Prefill] = []
        self._batches: list[_Batch] = []
        self._can_merge = _can_merge(make_prompt_cache(model))

    def __repr__(self) -> str:
        decoding = sum(len(batch.rows) for batch in self._batches)
        prefilling = sum(len(prefill.rows) for prefill in self._prefills)
        return f"<LmBackend {self._name} [{decoding} decoding | {prefilling} prefilling]>"

    @property
    def weights_nbytes(self) -> int:
        return self._weights_nbytes

    @property
    def cache_nbytes(self) -> int:
        caches = [prefill.cache for prefill in self._prefills] + [batch.cache for batch in self._batches]
        return sum(layer.nbytes for cache in caches for layer in cache)

    def load_step(self) -> int:
        if self._loading:
            mx.eval(self._loading.pop(0))
        return sum(weight.nbytes for share in self._loading for weight in share)

    def insert(self, rows: Mapping[int, RowSampling], prompt: Sequence[int]) -> None:
        opened = [_Row(number, sampling, logits_processors(sampling)) for number, sampling in rows.items()]
        self._prefills.append(_Prefill(opened, list(prompt), self._make_cache(self._model)))

    def prefill(self, row: int, limit: int) -> int:
        prefill = next(prefill for prefill in self._prefills if row in (one.number for one in prefill.rows))
        # The last token is left to the first decode step, which needs its logits.
        chunk = prefill.prompt[prefill.done : min(prefill.done + limit, len(prefill.prompt) - 1)]
        if chunk:
            self._model(mx.array([chunk]), cache=prefill.cache)
            mx.eval([layer.state for layer in prefill.cache])
            mx.clear_cache()
            prefill.done += len(chunk)
        left = len(prefill.prompt) - 1 - prefill.done
        if left == 0:
            self._prefills.remove(prefill)
            self._join(prefill)
        return left

    def step(self) -> list[Draw]:
        return [draw for batch in self._batches for draw in self._step_batch(batch)]

    def remove(self, rows: Collection[int]) -> None:
        for prefill in self._prefills:
            prefill.rows = [row for row in prefill.rows if row.number not in rows]
        self._prefills = [prefill for prefill in self._prefills if prefill.rows]
        for batch in self._batches:
            keep = [index for index, row in enumerate(batch.rows) if row.number not in rows]
            if 0 < len(keep) < len(batch.rows):
                _leave(batch, keep)
            elif not keep:
                batch.rows = []
        self._batches = [batch for batch in self._batches if batch.rows]

    def close(self) -> None:
        self._prefills.clear()
        self._batches.clear()
        self._loading.clear()
        self._model = None
        mx.clear_cache()

    def _join(self, prefill: _Prefill) -> None:
        """Let the rows of a finished prefill decode: in the batch, or each on its own where caches cannot merge."""
        for row in prefill.rows:
            row.remember(prefill.prompt[:-1])
        last = prefill.prompt[-1]
        if not self._can_merge:
            for index, row in enumerate(prefill.rows):
                cache = copy.deepcopy(prefill.cache) if index else prefill.cache
                self._batches.append(_Batch([row], cache, mx.array([last]), [False], [None]))
            return
        count = len(prefill.rows)
        cache = prefill.cache if count == 1 else _merge([prefill.cache] * count)
        joining = _Batch(prefill.rows, cache, mx.array([last] * count), [False] * count, [None] * count)
        if self._batches:
            _extend(self._batches[0], joining)
        else:
            self._batches.append(joining)

    def _step_batch(self, batch: _Batch) -> Iterator[Draw]:
        inputs, is_drawn, given = batch.inputs, batch.is_drawn, batch.logprobs
        logits = self._model(inputs[:, None], cache=batch.cache)[:, -1, :].astype(mx.float32)
        raw = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        drawn_from = _penalised(batch.rows, inputs, logits, raw)
        batch.inputs = sample(drawn_from, [row.sampling for row in batch.rows], [row.drawn for row in batch.rows])
        batch.is_drawn = [True] * len(batch.rows)
        batch.logprobs = [_logprobs_of(row, raw[index], batch.inputs[index]) for index, row in enumerate(batch.rows)]
        asked = [[one.chosen, one.top, one.top_values] for one in batch.logprobs if one]
        mx.async_eval(batch.inputs, asked)  # type: ignore[no-untyped-call]  # untyped in mlx's stubs
        batch.steps += 1
        if batch.steps % _STEPS_BETWEEN_EVALS == 0:
            mx.eval([layer.state for layer in batch.cache])
        for index, (row, token) in enumerate(zip(batch.rows, _ints(inputs), strict=True)):
            row.drawn += 1
            row.remember([token])
            if is_drawn[index]:
                yield _draw(row.number, token, given[index])


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


def _can_merge(cache: Cache) -> bool:
    """Whether the layers' caches know how to form a batch; asked of empty ones, nested kinds included."""
    try:
        _merge([cache, cache])
    except (AttributeError, NotImplementedError):
        return False
    return True


def _merge(caches: list[Cache]) -> Cache:
    return [layers[0].merge(list(layers)) for layers in zip(*caches, strict=True)]


def _extend(batch: _Batch, joining: _Batch) -> None:
    """Add rows to a batch. A lone row's scalar cache becomes a batch of one first."""
    if len(batch.rows) == 1:
        batch.cache = _merge([batch.cache])
    other = _merge([joining.cache]) if len(joining.rows) == 1 else joining.cache
    for layer, layer_of_other in zip(batch.cache, other, strict=True):
        layer.extend(layer_of_other)
    batch.rows = batch.rows + joining.rows
    batch.inputs = mx.concatenate([batch.inputs, joining.inputs])
    batch.is_drawn = batch.is_drawn + joining.is_drawn
    batch.logprobs = batch.logprobs + joining.logprobs


def _leave(batch: _Batch, keep: list[int]) -> None:
    """Keep only some rows of a merged batch; a last one goes back to a scalar cache."""
    if len(keep) == 1:
        batch.cache = [layer.extract(keep[0]) for layer in batch.cache]
    else:
        for layer in batch.cache:
            layer.filter(keep)
    batch.rows = [batch.rows[index] for index in keep]
    batch.inputs = batch.inputs[mx.array(keep)]
    batch.is_drawn = [batch.is_drawn[index] for index in keep]
    batch.logprobs = [batch.logprobs[index] for index in keep]


def _penalised(rows: list[_Row], inputs: mx.array, logits: mx.array, raw: mx.array) -> mx.array:
    """Log-probabilities to draw from: `raw`, but for rows with penalties or a bias."""
    if not any(row.processors for row in rows):
        return raw
    changed = []
    for index, row in enumerate(rows):
        own = logits[index : index + 1]
        # The newest input may still be in flight, so the context is an array and never waits for it.
        context = mx.concatenate([mx.array(row.recent, inputs.dtype), inputs[index : index + 1]])
        for process in row.processors:
            own = process(context, own)
        changed.append(own - mx.logsumexp(own, axis=-1, keepdims=True) if row.processors else raw[index : index + 1])
    return mx.concatenate(changed)


def _logprobs_of(row: _Row, raw: mx.array, token: mx.array) -> _Logprobs | None:
    if row.sampling.top_logprobs is None:
        return None
    top = top_candidates(raw, row.sampling.top_logprobs) if row.sampling.top_logprobs else mx.array([], mx.uint32)
    return _Logprobs(raw[token], top, raw[top])


def _draw(number: int, token: int, given: _Logprobs | None) -> Draw:
    if given is None:
        return Draw(number, token)
    values = cast("list[float]", given.top_values.tolist())
    return Draw(number, token, float(given.chosen), tuple(zip(_ints(given.top), values, strict=True)))


def _ints(array: mx.array) -> list[int]:
    return cast("list[int]", array.tolist())
