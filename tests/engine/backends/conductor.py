"""Conductor: drives a backend as the scheduler does. answer_of() returns the expected answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache

from pico_jupyter.engine.backend import Media, RowSampling
from pico_jupyter.engine.backends import kv
from pico_jupyter.engine.backends.lm import LmBackend
from pico_jupyter.engine.memory.prefix_cache import PrefixCache
from tests.engine.tiny_models import TINY_MODELS

GREEDY = RowSampling()
ANSWER = 8
# The kinds of models by their caches; "quantised" has keys and values of 8 bits.
KINDS = [*TINY_MODELS, "quantised"]


@cache
def tiny_model(kind: str) -> Any:
    return TINY_MODELS["full attention" if kind == "quantised" else kind]()


def kv_bits(kind: str) -> int:
    return 8 if kind == "quantised" else 0


def backend_for(kind: str, prefixes: PrefixCache | None = None) -> LmBackend:
    kept = prefixes.for_model(kind) if prefixes else None
    return LmBackend(tiny_model(kind), kind, prefixes=kept, kv_bits=kv_bits(kind))


@cache
def answer_of(kind: str, prompt: tuple[int, ...]) -> list[int]:
    """The answer of mlx-lm to a prompt."""
    model = tiny_model(kind)
    caches = kv.quantized(make_prompt_cache(model), kv_bits(kind))
    return [token for token, _ in generate_step(mx.array(prompt), model, max_tokens=ANSWER, prompt_cache=caches)]


class Conductor:
    """Drives a backend and records the tokens of each row."""

    def __init__(self, backend: LmBackend, limit: int = 12) -> None:
        self.backend = backend
        self.limit = limit
        self.prefilling: list[int] = []
        self.tokens: dict[int, list[int]] = {}
        self.running: set[int] = set()
        self.cached: dict[int, int] = {}

    def admit(
        self,
        row: int,
        prompt: list[int],
        sampling: RowSampling = GREEDY,
        boundaries: Sequence[int] = (),
        media: Media | None = None,
    ) -> None:
        self.cached[row] = self.backend.insert(
            {row: sampling}, prompt, boundaries=boundaries or [max(1, len(prompt) - 3)], media=media
        )
        self.prefilling.append(row)
        self.tokens[row] = []
        self.running.add(row)

    def step(self, limit: int | None = None) -> None:
        """One turn of the scheduler: a decode step and one chunk."""
        ended = []
        for sampled in self.backend.step():
            self.tokens[sampled.row].append(sampled.token)
            if len(self.tokens[sampled.row]) >= ANSWER:
                ended.append(sampled.row)
        self.remove(ended)
        if self.prefilling:
            remaining = self.backend.prefill(self.prefilling, limit or self.limit)
            first, *others = self.prefilling
            self.prefilling = [row for row in (*others, first) if remaining.get(row, 1)]

    def remove(self, rows: list[int], *, keep: bool = True) -> None:
        self.backend.remove(rows, keep=keep)
        self.running -= set(rows)
        self.prefilling = [row for row in self.prefilling if row not in rows]

    def finish(self) -> None:
        for _ in range(500):
            if not self.running:
                return
            self.step()
        raise AssertionError(f"rows {self.running} never ended")

    def answer(
        self,
        row: int,
        prompt: list[int],
        sampling: RowSampling = GREEDY,
        boundaries: Sequence[int] = (),
        media: Media | None = None,
    ) -> list[int]:
        """Admit a prompt and run until all rows have ended."""
        self.admit(row, prompt, sampling, boundaries, media)
        self.finish()
        return self.tokens[row]
