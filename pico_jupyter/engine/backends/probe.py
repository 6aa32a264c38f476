"""`python -m pico_jupyter.engine.backends.probe`: how fast mlx multiplies matrices in this very process, as JSON.

Run in the model kernel's environment, it tells what the model kernel gets. Knows no model.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

# As in a decode step of 32 sequences.
ROWS, WIDTH = 32, 1024
SECONDS = 0.15
MAPS = Path("/proc/self/maps")


class Speed(msgspec.Struct, frozen=True):
    """`device` is mlx's default one; `blas` are the BLAS libraries in the process; speeds are in GFLOP/s."""

    device: str
    blas: tuple[str, ...]
    float32: float
    bfloat16: float


def measure() -> Speed:
    """Measure this process; takes less than a second."""
    import mlx.core as mx

    return Speed(str(mx.default_device()), loaded_blas(), _speed(mx, mx.float32), _speed(mx, mx.bfloat16))


def loaded_blas() -> tuple[str, ...]:
    """The paths of the BLAS libraries in this process, where the system tells."""
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
