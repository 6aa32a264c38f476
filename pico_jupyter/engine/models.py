"""ModelManager: which models are resident, and until when. Knows no mlx and no request.

Invariants: a model with running rows is never unloaded. The bytes of all weights and caches stay within the budget when
a load begins. At most one model is loading at a time.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pico_jupyter.engine.backends.base import Backend
from pico_jupyter.errors import OutOfMemory
from pico_jupyter.types import ModelInfo, ResidentModel

log = logging.getLogger(__name__)

# The share of the room for caches up to which further requests are admitted.
_ADMIT_UP_TO = 0.85

# Opens a model's files; the second argument is the room in bytes that weights and caches may take.
LoadBackend: TypeAlias = Callable[[ModelInfo, int], Backend]


@dataclass(slots=True, eq=False)
class Resident:
    """A model in memory, or on its way there (`to_load` bytes are missing). Times are of the engine's clock."""

    info: ModelInfo
    backend: Backend
    to_load: int
    keep_alive: float
    expires_at: float
    last_used: float
    running: int = 0

    @property
    def is_ready(self) -> bool:
        return self.to_load == 0

    @property
    def nbytes(self) -> int:
        return self.backend.weights_nbytes + self.backend.cache_nbytes


class ModelManager:
    """Loads models when they are wanted and unloads them when they expire, are told to, or others need the room."""

    def __init__(
        self,
        load_backend: LoadBackend,
        *,
        budget: int,
        keep_alive: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._load_backend = load_backend
        self._budget = budget
        self._keep_alive = keep_alive
        self._clock = clock
        self._wall_clock = wall_clock
        self._residents: dict[str, Resident] = {}
        # How many accepted requests want each model, waiting ones included.
        self._wanted: Counter[str] = Counter()
        self._unload_when_idle: set[str] = set()

    def __repr__(self) -> str:
        names = ", ".join(self._residents) or "none"
        return f"<ModelManager [{names} | {self.used_bytes >> 20} of {self._budget >> 20} MiB]>"

    @property
    def used_bytes(self) -> int:
        return sum(resident.nbytes for resident in self._residents.values())

    @property
    def is_nearly_full(self) -> bool:
        """Whether the caches of running rows fill most of the room beside their models' weights."""
        running = [resident.backend for resident in self._residents.values() if resident.running]
        room = self._budget - sum(backend.weights_nbytes for backend in running)
        return sum(backend.cache_nbytes for backend in running) > _ADMIT_UP_TO * room

    @property
    def loading(self) -> Resident | None:
        return next((resident for resident in self._residents.values() if not resident.is_ready), None)

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

    def begin_load(self, info: ModelInfo) -> Resident | None:
        """Start to load a model, unloading idle ones where it needs their room.

        Returns None while running models hold the room. Raises OutOfMemory when it cannot fit at all.
        """
        if info.size > self._budget:
            raise OutOfMemory(
                f"{info.name} needs {_gigabytes(info.size)} and models may take {_gigabytes(self._budget)} here. "
                "Choose a smaller or more strongly quantised model, or raise memory_budget.",
                model=info.name,
            )
        if not self._make_room(info.size):
            return None
        log.info("loading %s (%s)", info.name, _gigabytes(info.size))
        backend = self._load_backend(info, self._budget - self.used_bytes)
        now = self._clock()
        resident = Resident(info, backend, max(1, backend.weights_nbytes), self._keep_alive, math.inf, now)
        self._residents[info.name] = resident
        self._unload_when_idle.discard(info.name)
        return resident

    def load_step(self, resident: Resident) -> None:
        """Load one more share of a model's weights."""
        resident.to_load = resident.backend.load_step()
        if resident.is_ready:
            resident.expires_at = self._clock() + resident.keep_alive
            log.info("loaded %s, %s resident", resident.info.name, _gigabytes(resident.nbytes))

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

    def close(self) -> None:
        for resident in list(self._residents.values()):
            self._drop(resident, "the engine closes")

    def _make_room(self, size: int) -> bool:
        """Unload idle models, least recently used first, until `size` bytes fit. Unloads none if that cannot do."""
        idle = sorted(
            (one for one in self._residents.values() if not one.running and one.is_ready),
            key=lambda one: one.last_used,
        )
        missing = self.used_bytes + size - self._budget
        if missing > sum(one.nbytes for one in idle):
            return False
        for resident in idle:
            if missing <= 0:
                break
            missing -= resident.nbytes
            self._drop(resident, "least recently used")
        return True

    def _drop(self, resident: Resident, reason: str) -> None:
        del self._residents[resident.info.name]
        self._unload_when_idle.discard(resident.info.name)
        resident.backend.close()
        log.info("unloaded %s: %s", resident.info.name, reason)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
