"""Runs a model in a loop without a server: `python -m benchmarks.bare_loop rate|cache ...`, called by bare.py."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model

from benchmarks.checkpoint_builder import SPECIAL, VOCABULARY
from pico_jupyter.engine.backend import RowSampling
from pico_jupyter.engine.backends import loading
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.types import EngineOptions

_FREE_BYTES = 4 << 30
# The limit of one prefill call, in tokens.
_CHUNK = 2048


def rate(checkpoint: Path, rows: int, prompt: int, tokens: int) -> float:
    """Tokens per second of LmBackend while all rows decode."""
    catalog = Catalog(EngineOptions(model_dirs=(str(checkpoint.parent),)), hub_cache=None)
    info = next(info for info in catalog.models() if info.name == checkpoint.name)
    backend = loading.load(info, _FREE_BYTES)
    while backend.load_step():
        pass
    for row in range(rows):
        backend.insert({row: RowSampling()}, _prompt(row, prompt))
        while backend.prefill([row], _CHUNK)[row]:
            pass
    # Time starts when one step has sampled a token for every row.
    while len({token.row for token in backend.step()}) < rows:
        pass
    start, sampled = time.perf_counter(), 0
    while sampled < rows * tokens:
        sampled += len(backend.step())
    seconds = time.perf_counter() - start
    backend.close()
    return sampled / seconds


def cache(checkpoint: Path, tokens: int, lengths: Sequence[int]) -> int:
    """The bytes that BatchGenerator reports when every row has generated `tokens` tokens.

    The rows start with KV caches of the given lengths. The caches contain zeros, so no prefill is needed.
    """
    model, _ = load_model(checkpoint)
    generator = BatchGenerator(model)
    caches = [make_prompt_cache(model) for _ in lengths]
    heads, size = model.args.num_key_value_heads, model.args.head_dim
    for length, layers in zip(lengths, caches, strict=True):
        for layer in layers:
            layer.update_and_fetch(mx.zeros((1, heads, length, size)), mx.zeros((1, heads, length, size)))
    generator.insert([_prompt(0, 1)] * len(lengths), max_tokens=[4 * tokens] * len(lengths), caches=caches)
    generated: dict[int, int] = {}
    while len(generated) < len(lengths) or min(generated.values()) < tokens:
        _, responses = generator.next()
        for response in responses:
            generated[response.uid] = generated.get(response.uid, 0) + 1
    return int(generator.prompt_cache_nbytes)


def _prompt(seed: int, length: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(len(SPECIAL), VOCABULARY) for _ in range(length)]


def main() -> None:
    """Print the result, which is one number."""
    kind, checkpoint, *numbers = sys.argv[1:]
    counts = [int(number) for number in numbers]
    if kind == "rate":
        print(rate(Path(checkpoint), *counts))
    else:
        print(cache(Path(checkpoint), counts[0], counts[1:]))


if __name__ == "__main__":
    main()
