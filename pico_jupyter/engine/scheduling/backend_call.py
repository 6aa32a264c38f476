"""BackendCall: wraps the exceptions of one call of a backend, so that recovery knows the generations concerned."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

from pico_jupyter.engine.scheduling.lane import Lane
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.types import ModelInfo

# "parse" is not a call of a backend: the parser of a generation reads a sampled token.
Operation: TypeAlias = Literal["load", "prefill", "decode", "embed", "parse", "remove"]


@dataclass(slots=True, eq=False)
class BackendCall:
    """A context manager around one call: an exception raised inside becomes BackendCallFailed.

    The call computes for `generations`. `lane` is None if they wait in the queue. `model` is the model to load, and
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
