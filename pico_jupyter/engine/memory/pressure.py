"""Compares the needs of models with the memory of the machine that is free now, besides the budget of the engine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pico_jupyter.engine_reports import MemoryReport, ModelNeed, ResidentModel


def add_pressure(report: MemoryReport, residents: Sequence[ResidentModel], free: int) -> MemoryReport:
    """Add to each model that fits the budget whether `free` bytes of the machine suffice, and what to unload if not.

    `residents` are the loaded models, latest expiry first.
    """
    idle = [resident for resident in reversed(residents) if not resident.active]
    needs = tuple(_with_pressure(need, idle, free) for need in report.needs)
    return msgspec.structs.replace(report, free=free, needs=needs)


def _with_pressure(need: ModelNeed, idle: Sequence[ResidentModel], free: int) -> ModelNeed:
    if need.fit in ("loaded", "never") or need.size <= free:
        return need
    unload: list[str] = []
    for resident in idle:
        unload.append(resident.info.name)
        free += resident.size
        if need.size <= free:
            return msgspec.structs.replace(need, is_tight=True, unload=tuple(unload))
    return msgspec.structs.replace(need, is_tight=True)
