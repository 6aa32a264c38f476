"""load(): opens a model's folder with mlx-lm or mlx-vlm, and chooses the precision for this device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx

from pico_jupyter.engine.backend import LoadedModel
from pico_jupyter.engine.backends.embedding import EmbeddingModel, open_network
from pico_jupyter.engine.backends.lm import LmBackend, weights_of
from pico_jupyter.engine.backends.vision import VisionModel
from pico_jupyter.engine.memory.device import is_on_cpu
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.types import ModelInfo

# Bytes of freed memory that MLX may keep for new arrays.
_BUFFER_CACHE = 512 << 20
_FLOATS = frozenset({mx.bfloat16, mx.float16, mx.float32})


def load(
    info: ModelInfo,
    free: int = 0,
    *,
    prefixes: PrefixCache | None = None,
    kv_bits: int = 0,
    float32_on_cpu: bool = True,
) -> LoadedModel:
    """Open a model with mlx-vlm if it has vision, as an embedding model, or with mlx-lm.

    Its weights are read later, by load_step().

    With `float32_on_cpu`, 16-bit weights are converted to float32 on a CPU, where float32 is much faster, if the result
    fits into `free` bytes. `kv_bits` is the number of bits of quantized KV caches; 0: not quantized. Raises any
    exception of mlx-lm and mlx-vlm.
    """
    mx.set_cache_limit(_BUFFER_CACHE)
    own_prefixes = (prefixes or PrefixCache(0)).for_model(info.name)
    has_vision, is_embedding = "vision" in info.capabilities, "embedding" in info.capabilities
    open_model = _load_with_mlx_vlm if has_vision else open_network if is_embedding else _load_with_mlx_lm
    model: Any = open_model(Path(info.path))
    if float32_on_cpu and is_on_cpu() and _has_16_bit_floats(model) and _float32_nbytes(model) <= free:
        model.set_dtype(mx.float32)
    if is_embedding:
        return EmbeddingModel(model, info.name)
    model = VisionModel(model, own_prefixes) if has_vision else model
    return LmBackend(model, info.name, prefixes=own_prefixes, kv_bits=kv_bits)


def _load_with_mlx_lm(path: Path) -> Any:
    from mlx_lm.utils import load_model

    model, _ = load_model(path, lazy=True)
    return model


def _load_with_mlx_vlm(path: Path) -> Any:
    from mlx_vlm.utils import load_model

    return load_model(path, lazy=True)


def _has_16_bit_floats(model: Any) -> bool:
    dtypes = {weight.dtype for weight in weights_of(model)}
    return bool(dtypes) and dtypes <= _FLOATS and dtypes != {mx.float32}


def _float32_nbytes(model: Any) -> int:
    return sum(4 * weight.size for weight in weights_of(model))
