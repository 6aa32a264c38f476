"""Decides what happens to a request after the kernel crashed while it ran.

- A request continues after its first crash, and after its second one, unless it is at fault.
- A request is at fault if nothing else ran when the kernel crashed again, and the request had made no progress.
- Requests that ran beside others in two crashes then run one after the other, to find the one at fault.
- After its third crash, a request fails.

A request that failed so is refused for some minutes, because a client may repeat it.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from pico_jupyter.errors import EngineFailed
from pico_jupyter.types import GenerationRequest

Fate: TypeAlias = Literal["continue", "isolate", "end"]

MAX_CRASHES = 2
REFUSAL_SECONDS = 300.0
MAX_REFUSALS = 256


def fate_after_crash(crashes: int, *, is_alone: bool, has_progress: bool) -> Fate:
    """What happens to a request that ran in `crashes` crashes.

    is_alone: no other request ran in the latest one. has_progress: it got tokens since the one before.
    """
    if crashes > MAX_CRASHES or (crashes == MAX_CRASHES and is_alone and not has_progress):
        return "end"
    return "isolate" if crashes == MAX_CRASHES and not is_alone else "continue"


def with_seed(request: GenerationRequest) -> GenerationRequest:
    """The request with a seed. Without one, each kernel would choose another, and continue with other tokens."""
    if request.sampling.seed is not None or request.fallback_sampling.seed is not None:
        return request
    fallback = msgspec.structs.replace(request.fallback_sampling, seed=secrets.randbits(62))
    return msgspec.structs.replace(request, fallback_sampling=fallback)


class Refusals:
    """The requests that are refused, because the kernel crashed too often while they ran. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: OrderedDict[str, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Refusals [{len(self._ends)}]>"

    def add(self, request: GenerationRequest) -> EngineFailed:
        """Refuse a request from now on. Returns the error for the request that is running."""
        self._ends[_fingerprint(request)] = self._clock() + REFUSAL_SECONDS
        while len(self._ends) > MAX_REFUSALS:
            self._ends.popitem(last=False)
        return _refusal(REFUSAL_SECONDS)

    def of(self, request: GenerationRequest) -> EngineFailed | None:
        """The error for a request that is refused; None if it is not."""
        if not self._ends:
            return None
        fingerprint = _fingerprint(request)
        left = self._ends.get(fingerprint, 0.0) - self._clock()
        if left > 0:
            return _refusal(left)
        self._ends.pop(fingerprint, None)
        return None


def _refusal(seconds: float) -> EngineFailed:
    minutes = math.ceil(seconds / 60)
    return EngineFailed(
        f"the model kernel died repeatedly during this request; the request is refused for {minutes} min"
    )


def _fingerprint(request: GenerationRequest) -> str:
    """The hash of a request without its id and its seed. A repeated request has the same hash."""
    fallback = msgspec.structs.replace(request.fallback_sampling, seed=None)
    same = msgspec.structs.replace(request, id="", fallback_sampling=fallback)
    return hashlib.sha256(msgspec.msgpack.encode(same)).hexdigest()
