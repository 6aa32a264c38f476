"""A loader of models that gives every model a fake backend."""

from __future__ import annotations

from dataclasses import dataclass, field

from pico_jupyter.engine.text.tokenizer import Tokenizer
from pico_jupyter.types import ModelInfo
from tests.fakes.backend import FakeBackend, Gate, TokenRule


@dataclass
class FakeModels:
    """Loads a FakeBackend for any model. All backends share one gate. Without `answer`, a backend repeats "Hello "."""

    tokenizer: Tokenizer
    answer: TokenRule | None = None
    gate: Gate = field(default_factory=Gate)
    load_steps: int = 1
    backends: dict[str, FakeBackend] = field(default_factory=dict)

    def __call__(self, info: ModelInfo, free: int) -> FakeBackend:
        hello = self.tokenizer.encode("Hello ", add_special_tokens=False)
        backend = FakeBackend(
            answer=self.answer or (lambda prompt, sampling: iter(hello * 10_000)),
            gate=self.gate,
            weights_nbytes=info.size,
            load_steps=self.load_steps,
        )
        self.backends[info.name] = backend
        return backend

    @property
    def backend(self) -> FakeBackend:
        return self.backends["pico-tiny"]
