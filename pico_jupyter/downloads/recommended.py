"""Lists good models for machines of several sizes, and compares models with the memory that is free now."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import psutil

from pico_jupyter.download_reports import HubFit, HubModel, MachineMemory

RECOMMENDED_FILE = Path(__file__).with_name("recommended.json")
# The share of the memory for models. The operating system, the browser and notebooks need the rest.
USABLE_SHARE = 0.75


@functools.cache
def recommended_models() -> tuple[HubModel, ...]:
    """Return the list of the package, small machines first."""
    return msgspec.json.decode(RECOMMENDED_FILE.read_bytes(), type=tuple[HubModel, ...])


def machine_memory() -> MachineMemory:
    """Measure the memory of this machine."""
    memory = psutil.virtual_memory()
    return MachineMemory(total=memory.total, free=memory.available)


def fit_into(memory: MachineMemory, needed: int | None, budget: int = 0) -> HubFit | None:
    """Whether `needed` bytes fit. `budget` is the limit that the user set for models; 0 means a share of the memory."""
    if needed is None:
        return None
    if needed > (budget or USABLE_SHARE * memory.total):
        return "no"
    return "yes" if needed <= memory.free else "tight"
