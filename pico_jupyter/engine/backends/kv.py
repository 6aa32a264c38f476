"""Operations on KV caches: copy, merge, extract, trim, restore, and sizes.

A cache is a list with one object per layer, as models of mlx-lm and mlx-vlm expect it. A scalar cache has one row, a
merged cache several. Layers of the classes KVCache and QuantizedKVCache can be trimmed to any length. All other layers
(rotating, state space, nested) can only be copied whole. Such a copy, a checkpoint, is valid for one length.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map

from pico_jupyter.engine.memory.prefix_cache import CachedValue

# One object per layer.
Cache = list[Any]

_QUANTIZATION_GROUP = 64
# The models of mlx-vlm need the classes of mlx-vlm, which have the same names as those of mlx-lm.
_CACHE_MODULES = ("mlx_lm.models.cache", "mlx_vlm.models.cache")


def _has_class(layer: Any, *names: str) -> bool:
    return type(layer).__module__ in _CACHE_MODULES and type(layer).__name__ in names


def is_trimmable(cache: Cache) -> bool:
    """Whether every layer can be trimmed to any length."""
    return all(_is_trimmable(layer) for layer in cache)


def _is_trimmable(layer: Any) -> bool:
    return _has_class(layer, "KVCache", "QuantizedKVCache")


def quantized(cache: Cache, bits: int) -> Cache:
    """Replace the KVCache layers of an empty cache by quantized ones of `bits` bits. 0: no change."""
    if not bits:
        return cache
    return [layer.to_quantized(_QUANTIZATION_GROUP, bits) if _has_class(layer, "KVCache") else layer for layer in cache]


def can_merge(cache: Cache) -> bool:
    """Whether caches with the same layers as this empty cache can be merged."""
    try:
        merge([cache, cache])
    except (AttributeError, NotImplementedError):
        return False
    return True


def merge(caches: list[Cache]) -> Cache:
    """Merge scalar caches into one cache with a row for each."""
    return [layers[0].merge(list(layers)) for layers in zip(*caches, strict=True)]


def extract(cache: Cache, index: int) -> Cache:
    """Copy one row of a merged cache into a scalar cache."""
    row = [layer.extract(index) for layer in cache]
    evaluate(row)
    return row


def nbytes(cache: Cache) -> int:
    """The bytes of all layers."""
    return sum(0 if layer.empty() else layer.nbytes for layer in cache)


def evaluate(cache: Cache) -> None:
    """Start to compute the lazy arrays of a cache. A slice that is still lazy keeps the whole array in memory."""
    _start_eval([value for layer in cache for _, value in tree_flatten(layer.state) if isinstance(value, mx.array)])


def _start_eval(arrays: list[mx.array]) -> None:
    mx.async_eval(arrays)  # type: ignore[no-untyped-call]  # untyped in mlx's stubs


def trim(cache: Cache, length: int) -> None:
    """Trim all layers to their first `length` tokens."""
    for layer in cache:
        layer.trim(layer.offset - length)


def copy_tokens(cache: Cache, start: int, end: int) -> CachedValue:
    """Copy the keys and values of the tokens from `start` to `end` in all trimmable layers."""
    layers = [
        tree_map(lambda array: mx.contiguous(array[..., start:end, :]), (layer.keys, layer.values))
        for layer in cache
        if _is_trimmable(layer)
    ]
    arrays = [array for _, array in tree_flatten(layers)]
    _start_eval(arrays)
    return CachedValue(layers, sum(array.nbytes for array in arrays))


def checkpoint(cache: Cache) -> CachedValue:
    """Copy the layers that are not trimmable."""
    layers = [copy.deepcopy(layer) for layer in cache if not _is_trimmable(layer)]
    evaluate(layers)
    return CachedValue(layers, nbytes(layers))


def restore(empty: Cache, blocks: Sequence[Any], copied: Any, length: int) -> Cache:
    """Fill `empty`, a new cache, with `length` tokens. `blocks` come from copy_tokens(), `copied` from checkpoint()."""
    parts = iter(zip(*blocks, strict=True))
    copies = iter(copied or ())
    cache = []
    for layer in empty:
        if _is_trimmable(layer):
            _fill(layer, next(parts), length)
            cache.append(layer)
        else:
            cache.append(copy.deepcopy(next(copies)))
    evaluate(cache)
    return cache


def _fill(layer: Any, parts: Sequence[Any], length: int) -> None:
    """Fill one layer with the joined parts. The length is padded to a multiple of layer.step, as in mlx-lm."""
    padding = -length % layer.step

    def join(*arrays: mx.array) -> mx.array:
        *shape, _, width = arrays[0].shape
        whole = mx.concatenate(list(arrays), axis=-2)[..., :length, :]
        return mx.concatenate([whole, mx.zeros((*shape, padding, width), whole.dtype)], axis=-2)

    layer.keys, layer.values = tree_map(join, *parts)
    layer.offset = length


@dataclass(frozen=True, slots=True)
class LayerSize:
    """The bytes of one layer's cache: `constant`, and `per_token` for each token up to `max_tokens`.

    Tokens are allocated in multiples of `step`.
    """

    per_token: float = 0.0
    step: int = 1
    max_tokens: int | None = None
    constant: int = 0

    def nbytes(self, tokens: int) -> int:
        """The bytes that `tokens` tokens need."""
        length = -(-tokens // self.step) * self.step
        if self.max_tokens is not None:
            length = min(length, self.max_tokens)
        return self.constant + int(self.per_token * length)


def sizes(cache: Cache) -> list[LayerSize]:
    """The sizes of all layers, from a cache with one token. Reads only shapes, so the cache may be lazy."""
    return [size for layer in cache for size in _sizes(layer)]


def _sizes(layer: Any) -> list[LayerSize]:
    if _has_class(layer, "CacheList"):
        return [size for inner in layer.caches for size in _sizes(inner)]
    if _has_class(layer, "QuantizedKVCache"):
        return [LayerSize(layer.nbytes / layer.keys[0].shape[-2], layer.step)]
    if _has_class(layer, "KVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2], layer.step)]
    if _has_class(layer, "ChunkedKVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2], layer.step, max_tokens=layer.chunk_size)]
    if _has_class(layer, "ConcatenateKVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2])]
    if _has_class(layer, "RotatingKVCache", "BufferedRotatingKVCache"):
        return [LayerSize(layer.nbytes / layer.keys.shape[-2], layer.step, max_tokens=layer.max_size)]
    return [LayerSize(constant=0 if layer.empty() else layer.nbytes)]
