"""What can be done with the KV caches of a model's layers: copy, cut, join, trim, count. Knows no row and no model.

A cache is one object per layer, as the models of mlx-lm and mlx-vlm take it. Layers with KVCache or QuantizedKVCache
can be cut at any token. All others (rotating, state space, nested) can only be copied whole: a checkpoint of them is
good for one length.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map

from pico_jupyter.engine.memory.prefix_cache import Kept

# One object per layer.
Cache = list[Any]

_KV_GROUP = 64
# mlx-vlm has classes of its own, by the names of mlx-lm's, and its models want those.
_CACHE_MODULES = ("mlx_lm.models.cache", "mlx_vlm.models.cache")


def _is(layer: Any, *names: str) -> bool:
    return type(layer).__module__ in _CACHE_MODULES and type(layer).__name__ in names


def is_cuttable(cache: Cache) -> bool:
    """Whether every layer can be cut at any token."""
    return all(_is_cuttable(layer) for layer in cache)


def _is_cuttable(layer: Any) -> bool:
    return _is(layer, "KVCache", "QuantizedKVCache")


def quantized(cache: Cache, bits: int) -> Cache:
    """An empty cache whose plain layers hold `bits` bits (0: as they are)."""
    if not bits:
        return cache
    return [layer.to_quantized(_KV_GROUP, bits) if _is(layer, "KVCache") else layer for layer in cache]


def can_merge(cache: Cache) -> bool:
    """Whether the layers' caches know how to form a batch; asked of empty ones, nested kinds included."""
    try:
        merge([cache, cache])
    except (AttributeError, NotImplementedError):
        return False
    return True


def merge(caches: list[Cache]) -> Cache:
    """One batch out of several scalar caches."""
    return [layers[0].merge(list(layers)) for layers in zip(*caches, strict=True)]


def extract(cache: Cache, index: int) -> Cache:
    """A scalar cache with a copy of one row of a batch."""
    row = [layer.extract(index) for layer in cache]
    evaluate(row)
    return row


def nbytes(cache: Cache) -> int:
    """Bytes that the layers hold."""
    return sum(0 if layer.empty() else layer.nbytes for layer in cache)


def evaluate(cache: Cache) -> None:
    """Begin to compute what is still lazy in the layers, so that no lazy slice holds on to what it was cut from."""
    _begin([value for layer in cache for _, value in tree_flatten(layer.state) if isinstance(value, mx.array)])


def _begin(arrays: list[mx.array]) -> None:
    mx.async_eval(arrays)  # type: ignore[no-untyped-call]  # untyped in mlx's stubs


def trim(cache: Cache, length: int) -> None:
    """Cut all layers back to their first `length` tokens."""
    for layer in cache:
        layer.trim(layer.offset - length)


def cut(cache: Cache, start: int, end: int) -> Kept:
    """A copy of the tokens from start to end in the layers that can be cut."""
    layers = [
        tree_map(lambda array: mx.contiguous(array[..., start:end, :]), (layer.keys, layer.values))
        for layer in cache
        if _is_cuttable(layer)
    ]
    arrays = [array for _, array in tree_flatten(layers)]
    _begin(arrays)
    return Kept(layers, sum(array.nbytes for array in arrays))


def checkpoint(cache: Cache) -> Kept:
    """A copy of the layers that cannot be cut, as they are now."""
    layers = [copy.deepcopy(layer) for layer in cache if not _is_cuttable(layer)]
    evaluate(layers)
    return Kept(layers, nbytes(layers))


def restore(empty: Cache, blocks: Sequence[Any], held: Any, length: int) -> Cache:
    """A cache of `length` tokens out of blocks and a checkpoint (None where all layers can be cut).

    `empty` are the model's new caches; they are filled.
    """
    joined = iter(zip(*blocks, strict=True))
    copies = iter(held or ())
    cache = []
    for layer in empty:
        if _is_cuttable(layer):
            _fill(layer, next(joined), length)
            cache.append(layer)
        else:
            cache.append(copy.deepcopy(next(copies)))
    evaluate(cache)
    return cache


def _fill(layer: Any, parts: Sequence[Any], length: int) -> None:
    """Join the parts of one layer. Room for the next tokens is made at once, as the layer itself would make it."""
    room = -length % layer.step

    def join(*arrays: mx.array) -> mx.array:
        *shape, _, width = arrays[0].shape
        whole = mx.concatenate(list(arrays), axis=-2)[..., :length, :]
        return mx.concatenate([whole, mx.zeros((*shape, room, width), whole.dtype)], axis=-2)

    layer.keys, layer.values = tree_map(join, *parts)
    layer.offset = length


@dataclass(frozen=True, slots=True)
class LayerSize:
    """What one layer's cache takes: `per_token` bytes for at most `most` tokens, in steps; `constant` bytes besides."""

    per_token: float = 0.0
    step: int = 1
    most: int | None = None
    constant: int = 0

    def nbytes(self, tokens: int) -> int:
        length = -(-tokens // self.step) * self.step
        return self.constant + int(self.per_token * (length if self.most is None else min(length, self.most)))


def sizes(cache: Cache) -> list[LayerSize]:
    """The size of each layer, from a cache that has seen one token. Nothing needs to be computed for it."""
    return [size for layer in cache for size in _sizes(layer)]


def _sizes(layer: Any) -> list[LayerSize]:
    if _is(layer, "CacheList"):
        return [size for inner in layer.caches for size in _sizes(inner)]
    if _is(layer, "QuantizedKVCache"):
        return [LayerSize(layer.nbytes / layer.keys[0].shape[-2], layer.step)]
    if _is(layer, "KVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2], layer.step)]
    if _is(layer, "ChunkedKVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2], layer.step, most=layer.chunk_size)]
    if _is(layer, "ConcatenateKVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2])]
    if _is(layer, "RotatingKVCache", "BufferedRotatingKVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2], layer.step, most=layer.max_size)]
    return [LayerSize(constant=0 if layer.empty() else layer.nbytes)]
