"""read_recipe(): reads from the files of sentence-transformers how an embedding model turns texts into vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import msgspec

from pico_jupyter.engine.catalog.weights import BrokenModel, NotALanguageModel

Pooling: TypeAlias = Literal["mean", "cls", "last"]

# The values of model_type in config.json.
ROBERTA_TYPES = frozenset({"roberta", "xlm-roberta", "camembert"})
STATIC_TYPE = "model2vec"
ENCODER_TYPES = ROBERTA_TYPES | {"bert", "modernbert", STATIC_TYPE}
DECODER_TYPES = frozenset({"gemma3_text", "llama", "mistral", "qwen2", "qwen3"})
# Decoders that attend to later tokens too if their config has use_bidirectional_attention.
BIDIRECTIONAL_TYPES = frozenset({"gemma3_text"})
SENTENCE_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
_POOLING_KEYS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_POOLING_NAMES: dict[object, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
_ACTIVATIONS = ("Identity", "Tanh")
# Vectors are normalized in any case.
_MODULES = ("Transformer", "Pooling", "Dense", "Normalize", "StaticEmbedding")


class DenseLayer(msgspec.Struct, frozen=True):
    """A layer after the pooling. `folder` contains its weights. `activation` is "Identity" or "Tanh"."""

    folder: str
    inputs: int
    outputs: int
    bias: bool
    activation: str


class EmbeddingRecipe(msgspec.Struct, frozen=True):
    """How an embedding model turns the hidden states of a text into a vector.

    dimensions: the length of the vectors. max_tokens: longer texts do not fit; 0: only the context limits them.
    """

    pooling: Pooling
    dimensions: int
    max_tokens: int = 0
    dense: tuple[DenseLayer, ...] = ()


def read_recipe(folder: Path, config: Mapping[str, object]) -> EmbeddingRecipe | None:
    """The recipe of the model in `folder`, or None if it is not an embedding model.

    Conversions to MLX often lack the files of sentence-transformers. A decoder without them is an embedding model if
    its folder's name says so. Raises BrokenModel, and NotALanguageModel for an architecture that is not supported.
    """
    kind = str(config.get("model_type"))
    has_files = any((folder / name).is_file() for name in SENTENCE_FILES)
    if not has_files and not _is_encoder(config) and not (kind in DECODER_TYPES and "embed" in _repository(folder)):
        return None
    if kind not in ENCODER_TYPES | DECODER_TYPES:
        raise NotALanguageModel(f"an embedding model of the architecture {kind}")
    is_bidirectional = config.get("use_bidirectional_attention") is True or config.get("is_causal") is False
    if kind in DECODER_TYPES - BIDIRECTIONAL_TYPES and is_bidirectional:
        raise NotALanguageModel(f"an embedding model of the architecture {kind} with bidirectional attention")
    if not (folder / "tokenizer.json").is_file():
        raise BrokenModel("tokenizer.json is missing")
    modules = _modules(folder)
    pooling = next((_pooling(folder / path) for path, name in modules if name == "Pooling"), None)
    dense = tuple(_dense(folder, path) for path, name in modules if name == "Dense")
    default: Pooling = "last" if kind in DECODER_TYPES and kind not in BIDIRECTIONAL_TYPES else "mean"
    width = config.get("hidden_dim" if kind == STATIC_TYPE else "hidden_size")
    if not isinstance(width, int) or width < 1:
        raise BrokenModel("config.json has no size of the vectors")
    limit = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return EmbeddingRecipe(
        pooling=pooling or default,
        dimensions=dense[-1].outputs if dense else width,
        max_tokens=limit if isinstance(limit, int) and limit > 0 else 0,
        dense=dense,
    )


def embedding_context(config: Mapping[str, object], recipe: EmbeddingRecipe, context: int) -> int:
    """The context length of an embedding model. The positions of RoBERTa models begin at 2."""
    positions = context - 2 if config["model_type"] in ROBERTA_TYPES else context
    return min(positions, recipe.max_tokens or positions)


def _is_encoder(config: Mapping[str, object]) -> bool:
    """Whether the config describes an encoder that has no head for another task."""
    names = config.get("architectures")
    has_head = isinstance(names, list) and any("For" in str(name) for name in names)
    return config.get("model_type") in ENCODER_TYPES and not has_head


def _repository(folder: Path) -> str:
    """The lower-case name of the model. A snapshot of the Hugging Face cache has it in the folder two levels above."""
    return (folder.parents[1].name if folder.parent.name == "snapshots" else folder.name).lower()


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The path and the class name of each module in modules.json. Raises BrokenModel for an unknown class."""
    if not (folder / "modules.json").is_file():
        return []
    modules: list[tuple[str, str]] = []
    for module in _read_list(folder / "modules.json"):
        package, _, name = str(module.get("type")).rpartition(".")
        if not package.startswith("sentence_transformers.") or name not in _MODULES:
            raise BrokenModel(f"modules.json: the module {module.get('type')} is not supported")
        path = str(module.get("path", ""))
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise BrokenModel("modules.json: a path is outside the model's folder")
        modules.append((path, name))
    return modules


def _pooling(folder: Path) -> Pooling:
    config = _read_json(folder / "config.json")
    found = [pooling for key, pooling in _POOLING_KEYS.items() if config.get(key) is True]
    others = [key for key in config if key.startswith("pooling_mode_") and config[key] is True]
    if "pooling_mode" in config:
        found = [_POOLING_NAMES[name] for name in (config["pooling_mode"],) if name in _POOLING_NAMES]
    if len(found) != 1 or len(others) > 1:
        raise BrokenModel(f"{folder.name}/config.json: this pooling is not supported")
    return found[0]


def _dense(folder: Path, path: str) -> DenseLayer:
    config = _read_json(folder / path / "config.json")
    inputs, outputs = config.get("in_features"), config.get("out_features")
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if not isinstance(inputs, int) or not isinstance(outputs, int) or activation not in _ACTIVATIONS:
        raise BrokenModel(f"{path}/config.json: this layer is not supported")
    return DenseLayer(path, inputs, outputs, config.get("bias", True) is True, activation)


def _read_json(path: Path) -> dict[str, object]:
    return cast("dict[str, object]", _read(path, dict)) if path.is_file() else {}


def _read_list(path: Path) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", _read(path, list[dict[str, object]]))


def _read(path: Path, kind: object) -> object:
    try:
        return msgspec.json.decode(path.read_bytes(), type=cast(Any, kind))
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenModel(f"{path.name} cannot be read: {error}") from error
