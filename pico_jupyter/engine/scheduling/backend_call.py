"""BackendCall: one call of a backend, and BackendCallFailed, the exception that carries a failed call to recovery."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.types import ModelInfo

# "parse" is the work of a generation's own parser on a sampled token.
Operation: TypeAlias = Literal["load", "prefill", "decode", "parse", "remove"]


@dataclass(slots=True, eq=False)
class BackendCall:
    """A context manager around one call: an exception raised inside becomes BackendCallFailed.

    `generations` are those that the call is for. `lane` is None as long as they wait. `model` is the model that is
    being loaded, and None for every other operation.
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
