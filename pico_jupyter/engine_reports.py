"""Defines what an engine reports: the models in memory, the use of memory, events, and statistics."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pico_jupyter.types import ModelInfo, Timings

Fit: TypeAlias = Literal["loaded", "fits", "later", "never"]


class ResidentModel(msgspec.Struct, frozen=True):
    """A model in memory.

    size: bytes of weights and caches. active: running requests. expires_at: seconds since the epoch; None: never.
    """

    info: ModelInfo
    size: int
    expires_at: float | None
    active: int


class SkippedFolder(msgspec.Struct, frozen=True):
    """A folder with files of a model that is not in the catalog. `reason`: why, and what to do."""

    name: str
    path: str
    reason: str


class SkippedFolders(msgspec.Struct, frozen=True):
    """The folders with files of a model that are not in the catalog."""

    skipped: tuple[SkippedFolder, ...]


class ModelNeed(msgspec.Struct, frozen=True):
    """Memory that a model requires.

    size: bytes of its weights when loaded. KV caches require more.
    fit: "loaded"; "fits": it can be loaded now, evicting idle models and cached prefixes if necessary; "later": it can
    be loaded after running requests finish; "never": it exceeds the budget.
    is_tight: the machine has less free memory now, so other programs slow down if the model is loaded.
    unload: idle models that free enough memory if they are unloaded first; empty if that does not suffice.
    """

    model: str
    size: int
    fit: Fit
    is_tight: bool = False
    unload: tuple[str, ...] = ()


class ModelLoading(msgspec.Struct, frozen=True):
    """A model that is being loaded: `done` of `total` bytes of its weights are in memory."""

    model: str
    done: int
    total: int


class MemoryReport(msgspec.Struct, frozen=True):
    """Memory for models, in bytes.

    budget: limit for all weights and caches. used: the part of it in use.
    available: bytes that a new model may occupy once all idle models and cached prefixes are evicted.
    is_starting: the model kernel is still starting. needs: one entry for each model of the catalog.
    free: memory of the machine that programs can use now without swapping; 0: unknown.
    """

    budget: int
    used: int
    available: int
    is_starting: bool
    loading: ModelLoading | None
    needs: tuple[ModelNeed, ...]
    free: int = 0


class Embeddings(msgspec.Struct, frozen=True):
    """The vectors of several texts.

    model: name in the catalog. vectors: for each text, 32-bit floats in the machine's byte order, with length 1.
    prompt_tokens: tokens of all texts, without those that were cut.
    """

    model: str
    vectors: tuple[bytes, ...]
    prompt_tokens: int
    timings: Timings


class ModelLoaded(msgspec.Struct, frozen=True, tag="model_loaded"):
    """A model was loaded. `model`: name in the catalog. `size`: bytes in memory. `seconds`: loading time."""

    model: str
    size: int
    seconds: float


class ModelUnloaded(msgspec.Struct, frozen=True, tag="model_unloaded"):
    """A model was unloaded. `model`: name in the catalog. `reason`: a short text such as "idle"."""

    model: str
    reason: str


ModelEvent: TypeAlias = ModelLoaded | ModelUnloaded


class EngineStatistics(msgspec.Struct, frozen=True, tag="statistics"):
    """Statistics of the engine.

    running: sequences in a batch. waiting: queued requests.
    resident_bytes: weights and caches. prefix_cache_bytes: the part of resident_bytes in the prefix cache.
    preemptions, decoded_tokens: totals since the engine started, aborted requests included.
    decoded_at: time of the latest decoded token in seconds since the epoch; 0: none yet.
    """

    running: int = 0
    waiting: int = 0
    resident_bytes: int = 0
    prefix_cache_bytes: int = 0
    preemptions: int = 0
    decoded_tokens: int = 0
    decoded_at: float = 0.0


EngineEvent: TypeAlias = ModelLoaded | ModelUnloaded | EngineStatistics
