"""`python -m pico_jupyter.engine.backends.probe`: measures the speed of matrix products in this process.

Prints JSON. Run it in the environment of the model kernel to measure the speed that models get there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

# The matrix product has about the size of one in a decode step with 32 rows.
ROWS, WIDTH = 32, 1024
SECONDS = 0.15
MAPS = Path("/proc/self/maps")


class Speed(msgspec.Struct, frozen=True):
    """The speed with two dtypes, in GFLOP/s. `device` is MLX's default device, `blas` the loaded BLAS libraries."""

    device: str
    blas: tuple[str, ...]
    float32: float
    bfloat16: float


def measure() -> Speed:
    """Measure the speed in this process. Takes less than a second."""
    import mlx.core as mx

    return Speed(str(mx.default_device()), loaded_blas(), _speed(mx, mx.float32), _speed(mx, mx.bfloat16))


def loaded_blas() -> tuple[str, ...]:
    """The paths of the BLAS libraries in this process. Empty where there is no /proc."""
    if not MAPS.exists():
        return ()
    return tuple(sorted({line.split(maxsplit=5)[-1] for line in MAPS.read_text().splitlines() if "blas" in line}))


def _speed(mx: Any, dtype: Any) -> float:
    left = mx.ones((ROWS, WIDTH), dtype)
    right = mx.ones((WIDTH, WIDTH), dtype)
    mx.eval(left @ right.T)
    best = float("inf")
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        mx.eval(left @ right.T)
        best = min(best, time.perf_counter() - start)
    return 2 * ROWS * WIDTH * WIDTH / best / 1e9


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(measure()))
