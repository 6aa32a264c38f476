"""The models that the benchmarks run on: their names, shapes and folder. checkpoint_builder.py writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

# Part of the cache folder's name: raise it when what is built changes.
RECIPE = 2
WORDS_FILE = "words.txt"


@dataclass(frozen=True)
class Shape:
    """The dimensions of a random model. `window`: the caches of all layers but the last hold so many tokens."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    feed_forward: int
    seed: int
    head_dim: int = 128
    vocabulary: int = 4096
    window: int = 0

    def __str__(self) -> str:
        caches = f", rotating caches of {self.window} tokens in all layers but the last" if self.window else ""
        return (
            f"{self.layers} layers of {self.hidden}, {self.heads} heads of {self.head_dim} ({self.kv_heads} for keys "
            f"and values), {self.parameters / 1e6:.0f} M parameters, {self.vocabulary} tokens{caches}"
        )

    @property
    def parameters(self) -> int:
        """Without the norms."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.feed_forward) + self.vocabulary * self.hidden

    @property
    def kv_nbytes(self) -> int:
        """Bytes of the keys and values of one token."""
        return self.layers * 2 * self.kv_heads * self.head_dim * 4


_SMALL = Shape(layers=3, hidden=512, heads=4, kv_heads=1, feed_forward=2048, seed=1)
SHAPES = {
    "small": _SMALL,
    "small-2": replace(_SMALL, seed=2),
    # A vocabulary of the size that models have, since sampling costs grow with it. The tokenizer knows 4096 of them.
    "large": Shape(layers=8, hidden=768, heads=6, kv_heads=2, feed_forward=3072, seed=3, vocabulary=65536),
    "rotating": replace(_SMALL, seed=4, window=512),
}
# pico-tiny as it ships, but in float32.
TINY = "tiny"
NAMES = (TINY, *SHAPES)


def default_folder() -> Path:
    """Where checkpoints are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pico_jupyter" / f"benchmarks-{RECIPE}"


def ensure(folder: Path) -> None:
    """Build what is missing, in a process of its own: the benchmark's own process stays free of mlx."""
    if any(not (folder / name / "config.json").exists() for name in NAMES):
        subprocess.run([sys.executable, "-m", "benchmarks.checkpoint_builder", "--folder", str(folder)], check=True)
