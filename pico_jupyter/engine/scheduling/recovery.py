"""Recovery: requeues, isolates or fails generations after a failed backend call.

Invariants:
- The first failure of a call requeues its generations. A generation that later fails alone ends with an error.
- After a failed decode step no row of its lane stays in the backend, because their caches may be half updated.
- Other lanes keep running.
"""

from __future__ import annotations

from typing import assert_never

from pico_jupyter.engine.memory.model_manager import ModelManager
from pico_jupyter.engine.scheduling.backend_call import BackendCall, BackendCallFailed
from pico_jupyter.engine.scheduling.embedding_lane import EmbeddingLane
from pico_jupyter.engine.scheduling.lifecycle import Lifecycle
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import EngineFailed, ModelLoadFailed, OutOfMemory, PicoError


class Recovery:
    """Handles failed backend calls."""

    def __init__(self, models: ModelManager, lifecycle: Lifecycle) -> None:
        self._models = models
        self._lifecycle = lifecycle

    def __repr__(self) -> str:
        return f"<Recovery {self._lifecycle!r}>"

    def recover(self, failed: BackendCallFailed) -> None:
        """Requeue, isolate or fail the generations of a failed call."""
        call, error = failed.call, failed.error
        if is_out_of_memory(error):
            self._models.evict_prefixes()
        match call.operation:
            case "load":
                self._recover_load(call, error)
            case "prefill":
                self._recover_prefill(call, error)
            case "embed":
                self._recover_embed(call, error)
            case "parse":
                for generation in call.generations:
                    self._fail(generation, error)
            case "decode":
                _drop_rows(call)
                self._isolate(call, error)
                self._requeue_lane(call)
            case "remove":
                _drop_rows(call)
                self._requeue_lane(call)
            case _:
                assert_never(call.operation)

    def fail_all(self, error: Exception) -> None:
        """End all generations after an error outside a backend call."""
        for generation in self._lifecycle.generations:
            self._fail(generation, error)

    def _fail(self, generation: Generation, error: Exception) -> None:
        self._lifecycle.fail(generation, as_pico_error(error, generation))

    def _recover_load(self, call: BackendCall, error: Exception) -> None:
        """Fail the generations of the failed model. Generations that use it as a draft model continue without it."""
        if loading := self._models.loading:
            self._models.discard(loading)
        for generation in call.generations:
            if generation.info == call.model:
                self._lifecycle.fail(generation, as_pico_error(error, generation, is_loading=True))
            else:
                generation.phase = "queue"
                self._lifecycle.drop_draft_model(generation, f"{type(error).__name__} while it was loading")

    def _recover_prefill(self, call: BackendCall, error: Exception) -> None:
        for generation in call.generations:
            generation.failures += 1
            if generation.failures > 1:
                self._fail(generation, error)
            elif generation.phase == "prefill":
                self._lifecycle.requeue([generation])

    def _recover_embed(self, call: BackendCall, error: Exception) -> None:
        """Fail the generations of a batch that failed before. The texts of each other one are then computed alone."""
        if isinstance(call.lane, EmbeddingLane):
            call.lane.drop_batch()
        for generation in call.generations:
            generation.failures += 1
            if generation.failures > 1:
                self._fail(generation, error)

    def _isolate(self, call: BackendCall, error: Exception) -> None:
        """Find the generation that makes a batch fail.

        After the first failure, all generations of the batch are isolated: each is started alone. A generation that
        fails alone ends with the error. This also ends the isolation of the others.
        """
        isolated = [one for one in call.generations if one.is_isolated] or list(call.generations)
        if len(isolated) > 1 or not isolated[0].failures:
            for generation in isolated:
                generation.failures += 1
                generation.is_isolated = True
            return
        for generation in self._lifecycle.generations:
            if generation.info.name == isolated[0].info.name:
                generation.is_isolated = False
        self._fail(isolated[0], error)

    def _requeue_lane(self, call: BackendCall) -> None:
        """Requeue the unfinished generations of a lane, and finish the others."""
        generations = call.lane.generations if call.lane else []
        self._lifecycle.requeue([one for one in generations if one.open_sequences])
        for generation in generations:
            if not generation.open_sequences:
                self._lifecycle.finish(generation, keep=False)


def _drop_rows(call: BackendCall) -> None:
    """Remove all rows of a lane in one call. Removing only some would compute on the broken caches of the others."""
    if lane := call.lane:
        generations = [*lane.generations, *call.generations]
        lane.backend.remove([row for generation in generations for row in generation.rows], keep=False)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device has no memory left. MLX raises RuntimeError with "malloc" in its text."""
    return isinstance(error, OutOfMemory | MemoryError) or "malloc" in str(error)


def as_pico_error(error: Exception, generation: Generation, *, is_loading: bool = False) -> PicoError:
    """Convert an exception of a backend. Its text may contain a prompt, so it is quoted only after a failed load."""
    name = generation.info.name
    if isinstance(error, PicoError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(f"{name} ran out of memory", model=name)
    if is_loading:
        return ModelLoadFailed(f"{name} could not be loaded: {type(error).__name__}: {error}", model=name)
    return EngineFailed(f"the engine failed while it ran {name}: {type(error).__name__}", model=name)
