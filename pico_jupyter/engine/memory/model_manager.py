"""ModelManager: which models are resident, and until when. Knows no mlx and no request.

Invariants: a model with running rows is never unloaded. The bytes of all weights and caches stay within the budget when
a load begins and when a row is let in. At most one model is loading at a time. What is kept only because it may be of
use goes first: prefixes, then idle models.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pico_jupyter.engine.backend import Backend
from pico_jupyter.engine.memory.capacity import Capacity
from pico_jupyter.errors import OutOfMemory
from pico_jupyter.sizes import about, at_least, at_most
from pico_jupyter.types import (
    MemoryReport,
    ModelEvent,
    ModelInfo,
    ModelLoaded,
    ModelLoading,
    ModelNeed,
    ModelUnloaded,
    ResidentModel,
)

log = logging.getLogger(__name__)

# The share of the room beside the weights up to which rows are let in.
_ADMIT_UP_TO = 0.85
# The share of the budget from which prefixes are shed, and down to which.
_SHED_FROM = 0.92
_SHED_TO = 0.85

# Opens a model's files; the second argument is the room in bytes that weights and caches may take.
LoadBackend: TypeAlias = Callable[[ModelInfo, int], Backend]


class Prefixes(Protocol):
    """The prefix cache of all models, as far as its memory is concerned (engine.prefix_cache.PrefixCache)."""

    @property
    def nbytes(self) -> int: ...

    def shed(self, nbytes: int) -> int:
        """Free so many bytes, or all there are. Returns the bytes freed."""
        ...


@dataclass(slots=True, eq=False)
class Resident:
    """A model in memory, or on its way there (`to_load` bytes are missing). Times are of the engine's clock.

    `running` counts the requests that compute on it, `reserved` the bytes that the caches of their rows may take.
    """

    info: ModelInfo
    backend: Backend
    to_load: int
    keep_alive: float
    expires_at: float
    last_used: float
    load_began: float
    running: int = 0
    reserved: int = 0

    @property
    def is_ready(self) -> bool:
        return self.to_load == 0

    @property
    def rows_nbytes(self) -> int:
        """What the caches of its rows take, or soon will."""
        return max(self.backend.cache_nbytes, self.reserved)

    @property
    def nbytes(self) -> int:
        return self.backend.weights_nbytes + self.backend.cache_nbytes


class ModelManager:
    """Loads models when they are wanted and unloads them when they expire, are told to, or others need the room."""

    def __init__(
        self,
        load_backend: LoadBackend,
        *,
        prefixes: Prefixes,
        capacity: Capacity,
        keep_alive: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        on_notice: Callable[[ModelEvent], None] = lambda notice: None,
    ) -> None:
        self._load_backend = load_backend
        self._prefixes = prefixes
        self._on_notice = on_notice
        self._capacity = capacity
        self._budget = capacity.budget
        self._keep_alive = keep_alive
        self._clock = clock
        self._wall_clock = wall_clock
        self._residents: dict[str, Resident] = {}
        # How many accepted requests want each model, waiting ones included.
        self._wanted: Counter[str] = Counter()
        self._unload_when_idle: set[str] = set()

    def __repr__(self) -> str:
        names = ", ".join(self._residents) or "none"
        return f"<ModelManager [{names} | {about(self.used_bytes)} of {about(self._budget)}]>"

    @property
    def used_bytes(self) -> int:
        """Weights, the caches of rows, and the prefix cache."""
        return sum(resident.nbytes for resident in self._residents.values()) + self._prefixes.nbytes

    @property
    def weights_nbytes(self) -> int:
        return sum(resident.backend.weights_nbytes for resident in self._residents.values())

    @property
    def prefix_cache_nbytes(self) -> int:
        return self._prefixes.nbytes

    @property
    def loading(self) -> Resident | None:
        return next((resident for resident in self._residents.values() if not resident.is_ready), None)

    @property
    def progress(self) -> ModelLoading | None:
        """How far the model is that is loading."""
        if (resident := self.loading) is None:
            return None
        total = resident.backend.weights_nbytes
        return ModelLoading(resident.info.name, total - min(total, resident.to_load), total)

    def get(self, info: ModelInfo) -> Resident | None:
        return self._residents.get(info.name)

    def want(self, info: ModelInfo) -> None:
        """A request for the model was accepted. Until it is done, the model does not expire."""
        self._wanted[info.name] += 1

    def done(self, info: ModelInfo, keep_alive: float) -> None:
        """A request for the model has ended: its keep_alive timer starts again."""
        self._wanted[info.name] -= 1
        if (resident := self._residents.get(info.name)) is None:
            return
        if not resident.is_ready and not self._wanted[info.name]:
            self._drop(resident, "nobody waits for it any more")
            return
        now = self._clock()
        told_to_go = info.name in self._unload_when_idle
        resident.keep_alive = 0.0 if told_to_go else keep_alive
        resident.expires_at = now + resident.keep_alive
        resident.last_used = now
        self.expire()

    def begin_load(self, info: ModelInfo, *, beside: Collection[ModelInfo] = ()) -> Resident | None:
        """Start to load a model; prefixes and idle models, but for those `beside` it, go where it needs their room.

        Returns None while other models hold the room. Raises OutOfMemory when it cannot fit at all.
        """
        others = [one for one in self._idle() if one.info.name not in [other.name for other in beside]]
        need = self._capacity.need(info, self._available(others))
        self._capacity.refuse_too_large(need)
        if not self._make_room(self._committed + need.size - self._budget, others):
            return None
        log.info("loading %s (%s)", info.name, about(need.size))
        began = self._clock()
        backend = self._load_backend(info, self._budget - self._committed)
        now = self._clock()
        resident = Resident(info, backend, max(1, backend.weights_nbytes), self._keep_alive, math.inf, now, began)
        self._residents[info.name] = resident
        self._unload_when_idle.discard(info.name)
        return resident

    def load_step(self, resident: Resident) -> None:
        """Load one more share of a model's weights."""
        resident.to_load = resident.backend.load_step()
        if resident.is_ready:
            now = self._clock()
            resident.expires_at = now + resident.keep_alive
            log.info("loaded %s, %s resident", resident.info.name, about(resident.nbytes))
            self._on_notice(ModelLoaded(resident.info.name, resident.nbytes, now - resident.load_began))

    def check_fits(self, models: tuple[Resident, ...], rows_nbytes: int) -> None:
        """Raises OutOfMemory for a request whose rows do not fit beside the weights of its models, were it alone."""
        weights = sum(resident.backend.weights_nbytes for resident in models)
        if weights + rows_nbytes <= self._budget:
            return
        name = models[0].info.name
        raise OutOfMemory(
            f"this request needs {at_least(rows_nbytes)} for its prompt and answer, and beside {name} "
            f"{at_most(max(0, self._budget - weights))} are there. Shorten the prompt, ask for fewer tokens or "
            "choices, choose a smaller model, or raise memory_budget.",
            model=name,
        )

    def let_in(self, models: tuple[Resident, ...], rows_nbytes: int, *, is_alone: bool) -> bool:
        """Reserve memory for the rows of a request on the first of its models. False: others hold it for now.

        Rows are let in up to a share of the room beside the weights, a request that is alone up to all of it.
        """
        share = 1.0 if is_alone else _ADMIT_UP_TO
        room = int(share * (self._budget - self.weights_nbytes))
        taken = sum(resident.rows_nbytes for resident in self._residents.values()) + self._prefixes.nbytes
        idle = [one for one in self._idle() if one not in models and (is_alone or not self._wanted[one.info.name])]
        if not self._make_room(taken + rows_nbytes - room, idle):
            return False
        models[0].reserved += rows_nbytes
        return True

    def relieve(self) -> bool:
        """Give up what nobody needs while memory runs short. Returns whether the rest is still over the budget."""
        used = self.used_bytes
        if used > _SHED_FROM * self._budget:
            self._prefixes.shed(used - int(_SHED_TO * self._budget))
            unwanted = [one for one in self._idle() if not self._wanted[one.info.name]]
            while unwanted and self.used_bytes > self._budget:
                self._drop(unwanted.pop(0), "memory runs short")
        return self.used_bytes > self._budget

    def shed_all(self) -> None:
        """Give the whole prefix cache up: the device has no memory left, whatever the budget says."""
        self._prefixes.shed(self._prefixes.nbytes)

    def unload(self, name: str) -> None:
        """Unload a model now, or as soon as the requests that want it are done."""
        if (resident := self._residents.get(name)) is None:
            return
        if self._wanted[name]:
            self._unload_when_idle.add(name)
        else:
            self._drop(resident, "as asked")

    def discard(self, resident: Resident) -> None:
        """Give up a model that failed; nothing runs on it any more."""
        self._drop(resident, "it failed")

    def expire(self) -> None:
        """Unload what nobody wants and whose time is over."""
        now = self._clock()
        for resident in list(self._residents.values()):
            if not self._wanted[resident.info.name] and resident.expires_at <= now:
                self._drop(resident, "idle")

    def next_expiry(self) -> float | None:
        """Seconds until the next model expires; None: none will."""
        times = [
            resident.expires_at
            for resident in self._residents.values()
            if not self._wanted[resident.info.name] and resident.expires_at < math.inf
        ]
        return max(0.0, min(times) - self._clock()) if times else None

    def resident(self) -> tuple[ResidentModel, ...]:
        """The loaded models, latest expiry first."""
        now, wall = self._clock(), self._wall_clock()
        listed: list[ResidentModel] = []
        for resident in self._residents.values():
            active = self._wanted[resident.info.name]
            left = resident.keep_alive if active else resident.expires_at - now
            if resident.is_ready:
                expires_at = None if math.isinf(left) else wall + left
                listed.append(ResidentModel(resident.info, resident.nbytes, expires_at, active))
        return tuple(
            sorted(listed, key=lambda one: math.inf if one.expires_at is None else one.expires_at, reverse=True)
        )

    def report(self, catalog: Collection[ModelInfo]) -> MemoryReport:
        """How the memory stands, and what it means for the models of the catalog."""
        available = self._available(self._idle())
        return MemoryReport(
            budget=self._budget,
            used=self.used_bytes,
            available=available,
            is_starting=False,
            loading=self.progress,
            needs=tuple(self._need(info, available) for info in catalog),
        )

    def close(self) -> None:
        for resident in list(self._residents.values()):
            self._drop(resident, "the engine closes")

    @property
    def _committed(self) -> int:
        """The bytes used, and those that running rows will soon need."""
        taken = sum(one.backend.weights_nbytes + one.rows_nbytes for one in self._residents.values())
        return taken + self._prefixes.nbytes

    def _available(self, idle: list[Resident]) -> int:
        """What a model may have that is loaded now: the prefix cache and `idle` models would leave for it."""
        leaving = self._prefixes.nbytes + sum(one.backend.weights_nbytes + one.rows_nbytes for one in idle)
        return max(0, self._budget - self._committed + leaving)

    def _need(self, info: ModelInfo, available: int) -> ModelNeed:
        resident = self._residents.get(info.name)
        if resident is None:
            return self._capacity.need(info, available)
        return ModelNeed(info.name, resident.backend.weights_nbytes, "loaded" if resident.is_ready else "fits")

    def _idle(self) -> list[Resident]:
        """What may be unloaded, the least recently used first."""
        idle = (one for one in self._residents.values() if not one.running and one.is_ready)
        return sorted(idle, key=lambda one: one.last_used)

    def _make_room(self, missing: int, idle: list[Resident]) -> bool:
        """Free `missing` bytes: prefixes first, then idle models in their order. Frees nothing if that cannot do."""
        if missing > self._prefixes.nbytes + sum(one.nbytes for one in idle):
            return False
        if missing > 0:
            missing -= self._prefixes.shed(missing)
        for resident in idle:
            if missing <= 0:
                break
            before = self._committed
            self._drop(resident, "least recently used")
            missing -= before - self._committed
        return True

    def _drop(self, resident: Resident, reason: str) -> None:
        del self._residents[resident.info.name]
        self._unload_when_idle.discard(resident.info.name)
        resident.backend.close()
        log.info("unloaded %s: %s", resident.info.name, reason)
        self._on_notice(ModelUnloaded(resident.info.name, reason))
