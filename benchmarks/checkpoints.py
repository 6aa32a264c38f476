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
class Tower:
    """The dimensions of a random vision tower. A picture of `side` pixels a side is taken as it is, and none larger."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    patch: int = 16
    # So many patches a side become one token.
    merge: int = 2
    side: int = 448

    @property
    def parameters(self) -> int:
        """Of its layers, without the norms."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.feed_forward)

    @property
    def tokens(self) -> int:
        """Of the largest picture."""
        return (self.side // self.patch // self.merge) ** 2


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
    tower: Tower | None = None

    def __str__(self) -> str:
        caches = f", rotating caches of {self.window} tokens in all layers but the last" if self.window else ""
        tower = self.tower
        sees = (
            f"; a vision tower of {tower.layers} layers of {tower.hidden}, {tower.parameters / 1e6:.0f} M parameters, "
            f"which makes {tower.tokens} tokens of a picture of {tower.side} x {tower.side}"
            if tower
            else ""
        )
        return (
            f"{self.layers} layers of {self.hidden}, {self.heads} heads of {self.head_dim} ({self.kv_heads} for keys "
            f"and values), {self.parameters / 1e6:.0f} M parameters, {self.vocabulary} tokens{caches}{sees}"
        )

    @property
    def parameters(self) -> int:
        """Of the language model, without the norms."""
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
    # The same words, and four tokens more that stand around pictures and for them.
    "small-vl": replace(
        _SMALL, seed=5, vocabulary=4100, tower=Tower(layers=12, hidden=512, heads=8, feed_forward=2048)
    ),
}
# What ships inside pico_jupyter, but in float32. They answer as they please, where random models are endless.
TINY, TINY_VL = "tiny", "tiny-vl"
BUILT_IN = {TINY: "pico-tiny", TINY_VL: "pico-tiny-vl"}
NAMES = (*BUILT_IN, *SHAPES)


def default_folder() -> Path:
    """Where checkpoints are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pico_jupyter" / f"benchmarks-{RECIPE}"


def ensure(folder: Path) -> None:
    """Build what is missing, in a process of its own: the benchmark's own process stays free of mlx."""
    if any(not (folder / name / "config.json").exists() for name in NAMES):
        subprocess.run([sys.executable, "-m", "benchmarks.checkpoint_builder", "--folder", str(folder)], check=True)
