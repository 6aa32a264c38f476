"""Capacity: how much memory a model needs, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from pico_jupyter.engine_reports import ModelNeed
from pico_jupyter.errors import OutOfMemory
from pico_jupyter.sizes import at_least, at_most
from pico_jupyter.types import ModelInfo


@dataclass(frozen=True, slots=True)
class Capacity:
    """The memory for models on this device: `budget` bytes for all weights and caches.

    With `in_float32`, 16-bit float weights are converted to float32 if the converted weights fit.
    """

    budget: int
    in_float32: bool = False

    def weights_size(self, info: ModelInfo, free: int) -> int:
        """Bytes of a model's loaded weights. They are converted to float32 only if that fits into `free` bytes."""
        converted = info.float32_size if self.in_float32 else 0
        return converted if 0 < converted <= free else info.weights_size

    def need(self, info: ModelInfo, available: int) -> ModelNeed:
        """The memory that a model needs, and whether it fits: now (into `available` bytes), later or never."""
        size = self.weights_size(info, available)
        if size > self.budget:
            return ModelNeed(info.name, size, "never")
        return ModelNeed(info.name, size, "fits" if size <= available else "later")

    def refuse_too_large(self, need: ModelNeed) -> None:
        """Raise OutOfMemory if the model can never fit."""
        if need.fit == "never":
            raise OutOfMemory(
                f"{need.model} needs {at_least(need.size)}, and the memory budget is {at_most(self.budget)}. "
                "Choose a smaller or more strongly quantised model, or raise memory_budget.",
                model=need.model,
            )
