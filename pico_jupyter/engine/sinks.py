"""The sinks of requests without a stream: they resolve a future."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from pico_jupyter.engine.backends.embedding import shortened
from pico_jupyter.engine.scheduling.sequence import Generation
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.errors import PicoError
from pico_jupyter.questions import Embed
from pico_jupyter.types import Delta, Finished


@dataclass(frozen=True, slots=True, eq=False)
class LoadSink:
    """The sink of a request that only loads a model. Resolves a future when the model is loaded."""

    loaded: Future[None]

    def put(self, delta: Delta) -> None:
        """Resolve the future at the end."""
        if isinstance(delta, Finished):
            self.loaded.set_result(None)

    def fail(self, error: PicoError) -> None:
        """Fail the future."""
        self.loaded.set_exception(error)


class EmbeddingSink:
    """The sink of a question for embeddings. Resolves `answer` when all vectors are computed."""

    def __init__(self, question: Embed) -> None:
        self.answer: Future[Embeddings] = Future()
        self.answer.set_running_or_notify_cancel()
        self.generation: Generation | None = None
        self.aborted = False
        self._dimensions = question.dimensions

    def attach(self, generation: Generation) -> None:
        """Set the generation, whose vectors are the answer."""
        self.generation = generation

    def put(self, delta: Delta) -> None:
        """Resolve the answer with the vectors of the generation."""
        if isinstance(delta, Finished) and self.generation:
            vectors = tuple(shortened(vector, self._dimensions) for vector in self.generation.vectors if vector)
            tokens, name = delta.usage.prompt_tokens, self.generation.info.name
            self.answer.set_result(Embeddings(name, vectors, tokens, delta.timings))

    def fail(self, error: PicoError) -> None:
        """Fail the answer."""
        self.answer.set_exception(error)
