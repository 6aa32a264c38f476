"""The memory of this device: the budget for models, and the limit for wired memory."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import mlx.core as mx

from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.types import EngineOptions

# Notebooks, the browser and the operating system use the rest.
_SHARE_OF_RAM = 0.6
_SHARE_OF_GPU = 0.9
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def device_capacity(options: EngineOptions) -> Capacity:
    """The memory for models: `memory_budget` of the options, or else a share of the device's memory."""
    return Capacity(options.memory_budget or device_budget(), in_float32=options.float32_on_cpu and is_on_cpu())


def is_on_cpu() -> bool:
    """Whether MLX computes on the CPU."""
    return bool(mx.default_device() == mx.Device(mx.cpu))


def device_budget(cgroup_limit: Path = _CGROUP_LIMIT) -> int:
    """Bytes for all weights and caches: a share of the GPU's memory, or else of the RAM that the cgroup allows."""
    device = mx.device_info()
    for key in ("max_recommended_working_set_size", "total_memory", "memory_size"):
        if size := device.get(key):
            return int(_SHARE_OF_GPU * int(size))
    return int(_SHARE_OF_RAM * _ram(cgroup_limit))


def limit_wired_memory(weights_nbytes: int) -> None:
    """Wire as much memory as the weights need, so that macOS does not page them out. Does nothing without Metal.

    Not more, because macOS panicked with the recommended maximum wired, while two streams allocated and freed caches.
    """
    if mx.metal.is_available():
        mx.set_wired_limit(wired_limit(weights_nbytes, int(mx.device_info()["max_recommended_working_set_size"])))


def wired_limit(weights_nbytes: int, recommended: int) -> int:
    """Bytes to wire: the size of the weights, but not more than the device's `recommended` maximum."""
    return max(0, min(weights_nbytes, recommended))


def release_free_memory() -> None:
    """Return the memory of freed arrays to the system. Does nothing without glibc, and is useful only on a CPU.

    On a CPU, MLX allocates arrays with malloc, and glibc keeps most freed memory for later allocations.
    """
    mx.clear_cache()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def _ram(cgroup_limit: Path) -> int:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = cgroup_limit.read_text().strip()
    except OSError:
        return installed
    return min(installed, int(limit)) if limit.isdigit() else installed
