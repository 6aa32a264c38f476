"""ModelManager: loads and unloads models, and counts all memory against one budget.

Invariants:
- A model with running rows is never unloaded.
- The bytes of all weights and caches are within the budget when a load begins and when rows are admitted.
- At most one model is loading at a time.
- Memory is freed in this order: cached prefixes, then idle models, the least recently used first.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pico_jupyter.engine.backend import LoadedModel
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.engine_reports import (
    MemoryReport,
    ModelEvent,
    ModelLoaded,
    ModelLoading,
    ModelNeed,
    ModelUnloaded,
    ResidentModel,
)
from pico_jupyter.errors import OutOfMemory
from pico_jupyter.sizes import about, at_least, at_most
from pico_jupyter.types import ModelInfo

log = logging.getLogger(__name__)

# The KV caches of rows may reserve this share of the memory that the weights leave free.
_ADMISSION_SHARE = 0.85
# Prefixes are evicted if more than the first share of the budget is used, until at most the second share is used.
_EVICT_ABOVE = 0.92
_EVICT_TO = 0.85

# Opens a model's files. The second argument is the number of free bytes, for weights and caches.
LoadBackend: TypeAlias = Callable[[ModelInfo, int], LoadedModel]


class EvictablePrefixes(Protocol):
    """The memory of the prefix cache of all models (engine.memory.prefix_cache.PrefixCache)."""

    @property
    def nbytes(self) -> int:
        """Bytes in use."""

    def evict(self, nbytes: int) -> int:
        """Free at least `nbytes`, or everything if less is in use. Returns the bytes freed."""


@dataclass(slots=True, eq=False)
class ManagedModel:
    """A model that is loaded or loading. `to_load` bytes of its weights are not in memory yet.

    Times are in seconds of the engine's clock. `running` is the number of running requests for the model, `reserved`
    the bytes that the KV caches of their rows may use.
    """

    info: ModelInfo
    backend: LoadedModel
    to_load: int
    keep_alive: float
    expires_at: float
    last_used: float
    load_began: float
    running: int = 0
    reserved: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether all weights are in memory."""
        return self.to_load == 0

    @property
    def rows_nbytes(self) -> int:
        """Bytes that the KV caches of rows use, or their reserved bytes if that is more."""
        return max(self.backend.cache_nbytes, self.reserved)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights and of the KV caches of rows."""
        return self.backend.weights_nbytes + self.backend.cache_nbytes


class ModelManager:
    """Loads models for requests. Unloads them when they expire, on request, or to free memory for other models.

    `keep_alive` is the time in seconds after which a model expires that no request has used yet. `on_event` is called
    with ModelLoaded and ModelUnloaded. Only begin_load() and load_step() block.
    """

    def __init__(
        self,
        load_backend: LoadBackend,
        *,
        prefixes: EvictablePrefixes,
        capacity: Capacity,
        keep_alive: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        on_event: Callable[[ModelEvent], None] = lambda event: None,
    ) -> None:
        self._load_backend = load_backend
        self._prefixes = prefixes
        self._on_event = on_event
        self._capacity = capacity
        self._budget = capacity.budget
        self._keep_alive = keep_alive
        self._clock = clock
        self._wall_clock = wall_clock
        self._residents: dict[str, ManagedModel] = {}
        # The number of accepted requests for each model, waiting ones included.
        self._requests: Counter[str] = Counter()
        self._unload_when_idle: set[str] = set()

    def __repr__(self) -> str:
        names = ", ".join(self._residents) or "none"
        return f"<ModelManager [{names} | {about(self.used_bytes)} of {about(self._budget)}]>"

    @property
    def used_bytes(self) -> int:
        """Bytes of all weights, of the KV caches of rows, and of the prefix cache."""
        return sum(resident.nbytes for resident in self._residents.values()) + self._prefixes.nbytes

    @property
    def weights_nbytes(self) -> int:
        """Bytes of the weights of all models."""
        return sum(resident.backend.weights_nbytes for resident in self._residents.values())

    @property
    def prefix_cache_nbytes(self) -> int:
        """Bytes of the prefix cache of all models."""
        return self._prefixes.nbytes

    @property
    def loading(self) -> ManagedModel | None:
        """The model that is loading."""
        return next((resident for resident in self._residents.values() if not resident.is_ready), None)

    @property
    def load_progress(self) -> ModelLoading | None:
        """The progress of the model that is loading."""
        if (resident := self.loading) is None:
            return None
        total = resident.backend.weights_nbytes
        return ModelLoading(resident.info.name, total - min(total, resident.to_load), total)

    def get(self, info: ModelInfo) -> ManagedModel | None:
        """The model if it is loaded or loading."""
        return self._residents.get(info.name)

    def acquire(self, info: ModelInfo) -> None:
        """Count a request for a model. The model does not expire before release() is called for the request."""
        self._requests[info.name] += 1

    def release(self, info: ModelInfo, keep_alive: float) -> None:
        """Record the end of a request. Restarts the model's timer with `keep_alive` seconds.

        Unloads the model if unload() was called, or if it is loading and no other request waits for it.
        """
        self._requests[info.name] -= 1
        if (resident := self._residents.get(info.name)) is None:
            return
        if not resident.is_ready and not self._requests[info.name]:
            self._unload(resident, "no request waits for it")
            return
        now = self._clock()
        resident.keep_alive = 0.0 if info.name in self._unload_when_idle else keep_alive
        resident.expires_at = now + resident.keep_alive
        resident.last_used = now
        self.expire()

    def begin_load(self, info: ModelInfo, *, beside: Collection[ModelInfo] = ()) -> ManagedModel | None:
        """Begin to load a model. Evicts prefixes and unloads idle models for it, but keeps the models in `beside`.

        Returns None while running models use the memory. Raises OutOfMemory if the model can never fit.
        """
        kept = {other.name for other in beside}
        others = [one for one in self._idle() if one.info.name not in kept]
        need = self._capacity.need(info, self._available(others))
        self._capacity.refuse_too_large(need)
        if not self._free_memory(self._committed + need.size - self._budget, others):
            return None
        log.info("loading %s (%s)", info.name, about(need.size))
        began = self._clock()
        backend = self._load_backend(info, self._budget - self._committed)
        now = self._clock()
        resident = ManagedModel(info, backend, max(1, backend.weights_nbytes), self._keep_alive, math.inf, now, began)
        self._residents[info.name] = resident
        self._unload_when_idle.discard(info.name)
        return resident

    def load_step(self, resident: ManagedModel) -> None:
        """Load the next part of a model's weights."""
        resident.to_load = resident.backend.load_step()
        if resident.is_ready:
            now = self._clock()
            resident.expires_at = now + resident.keep_alive
            log.info("loaded %s, %s resident", resident.info.name, about(resident.nbytes))
            self._on_event(ModelLoaded(resident.info.name, resident.nbytes, now - resident.load_began))

    def check_fits(self, models: tuple[ManagedModel, ...], rows_nbytes: int) -> None:
        """Raise OutOfMemory if the weights of `models` and `rows_nbytes` for their rows exceed the whole budget."""
        weights = sum(resident.backend.weights_nbytes for resident in models)
        if weights + rows_nbytes <= self._budget:
            return
        name = models[0].info.name
        raise OutOfMemory(
            f"this request needs {at_least(rows_nbytes)} for its prompt and answer, but the weights of "
            f"{name} leave only {at_most(max(0, self._budget - weights))} of the budget. Shorten the prompt, ask for "
            "fewer tokens or choices, choose a smaller model, or raise memory_budget.",
            model=name,
        )

    def reserve(self, models: tuple[ManagedModel, ...], rows_nbytes: int, *, is_alone: bool) -> bool:
        """Reserve memory for the rows of a request. Returns whether there was enough.

        The first of `models` records the reserved bytes. Rows may reserve a share of the memory that the weights leave
        free. A request that runs alone may reserve all of it, and unload idle models that waiting requests need.
        """
        share = 1.0 if is_alone else _ADMISSION_SHARE
        limit = int(share * (self._budget - self.weights_nbytes))
        used = sum(resident.rows_nbytes for resident in self._residents.values()) + self._prefixes.nbytes
        others = [one for one in self._idle() if one not in models]
        removable = [one for one in others if is_alone or not self._requests[one.info.name]]
        if not self._free_memory(used + rows_nbytes - limit, removable):
            return False
        models[0].reserved += rows_nbytes
        return True

    def relieve_pressure(self) -> bool:
        """Evict prefixes and unload unused models if memory is short. Returns whether the budget is still exceeded."""
        used = self.used_bytes
        if used > _EVICT_ABOVE * self._budget:
            self._prefixes.evict(used - int(_EVICT_TO * self._budget))
            unused = [one for one in self._idle() if not self._requests[one.info.name]]
            while unused and self.used_bytes > self._budget:
                self._unload(unused.pop(0), "memory is short")
        return self.used_bytes > self._budget

    def evict_prefixes(self) -> None:
        """Evict all prefixes. Called when the device has no memory left, even within the budget."""
        self._prefixes.evict(self._prefixes.nbytes)

    def unload(self, name: str) -> None:
        """Unload a model now, or as soon as its last request ends."""
        if (resident := self._residents.get(name)) is None:
            return
        if self._requests[name]:
            self._unload_when_idle.add(name)
        else:
            self._unload(resident, "as asked")

    def discard(self, resident: ManagedModel) -> None:
        """Unload a model that failed to load."""
        self._unload(resident, "it failed")

    def expire(self) -> None:
        """Unload the models that no request uses and whose keep_alive has passed."""
        now = self._clock()
        for resident in list(self._residents.values()):
            if not self._requests[resident.info.name] and resident.expires_at <= now:
                self._unload(resident, "idle")

    def next_expiry(self) -> float | None:
        """Seconds until the next model expires, or None if no model will expire."""
        times = [
            resident.expires_at
            for resident in self._residents.values()
            if not self._requests[resident.info.name] and resident.expires_at < math.inf
        ]
        return max(0.0, min(times) - self._clock()) if times else None

    def resident(self) -> tuple[ResidentModel, ...]:
        """The loaded models, in descending order of expiry."""
        now, wall = self._clock(), self._wall_clock()
        listed: list[ResidentModel] = []
        for resident in self._residents.values():
            active = self._requests[resident.info.name]
            remaining = resident.keep_alive if active else resident.expires_at - now
            if resident.is_ready:
                expires_at = None if math.isinf(remaining) else wall + remaining
                listed.append(ResidentModel(resident.info, resident.nbytes, expires_at, active))
        return tuple(sorted(listed, key=lambda one: one.expires_at or math.inf, reverse=True))

    def report(self, catalog: Collection[ModelInfo]) -> MemoryReport:
        """The use of the memory, and for each model of the catalog, whether it fits."""
        available = self._available(self._idle())
        return MemoryReport(
            budget=self._budget,
            used=self.used_bytes,
            available=available,
            is_starting=False,
            loading=self.load_progress,
            needs=tuple(self._need(info, available) for info in catalog),
        )

    def close(self) -> None:
        """Unload all models."""
        for resident in list(self._residents.values()):
            self._unload(resident, "the engine closes")

    @property
    def _committed(self) -> int:
        """Bytes that are used or reserved."""
        used = sum(one.backend.weights_nbytes + one.rows_nbytes for one in self._residents.values())
        return used + self._prefixes.nbytes

    def _available(self, idle: list[ManagedModel]) -> int:
        """Bytes that a new model could use if the prefix cache were evicted and the `idle` models unloaded."""
        freeable = self._prefixes.nbytes + sum(one.backend.weights_nbytes + one.rows_nbytes for one in idle)
        return max(0, self._budget - self._committed + freeable)

    def _need(self, info: ModelInfo, available: int) -> ModelNeed:
        resident = self._residents.get(info.name)
        if resident is None:
            return self._capacity.need(info, available)
        return ModelNeed(info.name, resident.backend.weights_nbytes, "loaded" if resident.is_ready else "fits")

    def _idle(self) -> list[ManagedModel]:
        """The models that may be unloaded, the least recently used first."""
        idle = (one for one in self._residents.values() if not one.running and one.is_ready)
        return sorted(idle, key=lambda one: one.last_used)

    def _free_memory(self, missing: int, idle: list[ManagedModel]) -> bool:
        """Free `missing` bytes from the prefix cache, then from `idle` models in order. Returns False if it cannot."""
        if missing > self._prefixes.nbytes + sum(one.nbytes for one in idle):
            return False
        if missing > 0:
            missing -= self._prefixes.evict(missing)
        for resident in idle:
            if missing <= 0:
                break
            before = self._committed
            self._unload(resident, "least recently used")
            missing -= before - self._committed
        return True

    def _unload(self, resident: ManagedModel, reason: str) -> None:
        del self._residents[resident.info.name]
        self._unload_when_idle.discard(resident.info.name)
        resident.backend.close()
        log.info("unloaded %s: %s", resident.info.name, reason)
        self._on_event(ModelUnloaded(resident.info.name, reason))
