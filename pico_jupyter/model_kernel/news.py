"""What is worth telling of the models and of the kernel that they run in. Knows neither who tells nor who listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pico_jupyter.types import EngineStatistics, ModelLoaded, ModelUnloaded


@dataclass(frozen=True, slots=True)
class KernelStarted:
    """A model kernel runs and answers."""


@dataclass(frozen=True, slots=True)
class KernelCrashed:
    """The model kernel ended and nobody had asked it to. `exit` says how, in words; the models in it are gone."""

    exit: str


KernelNews: TypeAlias = KernelStarted | KernelCrashed | ModelLoaded | ModelUnloaded | EngineStatistics
