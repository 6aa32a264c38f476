"""BackendCall: one call of a backend. If it fails, it raises BackendCallFailed, which recovery handles."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.types import ModelInfo

# "parse" calls no backend: a generation's parser reads a sampled token.
Operation: TypeAlias = Literal["load", "prefill", "decode", "parse", "remove"]


@dataclass(slots=True, eq=False)
class BackendCall:
    """A context manager around one call: an exception raised inside becomes BackendCallFailed.

    `generations` are those that the call serves. `lane` is None while they wait. `model` is the model to load, and
    None for every other operation.
    """

    operation: Operation
    generations: tuple[Generation, ...]
    lane: Lane | None = None
    model: ModelInfo | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            raise BackendCallFailed(self, error) from error


class BackendCallFailed(Exception):
    """A call of a backend raised `error`. Scheduler.recover() handles it."""

    def __init__(self, call: BackendCall, error: Exception) -> None:
        super().__init__(f"{call.operation} failed: {type(error).__name__}")
        self.call = call
        self.error = error
