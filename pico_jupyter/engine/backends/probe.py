"""`python -m pico_jupyter.engine.backends.probe`: measures the parts of a model's work in this process.

Prints JSON. Run it in the environment of the model kernel to measure the speed of models in it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

# Prefill multiplies many rows with each weight matrix, decoding only one row. 32 matrices of 4 MB exceed most caches.
ROWS, WIDTH, WEIGHTS = 32, 1024, 32
SECONDS = 0.15
MAPS = Path("/proc/self/maps")
BLAS_FILE = re.compile(r"lib[^/]*blas|libblis|libmkl_rt")


class Speed(msgspec.Struct, frozen=True):
    """The measured speeds of a process.

    device: MLX's default device. blas: paths of the loaded BLAS libraries.
    float32, bfloat16: speed of a matrix product in prefill, in GFLOP/s.
    decode: bytes of float32 weights that products with one row process per second, in GB/s.
    memory: the speed at which one thread reads the same weights, in GB/s. No decode step is faster by much.
    """

    device: str
    blas: tuple[str, ...]
    float32: float
    bfloat16: float
    decode: float
    memory: float


def measure() -> Speed:
    """Measure the speeds in this process. Takes about a second."""
    import mlx.core as mx

    decode, memory = _reading_speeds(mx)
    return Speed(
        str(mx.default_device()),
        loaded_blas(),
        _product_speed(mx, mx.float32),
        _product_speed(mx, mx.bfloat16),
        decode,
        memory,
    )


def loaded_blas() -> tuple[str, ...]:
    """The paths of the BLAS libraries in this process. Empty where there is no /proc."""
    if not MAPS.exists():
        return ()
    paths = {line.split(maxsplit=5)[-1] for line in MAPS.read_text().splitlines()}
    return tuple(sorted(path for path in paths if BLAS_FILE.search(path)))


def _product_speed(mx: Any, dtype: Any) -> float:
    left = mx.ones((ROWS, WIDTH), dtype)
    right = mx.ones((WIDTH, WIDTH), dtype)
    return 2 * ROWS * WIDTH * WIDTH / _best_seconds(lambda: mx.eval(left @ right.T)) / 1e9


def _reading_speeds(mx: Any) -> tuple[float, float]:
    import numpy as np

    row = mx.ones((1, WIDTH))
    weights = [mx.full((WIDTH, WIDTH), float(index)) for index in range(WEIGHTS)]
    mx.eval(row, weights)
    gigabytes = sum(weight.nbytes for weight in weights) / 1e9
    decode = gigabytes / _best_seconds(lambda: mx.eval([row @ weight.T for weight in weights]))
    views = [np.asarray(weight) for weight in weights]
    memory = gigabytes / _best_seconds(lambda: [view.max() for view in views])
    return decode, max(decode, memory)


def _best_seconds(work: Callable[[], object]) -> float:
    """The shortest of several runs after the first."""
    work()
    best = float("inf")
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure()))
