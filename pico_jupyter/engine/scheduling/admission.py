"""Admission: starts waiting generations. Loads their models, reserves memory, drops draft models that do not fit.

Invariants:
- Generations start in the order of the queue. A generation is skipped only while its model is loading, or while its
  lane isolates generations after a failed step.
- A generation starts only with memory reserved for its prompt and for the next ADMISSION_ANSWER_TOKENS of its answer.
"""

from __future__ import annotations

from collections.abc import Callable

from pico_jupyter.engine.memory.model_manager import ManagedModel, ModelManager
from pico_jupyter.engine.scheduling.backend_call import BackendCall, BackendCallFailed
from pico_jupyter.engine.scheduling.embedding_lane import batch_tokens
from pico_jupyter.engine.scheduling.lanes import Lanes
from pico_jupyter.engine.scheduling.lifecycle import Lifecycle
from pico_jupyter.engine.scheduling.request_queue import RequestQueue
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.errors import OutOfMemory, PicoError
from pico_jupyter.types import ModelInfo

ADMISSION_ANSWER_TOKENS = 512
_NO_MEMORY_FOR_DRAFTS = "there is no memory for it"


class Admission:
    """Starts waiting generations. Each step calls admit() and load_step() once. Both raise BackendCallFailed."""

    def __init__(
        self,
        models: ModelManager,
        queue: RequestQueue,
        lanes: Lanes,
        lifecycle: Lifecycle,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._queue = queue
        self._lanes = lanes
        self._lifecycle = lifecycle
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Admission {'paused' if self._lifecycle.is_admission_paused else 'open'}>"

    def admit(self) -> None:
        """Start the waiting generations for which there are rows, models and memory."""
        if self._lifecycle.is_admission_paused:
            return
        for generation in self._queue:
            # Without lanes, the limit of rows does not apply, so that a generation with more sequences can run alone.
            if self._lanes and self._lanes.free_rows < len(generation.open_sequences):
                return
            if not self._admit(generation):
                return

    def load_step(self) -> None:
        """Load the next part of the weights of the model that is loading."""
        if resident := self._models.loading:
            waiting = tuple(generation for generation in self._queue if resident.info in generation.models)
            with BackendCall("load", waiting, model=resident.info):
                self._models.load_step(resident)
            if resident.is_ready:
                for generation in waiting:
                    generation.phase = "queue"
                    generation.times.load_ended = self._clock()

    def _admit(self, generation: Generation) -> bool:
        """Start a generation, end it, or leave it in the queue. Returns whether the next generation may be admitted."""
        models = self._loaded_models(generation)
        if models is None:
            # If nothing is loading, the model waits for the memory of busy models. Later generations must not use them.
            return generation.phase != "queue" or self._models.loading is not None
        lane = self._lanes.lane_of(generation)
        if lane and lane.is_isolating:
            return True
        if generation.only_loads:
            for sequence in generation.sequences:
                sequence.finish_reason = "length"
            self._lifecycle.finish(generation)
            return True
        if self._reserve_memory(generation, models):
            self._lifecycle.start(generation, models[0])
            return True
        # Memory is short. A later, smaller generation must not use the memory that the running rows will need.
        return generation.phase == "done"

    def _loaded_models(self, generation: Generation) -> tuple[ManagedModel, ...] | None:
        """The models of a generation, or None while one is not loaded. Begins to load that model if there is memory."""
        for info in generation.models:
            resident = self._models.get(info)
            if resident is None and self._models.loading is None:
                resident = self._begin_load(generation, info)
                if resident is None and info != generation.info:
                    self._lifecycle.drop_draft_model(generation, _NO_MEMORY_FOR_DRAFTS)
                    break
            if resident is None or not resident.is_ready:
                if resident and generation.phase == "queue":
                    generation.phase = "load"
                    generation.times.load_started = generation.times.load_started or self._clock()
                return None
        found = (self._models.get(info) for info in generation.models)
        return tuple(resident for resident in found if resident)

    def _begin_load(self, generation: Generation, info: ModelInfo) -> ManagedModel | None:
        """Begin to load a model. Returns None if memory is short, or after a PicoError.

        A PicoError ends the generation, unless `info` is the draft model of the generation.
        """
        try:
            with BackendCall("load", (generation,), model=info):
                return self._models.begin_load(info, beside=generation.models)
        except BackendCallFailed as failed:
            if not isinstance(failed.error, PicoError):
                raise
            if info == generation.info:
                self._lifecycle.fail(generation, failed.error)
            return None

    def _reserve_memory(self, generation: Generation, models: tuple[ManagedModel, ...]) -> bool:
        """Reserve memory for a generation's rows. Returns whether there was enough.

        A generation that can never fit loses its draft model, or fails if it has none.
        """
        if generation.texts:
            rows, tokens = 1, batch_tokens(generation.texts)
        else:
            generated = max(len(sequence.tokens) for sequence in generation.open_sequences)
            tokens = len(generation.prompt) + min(generation.max_tokens, generated + ADMISSION_ANSWER_TOKENS)
            rows = len(generation.open_sequences)
        with BackendCall("prefill", (generation,)):
            needed = rows * sum(resident.backend.estimate_cache(tokens) for resident in models)
        try:
            self._models.check_fits(models, needed)
        except OutOfMemory as error:
            if generation.draft:
                self._lifecycle.drop_draft_model(generation, _NO_MEMORY_FOR_DRAFTS)
            else:
                self._lifecycle.fail(generation, error)
            return False
        has_memory = self._models.reserve(models, needed, is_alone=not self._lanes)
        generation.reserved = needed if has_memory else 0
        return has_memory
