"""A model is described by its files."""

from __future__ import annotations

import json
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pico_jupyter.engine.catalog.architectures import ModelLibrary, has_model_type
from pico_jupyter.engine.catalog.model_files import list_files, read_model
from pico_jupyter.engine.catalog.template_process import TemplateProcess
from pico_jupyter.engine.catalog.weights import BrokenModel, NotALanguageModel
from pico_jupyter.types import ModelInfo, SamplingParams
from tests.engine.model_folders import CONFIG, SWITCH_TEMPLATE, write_model, write_safetensors

TOOLS_TEMPLATE = "{% for tool in tools %}{{ tool.function.name }}{% endfor %}"


def info(folder: Path, **model: Any) -> ModelInfo:
    return described(write_model(folder / "m", **model))


def described(path: Path) -> ModelInfo:
    with closing(TemplateProcess()) as process:
        return read_model(path, list_files(path), process, name="m", repo="", source="folder")


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    found = info(tmp_path)
    assert found.size == sum(file.stat().st_size for file in (tmp_path / "m").iterdir())
    assert found.modified == max(file.stat().st_mtime for file in (tmp_path / "m").iterdir())


def test_the_size_of_the_weights_is_that_of_the_tensors(tmp_path: Path) -> None:
    half = {"a.weight": ("BF16", [16, 8]), "b.bias": ("F32", [3]), "positions": ("I64", [5])}
    found = info(tmp_path, tensors=half, files={"README.md": "many words"})
    assert found.weights_size == 2 * 16 * 8 + 4 * 3 + 8 * 5
    assert found.float32_size == 4 * (16 * 8 + 3)


@pytest.mark.parametrize("dtypes", [("F32",), ("U32", "BF16"), ("F8_E4M3", "BF16")])
def test_only_16_bit_floats_have_a_size_in_float32(tmp_path: Path, dtypes: tuple[str, ...]) -> None:
    assert info(tmp_path, tensors={dtype: (dtype, [64]) for dtype in dtypes}).float32_size == 0


def test_shapes_and_family_come_from_the_config(tmp_path: Path) -> None:
    found = info(tmp_path)
    assert (found.family, found.context_length, found.embedding_length, found.block_count) == ("qwen3", 4096, 8, 2)


def test_nested_text_configs_are_read(tmp_path: Path) -> None:
    nested = {"max_position_embeddings": 99, "hidden_size": 7, "num_hidden_layers": 5}
    found = info(
        tmp_path,
        architectures=["Gemma3ForConditionalGeneration"],
        text_config=nested,
        max_position_embeddings=None,
        hidden_size=None,
        num_hidden_layers=None,
    )
    assert (found.context_length, found.embedding_length, found.block_count) == (99, 7, 5)


def test_older_names_of_the_shapes_are_read(tmp_path: Path) -> None:
    found = info(
        tmp_path,
        architectures=["GPT2LMHeadModel"],
        max_position_embeddings=None,
        hidden_size=None,
        num_hidden_layers=None,
        n_positions=1024,
        n_embd=768,
        n_layer=12,
    )
    assert (found.context_length, found.embedding_length, found.block_count) == (1024, 768, 12)


def test_the_tokenizers_limit_is_used_when_the_config_has_no_limit(tmp_path: Path) -> None:
    found = info(tmp_path, max_position_embeddings=None, tokenizer_config={"model_max_length": 512})
    assert found.context_length == 512


@pytest.mark.parametrize(("model_type", "length"), [("gemma3_text", 131_072), ("mamba", 8192), ("talkie", 8192)])
def test_the_context_of_the_architecture_is_used_when_no_file_has_one(
    tmp_path: Path, model_type: str, length: int
) -> None:
    no_limit = {"model_max_length": 1e30}
    found = info(tmp_path, model_type=model_type, max_position_embeddings=None, tokenizer_config=no_limit)
    assert found.context_length == length


def test_each_element_of_plain_weights_is_a_parameter(tmp_path: Path) -> None:
    found = info(tmp_path, tensors={"a.weight": ("BF16", [16, 8]), "b.bias": ("F32", [3])})
    assert found.parameter_count == 16 * 8 + 3
    assert found.quantization == "bf16"


def test_packed_weights_count_as_the_weights_in_them(tmp_path: Path) -> None:
    found = info(
        tmp_path,
        tensors={
            "a.weight": ("U32", [64, 16]),
            "a.scales": ("BF16", [64, 2]),
            "a.biases": ("BF16", [64, 2]),
            "norm.weight": ("BF16", [128]),
        },
        quantization={"group_size": 64, "bits": 4},
    )
    assert found.parameter_count == 64 * 128 + 128
    assert found.quantization == "4bit"


def test_a_layer_may_have_its_own_number_of_bits(tmp_path: Path) -> None:
    found = info(
        tmp_path,
        tensors={"a.weight": ("U32", [64, 16]), "a.scales": ("F16", [64, 1]), "b.scales": ("F16", [5])},
        quantization_config={"group_size": 64, "bits": 4, "a": {"group_size": 64, "bits": 8}},
    )
    assert found.parameter_count == 64 * 64 + 5


def test_other_quantizations_are_named_by_their_mode(tmp_path: Path) -> None:
    assert info(tmp_path, quantization={"group_size": 32, "bits": 4, "mode": "mxfp4"}).quantization == "mxfp4"


@pytest.mark.parametrize(("dtype", "name"), [("F32", "f32"), ("F16", "f16"), ("F8_E4M3", "fp8")])
def test_without_quantization_the_type_of_most_bytes_is_named(tmp_path: Path, dtype: str, name: str) -> None:
    assert info(tmp_path, tensors={"a": (dtype, [64]), "b": ("BF16", [4])}).quantization == name


def test_the_digest_is_stable_and_differs_between_models(tmp_path: Path) -> None:
    first = info(tmp_path / "1")
    again = info(tmp_path / "2")
    other = info(tmp_path / "3", hidden_size=9)
    assert first.digest == again.digest != other.digest
    assert len(bytes.fromhex(first.digest)) == 32


def test_other_weights_of_the_same_shape_have_another_digest(tmp_path: Path) -> None:
    before = info(tmp_path)
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert described(tmp_path / "m").digest != before.digest


def test_a_readme_does_not_change_the_digest(tmp_path: Path) -> None:
    assert info(tmp_path / "1").digest == info(tmp_path / "2", files={"README.md": "hello"}).digest


def test_a_plain_model_has_the_capability_completion_only(tmp_path: Path) -> None:
    found = info(tmp_path)
    assert found.capabilities == ("completion",)
    assert not found.reasoning_switch
    assert not found.reasoning_default


def test_a_template_with_a_switch_gives_the_capability_thinking(tmp_path: Path) -> None:
    found = info(tmp_path, template=SWITCH_TEMPLATE)
    assert found.capabilities == ("completion", "thinking")
    assert found.reasoning_switch
    assert found.reasoning_default
    assert found.template == SWITCH_TEMPLATE


@pytest.mark.parametrize(
    ("files", "capabilities"),
    [
        ({}, ("completion",)),
        ({"preprocessor_config.json": "{}"}, ("completion", "vision")),
        ({"processor_config.json": "{}", "video_preprocessor_config.json": "{}"}, ("completion", "vision", "video")),
    ],
)
def test_vision_needs_a_vision_config_and_a_processor(
    tmp_path: Path, files: dict[str, str], capabilities: tuple[str, ...]
) -> None:
    found = info(
        tmp_path, files=files, architectures=["Qwen3VLForConditionalGeneration"], vision_config={}, text_config={"a": 1}
    )
    assert found.capabilities == capabilities


@pytest.mark.parametrize(("token", "capabilities"), [(7, ("vision", "video")), (None, ("vision",))])
def test_video_needs_a_video_token(tmp_path: Path, token: int | None, capabilities: tuple[str, ...]) -> None:
    config = {"vision_config": {}, "text_config": {"a": 1}, "architectures": ["Gemma4ForConditionalGeneration"]}
    files = {"preprocessor_config.json": "{}", "config.json": json.dumps({**CONFIG, **config, "video_token_id": token})}
    assert info(tmp_path, files=files).capabilities == ("completion", *capabilities)


def test_the_template_file_precedes_the_tokenizer_config(tmp_path: Path) -> None:
    assert info(tmp_path, files={"chat_template.jinja": "{{ 1 }}"}).template == "{{ 1 }}"
    assert info(tmp_path / "2", files={"chat_template.json": '{"chat_template": "{{ 2 }}"}'}).template == "{{ 2 }}"


def test_the_default_of_several_named_templates_is_used(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    assert info(tmp_path, tokenizer_config={"chat_template": named}).template == "plain"


def test_a_template_for_tools_gives_the_capability_tools(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": TOOLS_TEMPLATE}, {"name": "default", "template": "plain"}]
    assert "tools" in info(tmp_path, tokenizer_config={"chat_template": named}).capabilities
    folder = write_model(tmp_path / "2", files={"chat_template.jinja": "plain"})
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text(TOOLS_TEMPLATE)
    assert "tools" in described(folder).capabilities


def test_a_template_of_mlx_lm_is_known_by_its_type(tmp_path: Path) -> None:
    found = info(tmp_path, tokenizer_config={"chat_template_type": "deepseek_v32"})
    assert found.capabilities == ("completion", "thinking", "tools")


def test_a_base_model_without_a_template_has_the_capability_completion(tmp_path: Path) -> None:
    found = info(tmp_path, tokenizer_config={})
    assert (found.template, found.capabilities) == ("", ("completion",))


def test_sampling_defaults_come_from_the_generation_config(tmp_path: Path) -> None:
    generation = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0, "repetition_penalty": 1.1, "x": "y"}
    assert info(tmp_path, generation=generation).parameters == SamplingParams(
        temperature=0.6, top_p=0.95, top_k=20, min_p=0.0, repetition_penalty=1.1
    )


def test_whole_numbers_and_switched_off_limits_are_accepted(tmp_path: Path) -> None:
    found = info(tmp_path, generation={"temperature": 1, "top_k": 20.0, "top_p": None})
    assert found.parameters == SamplingParams(temperature=1, top_k=20)
    assert info(tmp_path / "off", generation={"top_k": -1}).parameters == SamplingParams(top_k=0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top_k", "1e300"),
        ("top_k", "-7"),
        ("top_k", "2.5"),
        ("top_k", "1" + "0" * 300),
        ("top_k", "NaN"),
        ("temperature", "-1"),
        ("temperature", "Infinity"),
        ("temperature", '"warm"'),
        ("top_p", "true"),
        ("top_p", "[1]"),
        ("min_p", "NaN"),
        ("repetition_penalty", "0"),
        ("presence_penalty", "-1e308"),
        ("stop_strings", "7"),
        ("stop_strings", "[7]"),
    ],
)
def test_an_unusable_value_of_the_generation_config_is_ignored_with_a_reason(
    tmp_path: Path, key: str, value: str
) -> None:
    found = info(tmp_path, files={"generation_config.json": f'{{"{key}": {value}}}'})
    assert (found.parameters, found.stop) == (SamplingParams(), ())
    (reason,) = found.ignored
    assert reason.startswith(f"generation_config.json: {key} must be ")
    assert len(reason) < 200


def test_an_explicit_do_sample_false_means_greedy(tmp_path: Path) -> None:
    parameters = info(tmp_path, generation={"do_sample": False, "temperature": 0.7}).parameters
    assert parameters.temperature == 0.0


def test_stop_strings_come_from_the_generation_config(tmp_path: Path) -> None:
    assert info(tmp_path / "1", generation={"stop_strings": ["a", "", "b"]}).stop == ("a", "b")
    assert info(tmp_path / "2", generation={"stop_strings": "c"}).stop == ("c",)


def test_the_license_is_read_from_its_file_else_from_the_model_card(tmp_path: Path) -> None:
    card = "---\nlanguage: en\nlicense: apache-2.0\n---\n# Model\nlicense: none\n"
    assert info(tmp_path / "1", files={"LICENSE.txt": "Do what you like.\n", "README.md": card}).license == (
        "Do what you like."
    )
    assert info(tmp_path / "2", files={"README.md": card}).license == "apache-2.0"
    assert info(tmp_path / "3", files={"README.md": "license: mit"}).license == "unknown license"


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["BertModel"]}, "BertModel"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "encoder-decoder"),
        ({"architectures": ["ParakeetForConditionalGeneration"]}, "Parakeet"),
        ({"architectures": None, "num_hidden_layers": None}, "unknown architecture"),
    ],
)
def test_models_that_generate_no_text_are_recognized(tmp_path: Path, config: dict[str, Any], kind: str) -> None:
    with pytest.raises(NotALanguageModel, match=kind):
        info(tmp_path, **config)


def test_a_decoder_made_into_an_embedding_model_is_recognized(tmp_path: Path) -> None:
    assert info(tmp_path, files={"config_sentence_transformers.json": "{}"}).capabilities == ("embedding",)


def test_a_config_without_architectures_is_accepted_by_its_shapes(tmp_path: Path) -> None:
    assert info(tmp_path, architectures=None).family == "qwen3"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config.json": "[]"}, "config.json is not a JSON object"),
        ({"config.json": "{"}, "config.json cannot be read"),
        ({"config.json": json.dumps({**CONFIG, "model_file": "evil.py"})}, "never run"),
        ({"model.safetensors": "short"}, "model.safetensors is not a complete safetensors file"),
        ({"chat_template.jinja": "{% if %}"}, "the chat template cannot be parsed"),
        ({"generation_config.json": "]"}, "generation_config.json cannot be read"),
        (
            {"model.safetensors.index.json": '{"weight_map": {"a": "model-2.safetensors"}}'},
            "model-2.safetensors is missing",
        ),
    ],
)
def test_the_error_for_a_broken_file_names_the_file_and_the_reason(
    tmp_path: Path, files: dict[str, str], reason: str
) -> None:
    with pytest.raises(BrokenModel, match=reason):
        info(tmp_path, files=files)


def test_truncated_weights_are_broken(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(BrokenModel, match="is truncated"):
        described(folder)


@pytest.mark.parametrize(
    ("shape", "offsets"),
    [([16, 8], [0, 8]), ([-1, 8], [0, 256]), ([1 << 62, 1 << 62], [0, 256]), ([16, 8], [256, 0]), ([16, 8], [-256, 0])],
)
def test_a_tensor_that_does_not_fit_its_data_is_broken(tmp_path: Path, shape: list[int], offsets: list[int]) -> None:
    folder = write_model(tmp_path / "m")
    header = json.dumps({"a.weight": {"dtype": "BF16", "shape": shape, "data_offsets": offsets}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(256))
    with pytest.raises(BrokenModel, match=r"model\.safetensors"):
        described(folder)


def test_numbers_that_json_does_not_have_are_read(tmp_path: Path) -> None:
    """Python writes them, and the config.json of Nemotron-H contains one."""
    assert info(tmp_path, time_step_limit=[0.0, float("inf")]).context_length == 4096


@pytest.mark.parametrize("context", [float("nan"), float("inf"), -1, 0, 0.5, 1e300, 10**400, True, "many", None])
def test_a_context_length_that_is_no_usable_number_is_ignored(tmp_path: Path, context: Any) -> None:
    assert info(tmp_path, max_position_embeddings=context).context_length == 32768


@pytest.mark.parametrize("model_type", ["nosuchmodel", "../../x", "", "__pycache__", "a" * 1000])
def test_a_model_type_that_mlx_lm_does_not_have_is_broken(tmp_path: Path, model_type: str) -> None:
    with pytest.raises(BrokenModel, match=r"mlx-lm \S+ does not support the model_type '"):
        info(tmp_path, model_type=model_type)


def test_a_vision_model_needs_a_module_of_mlx_vlm(tmp_path: Path) -> None:
    """mlx-lm has a module for plamo3, and mlx-vlm has none."""
    vision: dict[str, Any] = {"model_type": "plamo3", "vision_config": {}}
    assert info(tmp_path / "text", **vision).capabilities == ("completion",)
    with pytest.raises(BrokenModel, match=r"mlx-vlm \S+ does not support the model_type 'plamo3'"):
        info(tmp_path / "vision", files={"preprocessor_config.json": "{}"}, **vision)


@pytest.mark.parametrize("library", ["mlx_lm", "mlx_vlm"])
def test_a_model_type_whose_module_has_another_name_is_supported(library: ModelLibrary) -> None:
    names = import_module(f"{library}.utils").MODEL_REMAPPING
    assert [name for name in names if not has_model_type(library, name)] == []


def test_an_invalid_header_is_broken(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"[12]")
    with pytest.raises(BrokenModel, match=r"the header of model.safetensors cannot be read"):
        described(folder)


def test_a_folder_without_a_tokenizer_is_broken(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(BrokenModel, match="no tokenizer"):
        described(folder)


def test_only_the_weight_files_that_loaders_read_are_counted(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    write_safetensors(folder / "model-00001-of-00002.safetensors", {"a": ("BF16", [10])})
    write_safetensors(folder / "model-00002-of-00002.safetensors", {"b": ("BF16", [5])})
    write_safetensors(folder / "consolidated.safetensors", {"all": ("BF16", [15])})
    assert described(folder).parameter_count == 15


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 1_000_000_000},
        {"num_attention_heads": 0},
        {"num_key_value_heads": -1},
        {"hidden_size": 10**30},
        {"num_experts": 1e9},
        {"text_config": {"num_hidden_layers": 10_001}, "architectures": ["XForConditionalGeneration"]},
        {"vision_config": {"num_hidden_layers": 10_001}},
    ],
)
def test_a_config_with_impossible_shapes_is_broken(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(BrokenModel, match=r"config\.json: \w+ must be from \d to \d+, not "):
        info(tmp_path, **config)


def test_a_folder_with_a_config_and_gguf_files_is_broken(tmp_path: Path) -> None:
    write_model(tmp_path / "m", files={"m.gguf": ""})
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(BrokenModel, match="GGUF files are not supported"):
        described(tmp_path / "m")


def test_a_model_with_the_tokens_for_a_prefix_and_a_suffix_can_insert(tmp_path: Path) -> None:
    tokens = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    added = {str(i): {"content": token} for i, token in enumerate(tokens)}
    assert "insert" in info(tmp_path / "1", tokenizer_config={"added_tokens_decoder": added}).capabilities
    del added["2"]
    assert "insert" not in info(tmp_path / "2", tokenizer_config={"added_tokens_decoder": added}).capabilities
