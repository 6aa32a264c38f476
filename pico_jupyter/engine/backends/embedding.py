"""EmbeddingModel: a model that turns texts into vectors, behind the interface EmbeddingBackend."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never, cast

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten

from pico_jupyter.engine.backends.encoders import (
    BertEncoder,
    DecoderEncoder,
    ModernBertEncoder,
    StaticEncoder,
    TextEncoder,
    window_pattern,
)
from pico_jupyter.engine.backends.lm import load_shares, weights_of
from pico_jupyter.engine.catalog.embedding_files import (
    DECODER_TYPES,
    ROBERTA_TYPES,
    STATIC_TYPE,
    EmbeddingRecipe,
    read_recipe,
)
from pico_jupyter.engine.memory.device import is_on_cpu, release_free_memory

_SMALLEST_NORM = 1e-12


class EmbeddingNetwork(nn.Module):
    """An encoder, and the pooling and layers that turn its hidden states into vectors. `config` is from config.json."""

    def __init__(self, encoder: TextEncoder, recipe: EmbeddingRecipe, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = encoder
        self.dense = [nn.Linear(layer.inputs, layer.outputs, bias=layer.bias) for layer in recipe.dense]
        self._activations = [layer.activation for layer in recipe.dense]
        self._pooling = recipe.pooling
        # How many numbers a layer computes for each token, and how many attention heads it has.
        self.working_floats = 8 * recipe.dimensions + 3 * config.get("intermediate_size", 0)
        self.heads = config.get("num_attention_heads", 0)

    def pool(self, hidden: mx.array, lengths: Sequence[int]) -> mx.array:
        """The pooled hidden states (texts, width) of texts with these lengths."""
        count = mx.array(list(lengths))
        match self._pooling:
            case "cls":
                return hidden[:, 0]
            case "last":
                return hidden[mx.arange(len(lengths)), count - 1]
            case "mean":
                is_text = (mx.arange(hidden.shape[1]) < count[:, None])[..., None]
                return mx.where(is_text, hidden, 0).sum(axis=1) / count[:, None]
            case _:
                assert_never(self._pooling)

    def project(self, pooled: mx.array) -> mx.array:
        """The normalized vectors of pooled hidden states."""
        vectors = pooled
        for layer, activation in zip(self.dense, self._activations, strict=True):
            vectors = layer(vectors)
            vectors = mx.tanh(vectors) if activation == "Tanh" else vectors
        vectors = vectors.astype(mx.float32)
        return vectors / mx.maximum(mx.linalg.norm(vectors, axis=-1, keepdims=True), _SMALLEST_NORM)


class EmbeddingModel:
    """One embedding model. EmbeddingBackend documents the methods."""

    def __init__(self, network: EmbeddingNetwork, name: str) -> None:
        self._network: EmbeddingNetwork | None = network
        self._name = name
        self._working_floats = network.working_floats
        # Without a GPU, MLX stores all attention scores of a layer.
        self._heads = network.heads if is_on_cpu() else 0
        self._loading = list(load_shares(weights_of(network)))
        self._weights_nbytes = sum(weight.nbytes for weight in weights_of(network))

    def __repr__(self) -> str:
        return f"<EmbeddingModel {self._name}>"

    @property
    def weights_nbytes(self) -> int:
        return self._weights_nbytes

    @property
    def cache_nbytes(self) -> int:
        return 0

    def load_step(self) -> int:
        if self._loading:
            mx.eval(self._loading.pop(0))
        return sum(int(weight.nbytes) for share in self._loading for weight in share)

    def estimate_cache(self, tokens: int) -> int:
        return int(4 * tokens * (self._working_floats + self._heads * tokens))

    def embed(self, texts: Sequence[Sequence[int]], limit: int) -> Iterator[Sequence[bytes] | None]:
        assert self._network, "the model is closed"
        encoder = self._network.encoder
        lengths = [len(text) for text in texts]
        longest = max(lengths)
        hidden = encoder.begin(mx.array([[*text, *[0] * (longest - len(text))] for text in texts]))
        is_padded = min(lengths) < longest
        mask = (mx.arange(longest) < mx.array(lengths)[:, None])[:, None, None] if is_padded else None
        layers = len(encoder.layers)
        share = max(1, limit * layers // (len(texts) * longest))
        for index in range(layers):
            hidden = encoder.advance(index, hidden, mask)
            if (index + 1) % share == 0 and index + 1 < layers:
                mx.eval(hidden)
                yield None
        pooled = self._network.pool(encoder.finish(hidden), lengths)
        vectors = np.array(self._network.project(pooled))
        mx.clear_cache()
        yield [vector.tobytes() for vector in vectors]

    def close(self) -> None:
        self._network = None
        self._loading.clear()
        release_free_memory()


def shortened(vector: bytes, dimensions: int | None) -> bytes:
    """The first numbers of a vector, normalized again."""
    if dimensions is None or 4 * dimensions >= len(vector):
        return vector
    numbers = np.frombuffer(vector, np.float32)[:dimensions]
    return (numbers / max(float(np.linalg.norm(numbers)), _SMALLEST_NORM)).astype(np.float32).tobytes()


def open_network(folder: Path) -> EmbeddingNetwork:
    """Open an embedding model. Its weights are read later. Raises ValueError, OSError and BrokenModel."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    recipe = read_recipe(folder, config)
    assert recipe, "the model is an embedding model"
    weights = _encoder_weights(folder, config["model_type"])
    network = EmbeddingNetwork(_new_encoder(config, weights), recipe, config)
    for index, layer in enumerate(recipe.dense):
        read = _read_weights(folder / layer.folder)
        weights |= {f"dense.{index}.{name.removeprefix('linear.')}": weight for name, weight in read.items()}
    _quantize(network, weights, config.get("quantization") or config.get("quantization_config") or {})
    names = {name for name, _ in tree_flatten(network.parameters())}
    if missing := sorted(names - weights.keys()):
        raise ValueError(f"the weight {missing[0]} is missing")
    network.load_weights([(name, weight) for name, weight in weights.items() if name in names])
    return network


def _new_encoder(config: Mapping[str, Any], weights: Mapping[str, mx.array]) -> TextEncoder:
    kind = config["model_type"]
    if kind in DECODER_TYPES:
        return _new_decoder(config)
    if kind == STATIC_TYPE:
        return StaticEncoder(*weights["encoder.embeddings"].shape)
    if kind == "modernbert":
        return ModernBertEncoder(config)
    # RoBERTa's first position is the id of the padding token plus 1.
    first_position = config.get("pad_token_id", 1) + 1 if kind in ROBERTA_TYPES else 0
    return BertEncoder(config, first_position)


def _new_decoder(config: Mapping[str, Any]) -> DecoderEncoder:
    kind = config["model_type"]
    module = importlib.import_module(f"mlx_lm.models.{'llama' if kind == 'mistral' else kind}")
    # The head is not used. With tied embeddings, it has no weights to load.
    config = {**config, "tie_word_embeddings": True, "sliding_window_pattern": window_pattern(config)}
    model = module.Model(module.ModelArgs.from_dict(config)).model
    return DecoderEncoder(model, config, is_bidirectional=config.get("use_bidirectional_attention") is True)


def _encoder_weights(folder: Path, kind: str) -> dict[str, mx.array]:
    """The weights of an encoder by their names in the network. The names in checkpoints have different prefixes."""
    prefix = "encoder.model." if kind in DECODER_TYPES else "encoder."
    weights: dict[str, mx.array] = {}
    for name, weight in _read_weights(folder).items():
        plain = name.removeprefix("bert.").removeprefix("roberta.").removeprefix("model.")
        weights[prefix + plain] = weight
    if kind == STATIC_TYPE and "encoder.embedding.weight" in weights:
        weights["encoder.embeddings"] = weights["encoder.embedding.weight"]
    return weights


def _read_weights(folder: Path) -> dict[str, mx.array]:
    """The weights in the safetensors files of a folder, which MLX reads when they are used."""
    weights: dict[str, mx.array] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= cast("dict[str, mx.array]", mx.load(str(path)))
    return weights


def _quantize(network: EmbeddingNetwork, weights: Mapping[str, mx.array], quantization: Mapping[str, Any]) -> None:
    """Replace the layers whose weights are quantized."""

    def parameters(path: str, module: nn.Module) -> bool | dict[str, Any]:
        of_layer = quantization.get(path.removeprefix("encoder."))
        return (of_layer if isinstance(of_layer, dict) else True) if f"{path}.scales" in weights else False

    if "bits" in quantization:
        mode = quantization.get("mode", "affine")
        nn.quantize(network, quantization["group_size"], quantization["bits"], mode=mode, class_predicate=parameters)
