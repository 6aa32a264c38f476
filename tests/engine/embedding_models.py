"""Writes tiny embedding models with random weights. Each word of WORDS is one token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pico_jupyter.engine.backends.encoders import BertEncoder, ModernBertEncoder
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.types import EngineOptions, ModelInfo

SENTENCE = "the a cat dog sat ran on mat road and then it was red blue"
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *SENTENCE.split())
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 32,
}
Weights = dict[str, mx.array]


def write_bert(folder: Path, *, pooling: str = "", prefix: str = "", **config: Any) -> Path:
    """A BERT model. `pooling` is a key of 1_Pooling/config.json. `prefix` begins the names of the weights."""
    described = {"model_type": "bert", "architectures": ["BertModel"], **SHAPE, **config}
    is_modern = described["model_type"] == "modernbert"
    encoder = ModernBertEncoder(described) if is_modern else BertEncoder(described)
    weights = {prefix + name: weight for name, weight in random_weights(encoder).items()}
    write_embedding_model(folder, described, weights)
    if pooling:
        modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
        write_json(folder / "modules.json", [_module(path, kind) for path, kind in modules])
        write_json(folder / "1_Pooling" / "config.json", {pooling: True})
    return folder


def write_static(folder: Path, width: int = 8, **config: Any) -> Path:
    """A model with a vector for each token."""
    described = {"model_type": "model2vec", "hidden_dim": width, "seq_length": 1000, "normalize": True, **config}
    weights = {"embeddings": mx.random.normal((len(WORDS), width), key=mx.random.key(1))}
    return write_embedding_model(folder, described, weights)


def write_embedding_model(folder: Path, config: dict[str, Any], weights: Weights) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if config["model_type"] != "model2vec":
        tokenizer.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def random_weights(model: Any, seed: int = 1) -> Weights:
    """Random values for the weights of a model."""
    shapes = {name: weight.shape for name, weight in tree_flatten(model.parameters())}
    keys = mx.random.split(mx.random.key(seed), len(shapes))
    return {
        name: mx.random.normal(shape, key=key) * 0.3 for (name, shape), key in zip(shapes.items(), keys, strict=True)
    }


def described(folder: Path) -> ModelInfo:
    """The model in `folder`, as the catalog describes it."""
    catalog = Catalog(EngineOptions(model_dirs=(str(folder.parent),)), environ={}, hub_cache=None)
    return catalog.find(folder.name)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _module(path: str, kind: str) -> dict[str, str]:
    return {"path": path, "type": f"sentence_transformers.models.{kind}"}
