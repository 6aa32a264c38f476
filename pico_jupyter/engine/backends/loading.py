"""load: from a model's folder to its backend. Knows which library loads what, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx

from pico_jupyter.engine.backend import Backend
from pico_jupyter.engine.backends.lm import LmBackend, weights_of
from pico_jupyter.engine.backends.vision import VisionModel
from pico_jupyter.engine.memory.device import is_on_cpu
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from pico_jupyter.types import ModelInfo

_BUFFER_CACHE = 512 << 20
_HALF = frozenset({mx.bfloat16, mx.float16, mx.float32})


def load(
    info: ModelInfo,
    room: int = 0,
    *,
    prefixes: PrefixCache | None = None,
    kv_bits: int = 0,
    float32_on_cpu: bool = True,
) -> Backend:
    """Open a model's files: mlx-vlm those of models that see, mlx-lm all others. Weights are read by load_step().

    On a CPU 16-bit weights become float32, which is several times faster there, when they then still fit in `room`
    bytes.
    """
    mx.set_cache_limit(_BUFFER_CACHE)
    kept = (prefixes or PrefixCache(0)).of(info.name)
    sees = "vision" in info.capabilities
    model = _load_with_mlx_vlm(Path(info.path)) if sees else _load_with_mlx_lm(Path(info.path))
    if float32_on_cpu and is_on_cpu() and _is_half(model) and _float32_nbytes(model) <= room:
        model.set_dtype(mx.float32)
    return LmBackend(VisionModel(model, kept) if sees else model, info.name, prefixes=kept, kv_bits=kv_bits)


def _load_with_mlx_lm(path: Path) -> Any:
    from mlx_lm.utils import load_model

    model, _ = load_model(path, lazy=True)
    return model


def _load_with_mlx_vlm(path: Path) -> Any:
    from mlx_vlm.utils import load_model

    return load_model(path, lazy=True)


def _is_half(model: Any) -> bool:
    dtypes = {weight.dtype for weight in weights_of(model)}
    return bool(dtypes) and dtypes <= _HALF and dtypes != {mx.float32}


def _float32_nbytes(model: Any) -> int:
    return sum(4 * weight.size for weight in weights_of(model))
