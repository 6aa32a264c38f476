"""EmbeddingModel and its networks: vectors, pooling, padding, and parts of a computation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models import gemma3_text, qwen3

from pico_jupyter.engine.backend import EmbeddingBackend
from pico_jupyter.engine.backends.embedding import EmbeddingModel, open_network, shortened
from pico_jupyter.engine.backends.encoders import BertEncoder, StaticEncoder
from pico_jupyter.engine.backends.loading import load
from tests.engine.embedding_models import (
    SHAPE,
    WORDS,
    described,
    random_weights,
    write_bert,
    write_embedding_model,
    write_json,
    write_static,
)

TEXTS = [[2, 5, 6, 8, 3], [2, 5, 3], [2, 4, 7, 9, 10, 4, 12, 3]]


def write_qwen3(folder: Path, **config: Any) -> Path:
    values = {"head_dim": 8, "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_theta": 1e4}
    merged = {**SHAPE, **values, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **config}
    model = qwen3.Model(qwen3.ModelArgs.from_dict({**merged, "tie_word_embeddings": True}))
    return write_embedding_model(folder, merged, random_weights(model))


def write_gemma(folder: Path) -> Path:
    values = {"head_dim": 8, "num_key_value_heads": 1, "sliding_window": 4, "_sliding_window_pattern": 2}
    merged = {**SHAPE, **values, "model_type": "gemma3_text", "use_bidirectional_attention": True}
    model = gemma3_text.Model(gemma3_text.ModelArgs.from_dict({**merged, "sliding_window_pattern": 2}))
    model.sanitize({})
    folder = write_embedding_model(folder, merged, random_weights(model))
    write_json(folder / "config_sentence_transformers.json", {})
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "BERT": write_bert,
    "RoBERTa": lambda folder: write_bert(folder, model_type="xlm-roberta", max_position_embeddings=34),
    "ModernBERT": lambda folder: write_bert(folder, model_type="modernbert", local_attention=4),
    "Gemma": write_gemma,
    "Qwen3": write_qwen3,
    "model2vec": write_static,
}


def write(family: str, root: Path) -> Path:
    return WRITERS[family](root / "embed-model")


def vectors(backend: EmbeddingBackend, texts: Sequence[Sequence[int]], limit: int = 1000) -> Any:
    *_, last = backend.embed(texts, limit)
    assert last is not None
    return np.array([np.frombuffer(vector, np.float32) for vector in last])


def opened(folder: Path) -> EmbeddingModel:
    return EmbeddingModel(open_network(folder), "test")


@pytest.mark.parametrize("family", WRITERS)
def test_a_vector_does_not_depend_on_the_other_texts_of_its_batch(family: str, tmp_path: Path) -> None:
    model = opened(write(family, tmp_path))
    together = vectors(model, TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(vectors(model, [text])[0], vector, atol=2e-5)


@pytest.mark.parametrize("family", WRITERS)
def test_vectors_have_the_length_one_and_the_dimensions_of_the_catalog(family: str, tmp_path: Path) -> None:
    folder = write(family, tmp_path)
    found = vectors(opened(folder), TEXTS)
    assert found.shape == (3, described(folder).embedding_length)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("family", [family for family in WRITERS if family != "model2vec"])
def test_the_order_of_the_words_matters(family: str, tmp_path: Path) -> None:
    found = vectors(opened(write(family, tmp_path)), [[2, 5, 6, 3], [2, 6, 5, 3]])
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_a_large_batch_is_computed_in_parts_with_the_same_result(tmp_path: Path) -> None:
    model = opened(write_bert(tmp_path / "model"))
    parts = list(model.embed(TEXTS, limit=8))
    assert [part is None for part in parts] == [True, True, False]
    np.testing.assert_allclose(vectors(model, TEXTS), vectors(model, TEXTS, limit=8))


def test_the_pooling_config_selects_the_first_token(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model", pooling="pooling_mode_cls_token")
    encoder = open_network(folder).encoder
    hidden = encoder.begin(mx.array([TEXTS[0]]))
    for index in range(len(encoder.layers)):
        hidden = encoder.advance(index, hidden, None)
    first = np.array(hidden[0, 0])
    np.testing.assert_allclose(vectors(opened(folder), [TEXTS[0]])[0], first / np.linalg.norm(first), rtol=1e-4)


def test_a_decoder_pools_its_last_token_as_mlx_lm_computes_it(tmp_path: Path) -> None:
    folder = write_qwen3(tmp_path / "embedding-model")
    model = qwen3.Model(qwen3.ModelArgs.from_dict(read_config(folder)))
    model.load_weights(str(folder / "model.safetensors"))
    expected = np.array(model.model(mx.array([TEXTS[0]]))[0, -1])
    found = vectors(opened(folder), TEXTS)[0]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-3, atol=1e-5)


def test_a_causal_token_does_not_see_later_tokens_and_a_bidirectional_one_does(tmp_path: Path) -> None:
    for family, is_same in (("Qwen3", True), ("Gemma", False)):
        encoder = open_network(write(family, tmp_path / family)).encoder
        hidden = encoder.begin(mx.array([[2, 5, 6], [2, 5, 7]]))
        hidden = encoder.advance(1, encoder.advance(0, hidden, None), None)
        assert mx.allclose(hidden[0, :2], hidden[1, :2]).item() is is_same


def read_config(folder: Path) -> dict[str, Any]:
    return {**json.loads((folder / "config.json").read_text()), "tie_word_embeddings": True}


def test_attention_in_a_window_sees_only_near_tokens(tmp_path: Path) -> None:
    encoder = open_network(write("ModernBERT", tmp_path)).encoder
    hidden = encoder.begin(mx.array([[2, 5, 6, 7, 8, 9], [2, 5, 6, 7, 8, 10]]))
    after = encoder.advance(1, hidden, None)  # layer 1 is local, with a window of two tokens on each side
    is_equal = [bool(mx.allclose(after[0, place], after[1, place]).item()) for place in range(6)]
    assert is_equal == [True, True, True, False, False, False]


def test_the_positions_of_roberta_begin_after_that_of_the_padding(tmp_path: Path) -> None:
    config = {**SHAPE, "max_position_embeddings": 40}
    bert, roberta = BertEncoder(config), BertEncoder(config, first_position=2)
    weights = random_weights(bert)
    bert.load_weights(list(weights.items()))
    name = "embeddings.position_embeddings.weight"
    moved = {**weights, name: mx.concatenate([mx.zeros((2, 16)), weights[name][:-2]])}
    roberta.load_weights(list(moved.items()))
    tokens = mx.array([TEXTS[0]])
    assert mx.allclose(bert.begin(tokens), roberta.begin(tokens)).item()


@pytest.mark.parametrize("prefix", ["bert.", "model."])
def test_weights_with_a_prefix_are_read(prefix: str, tmp_path: Path) -> None:
    plain, prefixed = write_bert(tmp_path / "plain"), write_bert(tmp_path / "prefixed", prefix=prefix)
    np.testing.assert_array_equal(vectors(opened(plain), TEXTS), vectors(opened(prefixed), TEXTS))


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    del weights["encoder.layer.0.output.dense.bias"]
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    with pytest.raises(ValueError, match=r"the weight encoder\.encoder\.layer\.0\.output\.dense\.bias is missing"):
        open_network(folder)


def test_quantized_weights_are_used_as_they_are(tmp_path: Path) -> None:
    shape = {"hidden_size": 64, "intermediate_size": 64}
    folder = write_bert(tmp_path / "model", **shape)
    exact = vectors(opened(folder), TEXTS)
    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    name = "encoder.layer.0.attention.self.query"
    packed, scales, biases = mx.quantize(weights[f"{name}.weight"], 64, 8)
    weights |= {f"{name}.weight": packed, f"{name}.scales": scales, f"{name}.biases": biases}
    quantization = {"group_size": 64, "bits": 8}
    config = {"model_type": "bert", "architectures": ["BertModel"], **SHAPE, **shape, "quantization": quantization}
    write_embedding_model(folder, config, weights)
    found = vectors(opened(folder), TEXTS)
    assert not np.array_equal(found, exact)
    assert (found * exact).sum(axis=1).min() > 0.99


def test_dense_layers_follow_the_pooling(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model", pooling="pooling_mode_mean_tokens")
    before = open_network(folder)
    types = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in types]
    write_json(folder / "modules.json", modules)
    identity = {"in_features": 16, "out_features": 4, "bias": False, "activation_function": "torch.nn.Identity"}
    write_json(folder / "2_Dense" / "config.json", identity)
    weight = mx.random.normal((4, 16), key=mx.random.key(3))
    mx.save_safetensors(str(folder / "2_Dense" / "model.safetensors"), {"linear.weight": weight})
    pooled = vectors(EmbeddingModel(before, "before"), TEXTS)
    expected = pooled @ np.array(weight).T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors(opened(folder), TEXTS), expected, rtol=1e-3, atol=1e-5)


def test_a_static_model_averages_the_vectors_of_the_tokens() -> None:
    encoder = StaticEncoder(len(WORDS), 3)
    encoder.embeddings = mx.arange(len(WORDS) * 3, dtype=mx.float32).reshape(-1, 3)
    assert encoder.finish(encoder.begin(mx.array([[0, 1]]))).tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_a_shortened_vector_has_the_length_one() -> None:
    vector = np.array([3, 4, 12], np.float32).tobytes()
    assert np.frombuffer(shortened(vector, 2), np.float32).tolist() == pytest.approx([0.6, 0.8])
    assert shortened(vector, 3) == shortened(vector, None) == vector


def test_memory_grows_with_the_tokens_and_is_freed_at_the_end(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    model = load(described(folder))
    assert isinstance(model, EmbeddingModel)
    assert model.weights_nbytes == described(folder).weights_size
    assert 0 < model.estimate_cache(10) < model.estimate_cache(100)
    assert model.load_step() == 0
    model.close()
    with pytest.raises(AssertionError):
        next(model.embed(TEXTS, 10))


def test_rows_of_zeros_have_no_invalid_numbers(tmp_path: Path) -> None:
    folder = write_static(tmp_path / "model")
    mx.save_safetensors(str(folder / "model.safetensors"), {"embeddings": mx.zeros((len(WORDS), 8))})
    assert all(math.isfinite(number) for number in vectors(opened(folder), TEXTS).ravel())
