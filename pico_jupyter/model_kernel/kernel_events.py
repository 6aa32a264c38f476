"""The events of the model kernel and of the models in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pico_jupyter.engine_reports import EngineStatistics, ModelLoaded, ModelUnloaded


@dataclass(frozen=True, slots=True)
class KernelStarted:
    """A model kernel has started and answers requests."""


@dataclass(frozen=True, slots=True)
class KernelCrashed:
    """The model kernel crashed, so no model is loaded. `exit` tells how it ended, for example "killed by SIGKILL"."""

    exit: str


KernelEvent: TypeAlias = KernelStarted | KernelCrashed | ModelLoaded | ModelUnloaded | EngineStatistics
