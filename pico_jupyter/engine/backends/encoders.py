"""Defines the encoders of embedding models: BERT, RoBERTa, ModernBERT and model2vec, and the decoders of mlx-lm.

The modules have the names that the weights have in transformers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import mlx.core as mx
from mlx import nn

# With None, all tokens attend to all tokens.
Mask = mx.array | None
_ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": nn.gelu,
    "gelu_new": nn.gelu_approx,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "relu": nn.relu,
    "silu": nn.silu,
}


class TextEncoder(Protocol):
    """A network that is computed layer by layer. Tokens have the axes (texts, tokens); hidden states have a third."""

    layers: Sequence[Any]

    def begin(self, tokens: mx.array) -> mx.array:
        """The hidden states before the first layer."""

    def advance(self, index: int, hidden: mx.array, mask: Mask) -> mx.array:
        """Compute one layer. `mask` (texts, 1, 1, tokens) is true for tokens that are not padding."""

    def finish(self, hidden: mx.array) -> mx.array:
        """The hidden states after the last layer."""


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self._heads = heads

    def __call__(self, hidden: mx.array, mask: Mask) -> mx.array:
        queries, keys, values = (split_heads(part(hidden), self._heads) for part in (self.query, self.key, self.value))
        return attend(queries, keys, values, mask)


class _ResidualOutput(nn.Module):
    def __init__(self, inputs: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def __call__(self, hidden: mx.array, residual: mx.array) -> mx.array:
        output: mx.array = self.LayerNorm(self.dense(hidden) + residual)
        return output


class _BertAttention(nn.Module):
    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self["self"] = _SelfAttention(width, heads)
        self.output = _ResidualOutput(width, width, eps)

    def __call__(self, hidden: mx.array, mask: Mask) -> mx.array:
        attended: mx.array = self.output(self["self"](hidden, mask), hidden)
        return attended


class _Intermediate(nn.Module):
    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)
        self._activate = _ACTIVATIONS[activation]

    def __call__(self, hidden: mx.array) -> mx.array:
        return self._activate(self.dense(hidden))


class _BertLayer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, eps = config["hidden_size"], config["intermediate_size"], config.get("layer_norm_eps", 1e-12)
        self.attention = _BertAttention(width, config["num_attention_heads"], eps)
        self.intermediate = _Intermediate(width, inner, config.get("hidden_act", "gelu"))
        self.output = _ResidualOutput(inner, width, eps)

    def __call__(self, hidden: mx.array, mask: Mask) -> mx.array:
        attended = self.attention(hidden, mask)
        output: mx.array = self.output(self.intermediate(attended), attended)
        return output


class _BertLayers(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = [_BertLayer(config) for _ in range(config["num_hidden_layers"])]


class _BertEmbeddings(nn.Module):
    def __init__(self, config: Mapping[str, Any], first_position: int) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config.get("type_vocab_size", 2), width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.get("layer_norm_eps", 1e-12))
        self._first_position = first_position

    def __call__(self, tokens: mx.array) -> mx.array:
        positions = mx.arange(self._first_position, self._first_position + tokens.shape[1])
        types = self.token_type_embeddings(mx.zeros((1,), mx.int32))
        hidden: mx.array = self.LayerNorm(self.word_embeddings(tokens) + self.position_embeddings(positions) + types)
        return hidden


class BertEncoder(nn.Module):
    """BERT, and RoBERTa if `first_position` is not 0."""

    def __init__(self, config: Mapping[str, Any], first_position: int = 0) -> None:
        super().__init__()
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"position embeddings of type {config['position_embedding_type']} are not supported")
        self.embeddings = _BertEmbeddings(config, first_position)
        self.encoder = _BertLayers(config)

    @property
    def layers(self) -> Sequence[Any]:
        """The layers, in order."""
        layers: list[Any] = self.encoder.layer
        return layers

    def begin(self, tokens: mx.array) -> mx.array:
        """See TextEncoder.begin."""
        hidden: mx.array = self.embeddings(tokens)
        return hidden

    def advance(self, index: int, hidden: mx.array, mask: Mask) -> mx.array:
        """See TextEncoder.advance."""
        output: mx.array = self.layers[index](hidden, mask)
        return output

    def finish(self, hidden: mx.array) -> mx.array:
        """See TextEncoder.finish."""
        return hidden


class _ModernAttention(nn.Module):
    def __init__(self, config: Mapping[str, Any], theta: float) -> None:
        super().__init__()
        width, has_bias = config["hidden_size"], config.get("attention_bias", False)
        self.Wqkv = nn.Linear(width, 3 * width, bias=has_bias)
        self.Wo = nn.Linear(width, width, bias=has_bias)
        self._heads = config["num_attention_heads"]
        self._rope = nn.RoPE(width // self._heads, base=theta)

    def __call__(self, hidden: mx.array, mask: Mask) -> mx.array:
        parts = mx.split(self.Wqkv(hidden), 3, axis=-1)
        queries, keys, values = (split_heads(part, self._heads) for part in parts)
        output: mx.array = self.Wo(attend(self._rope(queries), self._rope(keys), values, mask))
        return output


class _ModernMlp(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner, has_bias = config["hidden_size"], config["intermediate_size"], config.get("mlp_bias", False)
        self.Wi = nn.Linear(width, 2 * inner, bias=has_bias)
        self.Wo = nn.Linear(inner, width, bias=has_bias)
        self._activate = _ACTIVATIONS[config.get("hidden_activation", "gelu")]

    def __call__(self, hidden: mx.array) -> mx.array:
        inner, gate = mx.split(self.Wi(hidden), 2, axis=-1)
        output: mx.array = self.Wo(self._activate(inner) * gate)
        return output


class _ModernLayer(nn.Module):
    def __init__(self, config: Mapping[str, Any], theta: float, *, is_first: bool) -> None:
        super().__init__()
        self.attn_norm = nn.Identity() if is_first else _layer_norm(config)
        self.attn = _ModernAttention(config, theta)
        self.mlp_norm = _layer_norm(config)
        self.mlp = _ModernMlp(config)

    def __call__(self, hidden: mx.array, mask: Mask) -> mx.array:
        hidden = hidden + self.attn(self.attn_norm(hidden), mask)
        output: mx.array = hidden + self.mlp(self.mlp_norm(hidden))
        return output


class _ModernEmbeddings(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.norm = _layer_norm(config)


class ModernBertEncoder(nn.Module):
    """ModernBERT. Most layers attend to the nearest tokens only."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        every = config.get("global_attn_every_n_layers", 3)
        count = config["num_hidden_layers"]
        self._is_global = [index % every == 0 for index in range(count)]
        self._window = config.get("local_attention", 128) // 2
        thetas = _modern_thetas(config)
        self.embeddings = _ModernEmbeddings(config)
        self.layers = [
            _ModernLayer(config, thetas[0] if is_global else thetas[1], is_first=index == 0)
            for index, is_global in enumerate(self._is_global)
        ]
        self.final_norm = _layer_norm(config)

    def begin(self, tokens: mx.array) -> mx.array:
        """See TextEncoder.begin."""
        hidden: mx.array = self.embeddings.norm(self.embeddings.tok_embeddings(tokens))
        return hidden

    def advance(self, index: int, hidden: mx.array, mask: Mask) -> mx.array:
        """See TextEncoder.advance."""
        if not self._is_global[index]:
            mask = within_window(mask, hidden.shape[1], self._window)
        output: mx.array = self.layers[index](hidden, mask)
        return output

    def finish(self, hidden: mx.array) -> mx.array:
        """See TextEncoder.finish."""
        output: mx.array = self.final_norm(hidden)
        return output


class StaticEncoder(nn.Module):
    """A vector for each token, without layers (model2vec)."""

    layers: Sequence[Any] = ()

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.embeddings = mx.zeros((tokens, width))

    def begin(self, tokens: mx.array) -> mx.array:
        """See TextEncoder.begin."""
        return self.embeddings[tokens]

    def advance(self, index: int, hidden: mx.array, mask: Mask) -> mx.array:
        """Never called: there are no layers."""
        raise IndexError(index)

    def finish(self, hidden: mx.array) -> mx.array:
        """See TextEncoder.finish."""
        return hidden


class DecoderEncoder(nn.Module):
    """The layers of a decoder of mlx-lm, without the head. `model` has embed_tokens, layers and norm.

    With `is_bidirectional`, tokens attend to later tokens too (Gemma).
    """

    def __init__(self, model: Any, config: Mapping[str, Any], *, is_bidirectional: bool) -> None:
        super().__init__()
        self.model = model
        self._is_bidirectional = is_bidirectional
        is_gemma = config["model_type"] == "gemma3_text"
        self._scale = math.sqrt(config["hidden_size"]) if is_gemma else 1.0
        pattern = window_pattern(config)
        size = config.get("sliding_window") or 512
        # The largest distance at which a token attends to another; 0: no limit.
        window = size // 2 if is_bidirectional else size - 1
        is_local = [is_gemma and (index + 1) % pattern != 0 for index in range(len(model.layers))]
        self._windows = [window if local else 0 for local in is_local]

    @property
    def layers(self) -> Sequence[Any]:
        """The layers, in order."""
        layers: Sequence[Any] = self.model.layers
        return layers

    def begin(self, tokens: mx.array) -> mx.array:
        """See TextEncoder.begin."""
        hidden: mx.array = self.model.embed_tokens(tokens)
        return hidden * mx.array(self._scale, hidden.dtype)

    def advance(self, index: int, hidden: mx.array, mask: Mask) -> mx.array:
        """See TextEncoder.advance. Padding is at the end, so a causal mask hides it from the tokens of the text."""
        length, window = hidden.shape[1], self._windows[index]
        if not self._is_bidirectional:
            positions = mx.arange(length)
            mask = positions[:, None] >= positions
        if window and window < length:
            mask = within_window(mask, length, window)
        output: mx.array = self.layers[index](hidden, mask, None)
        return output

    def finish(self, hidden: mx.array) -> mx.array:
        """See TextEncoder.finish."""
        output: mx.array = self.model.norm(hidden)
        return output


def window_pattern(config: Mapping[str, Any]) -> int:
    """The n of "every nth layer of Gemma attends to all tokens". In transformers 5 the key begins with "_"."""
    return config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6


def split_heads(hidden: mx.array, heads: int) -> mx.array:
    """Reshape (texts, tokens, width) to (texts, heads, tokens, width of a head)."""
    texts, tokens, _ = hidden.shape
    return hidden.reshape(texts, tokens, heads, -1).transpose(0, 2, 1, 3)


def attend(queries: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    """Scaled dot-product attention. Returns (texts, tokens, width)."""
    scale = 1 / math.sqrt(queries.shape[-1])
    attended = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    texts, _, tokens, _ = attended.shape
    return attended.transpose(0, 2, 1, 3).reshape(texts, tokens, -1)


def within_window(mask: Mask, length: int, window: int) -> mx.array:
    """A mask that also hides tokens at a distance of more than `window`."""
    positions = mx.arange(length)
    near = mx.abs(positions[:, None] - positions) <= window
    return near if mask is None else mask & near


def _layer_norm(config: Mapping[str, Any]) -> nn.LayerNorm:
    return nn.LayerNorm(config["hidden_size"], eps=config.get("norm_eps", 1e-5), bias=config.get("norm_bias", False))


def _modern_thetas(config: Mapping[str, Any]) -> tuple[float, float]:
    """The bases of the rotary positions of global and local layers. In transformers 5 they are in rope_parameters."""
    parameters = config.get("rope_parameters") or {}
    globally = parameters.get("full_attention", {}).get("rope_theta") or config.get("global_rope_theta", 160_000.0)
    locally = parameters.get("sliding_attention", {}).get("rope_theta") or config.get("local_rope_theta", 10_000.0)
    return globally, locally
