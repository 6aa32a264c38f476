"""The questions that an engine answers with one value. The link sends them unchanged."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

import msgspec

from pico_jupyter.types import EngineStatistics, MemoryReport, ModelInfo, ResidentModel

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


class Question(msgspec.Struct, Generic[A_co], frozen=True):
    """A request to an engine that is answered once, with an A_co or with a PicoError."""


class ListModels(Question[tuple[ModelInfo, ...]], frozen=True, tag="list_models"):
    """The catalog, in the order in which it is listed."""


class FindModel(Question[ModelInfo], frozen=True, tag="find_model"):
    """The model called `name`, in any of its spellings. Raises ModelNotFound or InvalidRequest."""

    name: str


class ListResident(Question[tuple[ResidentModel, ...]], frozen=True, tag="list_resident"):
    """The loaded models, latest expiry first. Starts nothing."""


class DescribeMemory(Question[MemoryReport], frozen=True, tag="describe_memory"):
    """The memory for models: its budget, its use, the models that fit, and the model that is loading."""


class LoadModel(Question[None], frozen=True, tag="load_model"):
    """Load a model now and keep it for `keep_alive` seconds (None: the default; inf: forever)."""

    name: str
    keep_alive: float | None = None


class UnloadModel(Question[None], frozen=True, tag="unload_model"):
    """Unload a model once its running requests have finished. Raises ModelNotFound. No effect if it is not loaded."""

    name: str


class ReadStatistics(Question[EngineStatistics], frozen=True, tag="read_statistics"):
    """The engine's statistics. Starts nothing."""


AnyQuestion: TypeAlias = (
    ListModels | FindModel | ListResident | DescribeMemory | LoadModel | UnloadModel | ReadStatistics
)
