"""Names, shapes and folder of the models for the benchmarks. checkpoint_builder.py writes the files."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

# Part of the cache folder's name. Increase it when checkpoint_builder.py writes different models.
RECIPE = 2
WORDS_FILE = "words.txt"


@dataclass(frozen=True)
class Tower:
    """The dimensions of a vision tower with random weights. Images are at most `side` pixels wide and high."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    patch: int = 16
    # merge x merge patches become one token.
    merge: int = 2
    side: int = 448

    @property
    def parameters(self) -> int:
        """Number of parameters of the layers, without norms."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.feed_forward)

    @property
    def tokens(self) -> int:
        """Number of tokens of the largest image."""
        return (self.side // self.patch // self.merge) ** 2


@dataclass(frozen=True)
class Shape:
    """The dimensions of a model with random weights.

    `window` is the limit, in tokens, of the KV cache of every layer except the last. 0 means no limit.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    feed_forward: int
    seed: int
    head_dim: int = 128
    vocabulary: int = 4096
    window: int = 0
    tower: Tower | None = None

    def __str__(self) -> str:
        caches = f", rotating caches of {self.window} tokens in all layers but the last" if self.window else ""
        tower = self.tower
        vision = (
            f"; a vision tower of {tower.layers} layers of {tower.hidden}, {tower.parameters / 1e6:.0f} M parameters, "
            f"{tower.tokens} tokens for an image of {tower.side} x {tower.side}"
            if tower
            else ""
        )
        return (
            f"{self.layers} layers of {self.hidden}, {self.heads} heads of {self.head_dim} ({self.kv_heads} for keys "
            f"and values), {self.parameters / 1e6:.0f} M parameters, {self.vocabulary} tokens{caches}{vision}"
        )

    @property
    def parameters(self) -> int:
        """Number of parameters of the language model, without norms."""
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
    # Sampling costs grow with the vocabulary, so this model has a realistic one. Its tokenizer still has 4096 tokens.
    "large": Shape(layers=8, hidden=768, heads=6, kv_heads=2, feed_forward=3072, seed=3, vocabulary=65536),
    "rotating": replace(_SMALL, seed=4, window=512),
    # Its vocabulary has the same words, and four special tokens for images.
    "small-vl": replace(_SMALL, seed=5, vocabulary=4100, tower=Tower(layers=8, hidden=512, heads=8, feed_forward=2048)),
}
# The built-in models in float32. They end an answer when it is complete. Models with random weights always generate up
# to the token limit.
TINY, TINY_VL = "tiny", "tiny-vl"
BUILT_IN = {TINY: "pico-tiny", TINY_VL: "pico-tiny-vl"}
NAMES = (*BUILT_IN, *SHAPES)


def default_folder() -> Path:
    """The folder that keeps the models between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pico_jupyter" / f"benchmarks-{RECIPE}"


def ensure(folder: Path) -> None:
    """Build missing models. This uses a separate process, so that this process does not import mlx."""
    if any(not (folder / name / "config.json").exists() for name in NAMES):
        subprocess.run([sys.executable, "-m", "benchmarks.checkpoint_builder", "--folder", str(folder)], check=True)
