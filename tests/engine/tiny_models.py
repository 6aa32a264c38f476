"""Random models of a few thousand weights, one for each kind of KV cache in mlx-lm.

The weights have a large spread, so that the best token is far ahead of the second best. Rounding, which differs between
batch shapes, cannot change it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map
from mlx_lm.models import gemma3_text, lfm2, qwen3
from mlx_lm.models.cache import ConcatenateKVCache

VOCABULARY = 64


def _randomized(model: Any, seed: int) -> Any:
    """Fill the matrices with noise from `seed`. Norms are not changed."""
    keys = iter(mx.random.split(mx.random.key(seed), 1000))

    def noise(weight: mx.array) -> mx.array:
        if weight.ndim < 2:
            return weight
        return mx.random.normal(weight.shape, key=next(keys)) * (2.0 / weight.shape[-1] ** 0.5)

    model.update(tree_map(noise, model.parameters()))
    mx.eval(model.parameters())
    return model.eval() or model


def full_attention(seed: int = 1) -> Any:
    """Layers with KVCache."""
    args = qwen3.ModelArgs(
        model_type="qwen3",
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        rms_norm_eps=1e-6,
        vocab_size=VOCABULARY,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        rope_theta=10000.0,
    )
    return _randomized(qwen3.Model(args), seed)


def sliding_window(seed: int = 2) -> Any:
    """Layers with a RotatingKVCache of eight tokens, and one with KVCache."""
    args = gemma3_text.ModelArgs(
        model_type="gemma3_text",
        hidden_size=32,
        num_hidden_layers=3,
        intermediate_size=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        vocab_size=VOCABULARY,
        query_pre_attn_scalar=16,
        sliding_window=8,
        sliding_window_pattern=3,
    )
    return _randomized(gemma3_text.Model(args), seed)


def convolution(seed: int = 3) -> Any:
    """A layer with ArraysCache, which has a fixed size, and one with KVCache."""
    args = lfm2.ModelArgs(
        model_type="lfm2",
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        norm_eps=1e-6,
        conv_bias=False,
        conv_L_cache=3,
        block_dim=32,
        block_ff_dim=64,
        block_multiple_of=8,
        block_ffn_dim_multiplier=1.0,
        block_auto_adjust_ff_dim=False,
        layer_types=["conv", "full_attention"],
    )
    return _randomized(lfm2.Model(args), seed)


class _Unmergeable(qwen3.Model):  # type: ignore[misc]  # mlx-lm has no types
    def make_cache(self) -> list[ConcatenateKVCache]:
        return [ConcatenateKVCache() for _ in self.layers]


def unmergeable(seed: int = 1) -> Any:
    """Layers whose caches cannot form a batch."""
    model = full_attention(seed)
    model.__class__ = _Unmergeable
    return model


TINY_MODELS: dict[str, Callable[[], Any]] = {
    "full attention": full_attention,
    "sliding window": sliding_window,
    "convolution": convolution,
    "unmergeable": unmergeable,
}
