"""read_recipe(): which folders hold embedding models, and how these make vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pico_jupyter.engine.catalog.embedding_files import EmbeddingRecipe, read_recipe
from pico_jupyter.engine.catalog.weights import BrokenModel, NotALanguageModel
from tests.engine.embedding_models import described, write_bert, write_json, write_static
from tests.engine.model_folders import write_model

BERT: dict[str, Any] = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16}
QWEN: dict[str, Any] = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": 16}
GEMMA: dict[str, Any] = {"model_type": "gemma3_text", "hidden_size": 16, "use_bidirectional_attention": True}


def recipe(folder: Path, config: dict[str, Any], **files: object) -> EmbeddingRecipe | None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokenizer.json", {})
    for name, value in files.items():
        write_json(folder / name.replace("__", "/").replace("_json", ".json"), value)
    return read_recipe(folder, config)


def module(path: str, kind: str) -> dict[str, str]:
    return {"path": path, "type": f"sentence_transformers.models.{kind}"}


def test_an_encoder_averages_its_tokens_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    assert recipe(tmp_path, BERT) == EmbeddingRecipe("mean", 16)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_the_pooling_is_that_of_the_module(tmp_path: Path, pooling: dict[str, Any], expected: str) -> None:
    modules = [module("", "Transformer"), module("1_Pooling", "Pooling"), module("2_Normalize", "Normalize")]
    found = recipe(tmp_path, BERT, modules_json=modules, **{"1_Pooling__config_json": pooling})
    assert found is not None
    assert found.pooling == expected


@pytest.mark.parametrize(
    "pooling", [{"pooling_mode_max_tokens": True}, {"pooling_mode": "max"}, {}, dict.fromkeys(("a", "b"), 1)]
)
def test_another_pooling_is_refused(tmp_path: Path, pooling: dict[str, Any]) -> None:
    with pytest.raises(BrokenModel, match="pooling is not supported"):
        recipe(tmp_path, BERT, modules_json=[module("p", "Pooling")], p__config_json=pooling)


def test_a_decoder_is_an_embedding_model_if_its_name_says_so(tmp_path: Path) -> None:
    assert recipe(tmp_path / "Qwen3-0.6B", QWEN) is None
    assert recipe(tmp_path / "Qwen3-Embedding-0.6B-4bit", QWEN) == EmbeddingRecipe("last", 16)
    assert recipe(tmp_path / "models--org--Qwen3-Embedding" / "snapshots" / "abc", QWEN) is not None


def test_gemma_averages_its_tokens(tmp_path: Path) -> None:
    assert recipe(tmp_path / "embeddinggemma-300m", GEMMA) == EmbeddingRecipe("mean", 16)


def test_the_last_dense_layer_gives_the_dimensions(tmp_path: Path) -> None:
    modules = [module("", "Transformer"), module("2_Dense", "Dense")]
    dense = {
        "in_features": 16,
        "out_features": 5,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    found = recipe(tmp_path, BERT, modules_json=modules, **{"2_Dense__config_json": dense})
    assert found is not None
    assert (found.dimensions, found.dense[0].activation, found.dense[0].bias) == (5, "Identity", False)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"model_type": "nomic_bert", "architectures": ["NomicBertModel"]}, "of the architecture nomic_bert"),
        ({**QWEN, "is_causal": False}, "qwen3 with bidirectional attention"),
    ],
)
def test_an_architecture_that_is_not_supported_is_named(tmp_path: Path, config: dict[str, Any], error: str) -> None:
    with pytest.raises(NotALanguageModel, match=error):
        recipe(tmp_path, config, modules_json=[])


@pytest.mark.parametrize(
    ("modules", "error"),
    [
        ([{"path": "", "type": "custom_st.Transformer"}], "custom_st.Transformer is not supported"),
        ([module("", "LSTM")], "LSTM is not supported"),
        ([module("../other", "Pooling")], "outside the model's folder"),
        ({"a": 1}, "modules.json cannot be read"),
    ],
)
def test_modules_that_are_not_supported_are_named(tmp_path: Path, modules: object, error: str) -> None:
    with pytest.raises(BrokenModel, match=error):
        recipe(tmp_path, BERT, modules_json=modules)


def test_a_model_without_tokenizer_or_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match=r"tokenizer\.json is missing"):
        read_recipe(tmp_path, BERT)
    with pytest.raises(BrokenModel, match="no size of the vectors"):
        recipe(tmp_path, {"model_type": "bert"})


def test_the_catalog_describes_an_embedding_model(tmp_path: Path) -> None:
    info = described(write_bert(tmp_path / "models" / "bert"))
    assert (info.capabilities, info.embedding_length, info.context_length) == (("embedding",), 16, 32)
    assert described(write_static(tmp_path / "static" / "potion")).embedding_length == 8


def test_the_context_is_that_of_sentence_transformers_and_of_the_positions(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "roberta", model_type="xlm-roberta")
    assert described(folder).context_length == 30
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 20})
    assert described(folder).context_length == 20


def test_a_chat_template_gives_an_embedding_model_no_other_capability(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "Qwen3-Embedding", template="{{ tools }}{{ messages }}")
    assert described(folder).capabilities == ("embedding",)
    assert described(folder).reasoning_switch is None
