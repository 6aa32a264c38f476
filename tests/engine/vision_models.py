"""Writes random vision models of a few thousand weights, one for each family, as folders like those of a model hub.

Each folder has the files, special tokens, processors and chat template rules of its real family, and mlx-vlm loads it
offline and without PyTorch. Each byte is a token. Only printable ASCII is ever generated, because all other rows of the
head are small. The weights have a large spread, so that the answers to a red and a blue image differ.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_vlm.utils import get_model_and_args, update_module_configs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tests.engine.vision_configs import (
    Ids,
    Json,
    gemma3_config,
    gemma4_config,
    lfm2_vl_config,
    llava_config,
    mistral3_config,
    pixtral_config,
    qwen2_5_vl_config,
    qwen3_5_config,
    qwen3_vl_config,
    smolvlm_config,
)
from tests.engine.vision_templates import (
    GEMMA3_TEMPLATE,
    GEMMA4_TEMPLATE,
    LFM2_TEMPLATE,
    LLAVA_TEMPLATE,
    MISTRAL3_TEMPLATE,
    PIXTRAL_TEMPLATE,
    QWEN2_TEMPLATE,
    QWEN_TEMPLATE,
    SMOLVLM_TEMPLATE,
)

HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """The content of a folder of this family. `files` are JSON files besides the config and the tokenizer."""

    config: Callable[[Ids], Json]
    special: tuple[str, ...]
    pad: str
    end: str
    begin: str | None = None
    adds_begin: bool = False  # the tokenizer adds `begin` to each text by default
    named_tokens: tuple[tuple[str, str], ...] = ()
    template: str
    template_file: str = "chat_template.jinja"
    files: tuple[tuple[str, Json], ...]


QWEN_PATCHES = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2, **HALF}
QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN3_FILES: tuple[tuple[str, Json], ...] = (
    (
        "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "processor_class": "Qwen3VLProcessor",
            **QWEN_PATCHES,
            "size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64},
        },
    ),
    (
        "video_preprocessor_config.json",
        {
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
            **QWEN_PATCHES,
            "size": {"shortest_edge": 32 * 32, "longest_edge": 8 * 64 * 64},
            "fps": 2,
            "min_frames": 4,
            "max_frames": 64,
        },
    ),
)
MISTRAL_SPECIAL = (
    "<pad>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
)
TIED_HEADS = {"gemma3"}
"""mlx-vlm always uses the embeddings as these heads. The real files have no head."""
PIXTRAL_IMAGES = {"size": {"longest_edge": 64}, "do_resize": True, **HALF}

_FAMILIES: dict[str, _Family] = {
    "qwen2_5_vl": _Family(
        config=qwen2_5_vl_config,
        special=QWEN_SPECIAL,
        pad="<|endoftext|>",
        end="<|im_end|>",
        template=QWEN2_TEMPLATE,
        template_file="chat_template.json",
        files=(
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "Qwen2VLImageProcessor",
                    "processor_class": "Qwen2_5_VLProcessor",
                    **QWEN_PATCHES,
                    "min_pixels": 32 * 32,
                    "max_pixels": 64 * 64,
                },
            ),
        ),
    ),
    "qwen3_vl": _Family(
        config=qwen3_vl_config,
        special=QWEN_SPECIAL,
        pad="<|endoftext|>",
        end="<|im_end|>",
        template=QWEN_TEMPLATE,
        files=QWEN3_FILES,
    ),
    "qwen3_5": _Family(
        config=qwen3_5_config,
        special=QWEN_SPECIAL,
        pad="<|endoftext|>",
        end="<|im_end|>",
        template=QWEN_TEMPLATE,
        files=QWEN3_FILES,
    ),
    "gemma3": _Family(
        config=gemma3_config,
        special=(
            "<pad>",
            "<eos>",
            "<bos>",
            "<start_of_turn>",
            "<end_of_turn>",
            "<start_of_image>",
            "<end_of_image>",
            "<image_soft_token>",
        ),
        pad="<pad>",
        end="<eos>",
        begin="<bos>",
        adds_begin=True,
        named_tokens=(
            ("boi_token", "<start_of_image>"),
            ("eoi_token", "<end_of_image>"),
            ("image_token", "<image_soft_token>"),
        ),
        template=GEMMA3_TEMPLATE,
        files=(
            ("processor_config.json", {"processor_class": "Gemma3Processor", "image_seq_length": 4}),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "Gemma3ImageProcessor",
                    "processor_class": "Gemma3Processor",
                    "do_pan_and_scan": None,
                    "image_seq_length": 4,
                    "resample": 2,
                    "size": {"height": 32, "width": 32},
                    **HALF,
                },
            ),
        ),
    ),
    "llava": _Family(
        config=llava_config,
        special=("<pad>", "<unk>", "<s>", "</s>", "<image>"),
        pad="<pad>",
        end="</s>",
        begin="<s>",
        adds_begin=True,
        template=LLAVA_TEMPLATE,
        template_file="chat_template.json",
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "LlavaProcessor",
                    "image_token": "<image>",
                    "num_additional_image_tokens": 1,
                    "patch_size": 8,
                    "vision_feature_select_strategy": "default",
                },
            ),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "CLIPImageProcessor",
                    "processor_class": "LlavaProcessor",
                    "do_center_crop": True,
                    "size": {"shortest_edge": 32},
                    "crop_size": {"height": 32, "width": 32},
                    **HALF,
                },
            ),
        ),
    ),
    "smolvlm": _Family(
        config=smolvlm_config,
        special=(
            "<pad>",
            "<|im_start|>",
            "<end_of_utterance>",
            "<fake_token_around_image>",
            "<image>",
            "<global-img>",
            *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
        ),
        pad="<pad>",
        end="<end_of_utterance>",
        begin="<|im_start|>",
        named_tokens=(
            ("fake_image_token", "<fake_token_around_image>"),
            ("image_token", "<image>"),
            ("global_image_token", "<global-img>"),
            ("end_of_utterance_token", "<end_of_utterance>"),
        ),
        template=SMOLVLM_TEMPLATE,
        files=(
            ("processor_config.json", {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "SmolVLMImageProcessor",
                    "processor_class": "SmolVLMProcessor",
                    "do_image_splitting": True,
                    "size": {"longest_edge": 64},
                    "max_image_size": {"longest_edge": 32},
                    **HALF,
                },
            ),
        ),
    ),
    "mistral3": _Family(
        config=mistral3_config,
        special=MISTRAL_SPECIAL,
        pad="<pad>",
        end="</s>",
        begin="<s>",
        adds_begin=True,
        template=MISTRAL3_TEMPLATE,
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "PixtralProcessor",
                    "image_token": "[IMG]",
                    "image_break_token": "[IMG_BREAK]",
                    "image_end_token": "[IMG_END]",
                    "patch_size": 8,
                    "spatial_merge_size": 2,
                },
            ),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "PixtralImageProcessorFast",
                    "processor_class": "PixtralProcessor",
                    "patch_size": 8,
                    **PIXTRAL_IMAGES,
                },
            ),
        ),
    ),
    "pixtral": _Family(
        config=pixtral_config,
        special=MISTRAL_SPECIAL[:8],
        pad="<pad>",
        end="</s>",
        begin="<s>",
        adds_begin=True,
        template=PIXTRAL_TEMPLATE,
        template_file="chat_template.json",
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "PixtralProcessor",
                    "image_token": "[IMG]",
                    "image_break_token": "[IMG_BREAK]",
                    "image_end_token": "[IMG_END]",
                    "patch_size": 8,
                },
            ),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "PixtralImageProcessor",
                    "processor_class": "PixtralProcessor",
                    "patch_size": {"height": 8, "width": 8},
                    **PIXTRAL_IMAGES,
                },
            ),
        ),
    ),
    "gemma4": _Family(
        config=gemma4_config,
        special=(
            "<pad>",
            "<eos>",
            "<bos>",
            "<|turn>",
            "<turn|>",
            "<|image>",
            "<|image|>",
            "<image|>",
            "<|video|>",
            "<|audio>",
            "<|audio|>",
            "<audio|>",
        ),
        pad="<pad>",
        end="<eos>",
        begin="<bos>",
        adds_begin=True,
        named_tokens=(
            ("boi_token", "<|image>"),
            ("image_token", "<|image|>"),
            ("eoi_token", "<image|>"),
            ("boa_token", "<|audio>"),
            ("audio_token", "<|audio|>"),
            ("eoa_token", "<audio|>"),
        ),
        template=GEMMA4_TEMPLATE,
        files=(
            (
                "processor_config.json",
                {
                    "processor_class": "Gemma4Processor",
                    "image_seq_length": 16,
                    "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": 32},
                    "image_processor": {
                        "image_processor_type": "Gemma4ImageProcessor",
                        "patch_size": 8,
                        "max_soft_tokens": 16,
                        "pooling_kernel_size": 2,
                    },
                    "video_processor": {
                        "video_processor_type": "Gemma4VideoProcessor",
                        "patch_size": 8,
                        "max_soft_tokens": 70,
                        "pooling_kernel_size": 2,
                        "num_frames": 8,
                    },
                },
            ),
        ),
    ),
    "lfm2_vl": _Family(
        config=lfm2_vl_config,
        special=(
            "<|pad|>",
            "<|startoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<image>",
            "<|image_start|>",
            "<|image_end|>",
            "<|img_thumbnail|>",
            *(
                f"<|img_row_{row}_col_{column}|>"
                for row in range(1, 11)
                for column in range(1, 11)
                if row * column < 11
            ),
        ),
        pad="<|pad|>",
        end="<|im_end|>",
        begin="<|startoftext|>",
        adds_begin=True,
        named_tokens=(
            ("image_token", "<image>"),
            ("image_start_token", "<|image_start|>"),
            ("image_end_token", "<|image_end|>"),
            ("image_thumbnail", "<|img_thumbnail|>"),
        ),
        template=LFM2_TEMPLATE,
        files=(
            ("processor_config.json", {"processor_class": "Lfm2VlProcessor", "use_image_special_tokens": True}),
            (
                "preprocessor_config.json",
                {
                    "image_processor_type": "Lfm2VlImageProcessorFast",
                    "processor_class": "Lfm2VlProcessor",
                    "downsample_factor": 2,
                    "encoder_patch_size": 8,
                    "tile_size": 32,
                    "min_image_tokens": 1,
                    "max_image_tokens": 4,
                    "resample": 2,
                    **HALF,
                },
            ),
        ),
    ),
}

ALL_FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
# One family for each way of reading images: positions in two dimensions, state-space layers, attention in both
# directions with inputs for each layer, one placeholder, tiles, and rows with break tokens. FAMILIES=all: all of them.
FAMILIES: tuple[str, ...] = (
    ALL_FAMILIES
    if os.environ.get("FAMILIES") == "all"
    else ("qwen3_vl", "qwen3_5", "gemma4", "llava", "smolvlm", "pixtral")
)
TAKES_VIDEO: frozenset[str] = frozenset({"qwen2_5_vl", "qwen3_vl", "qwen3_5", "gemma4"}).intersection(FAMILIES)
TAKES_STRINGS: frozenset[str] = frozenset(ALL_FAMILIES) - {"llava", "smolvlm"}
"""Families whose template renders content that is a string. The others omit it."""
IN_ONE_PASS: frozenset[str] = frozenset({"gemma4"})
"""Families whose image tokens attend to each other, so that the first chunk of a prompt must contain all images."""
IMAGE_TOKENS: dict[str, str] = {
    "qwen2_5_vl": "<|image_pad|>",
    "qwen3_vl": "<|image_pad|>",
    "qwen3_5": "<|image_pad|>",
    "gemma3": "<image_soft_token>",
    "gemma4": "<|image|>",
    "lfm2_vl": "<image>",
    "llava": "<image>",
    "smolvlm": "<image>",
    "mistral3": "[IMG]",
    "pixtral": "[IMG]",
}
"""The token that the processor inserts for each feature of an image."""


def build(family: str, folder: Path, seed: int = 0) -> Path:
    """Write the model into `folder`, which is created if necessary. Returns the folder."""
    parts = _FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    ids = _write_tokenizer(parts, folder)
    config = {**parts.config(ids), "torch_dtype": "float32"}
    _write_json(folder / "config.json", config)
    generation = {"eos_token_id": config["eos_token_id"], "pad_token_id": ids[parts.pad]}
    _write_json(folder / "generation_config.json", generation)
    for name, content in parts.files:
        _write_json(folder / name, content)
    if parts.template_file.endswith(".json"):
        _write_json(folder / parts.template_file, {"chat_template": parts.template})
    else:
        (folder / parts.template_file).write_text(parts.template, encoding="utf-8")
    weights = _weights(config, ids, seed)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(sorted(weights), "model.safetensors")}
    _write_json(folder / "model.safetensors.index.json", index)
    return folder


def _write_tokenizer(parts: _Family, folder: Path) -> Ids:
    """Write a tokenizer with a token for each byte after the special tokens. Returns the ids of all tokens."""
    ids = {token: index for index, token in enumerate((*parts.special, *sorted(pre_tokenizers.ByteLevel.alphabet())))}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(parts.special))
    if parts.adds_begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{parts.begin} $A", special_tokens=[(parts.begin, ids[str(parts.begin)])]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = dict(parts.named_tokens)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": parts.end,
        "pad_token": parts.pad,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        **({} if parts.begin is None else {"bos_token": parts.begin}),
        **({"extra_special_tokens": named} if named else {}),
    }
    _write_json(folder / "tokenizer_config.json", config)
    return ids


def _weights(config: Json, ids: Ids, seed: int) -> dict[str, mx.array]:
    """Matrices of noise from `seed`. The rows of tokens that must not be generated are small."""
    config = json.loads(json.dumps(config))  # mlx-vlm modifies its argument
    model_class, _ = get_model_and_args(config)
    config.setdefault("text_config", {})
    model_config = update_module_configs(
        model_class.ModelConfig.from_dict(config), model_class, config, ["text", "vision"]
    )
    weights = dict(tree_flatten(model_class.Model(model_config).parameters()))
    if config["model_type"] in TIED_HEADS:
        weights.pop("language_model.lm_head.weight", None)
    has_head = any("lm_head" in name for name in weights)
    printable = mx.array([[1.0 if len(token) == 1 and " " < token <= "~" else 0.01] for token in ids])
    for key, name in zip(mx.random.split(mx.random.key(seed), len(weights)), sorted(weights), strict=True):
        weight = weights[name]
        if weight.ndim < 2:
            if name.endswith(("bias", "A_log")):
                weights[name] = mx.random.normal(weight.shape, key=key) * 0.1
            continue
        fan_in = weight.shape[0] if name.endswith("input_projection_weight") else weight.size // weight.shape[0]
        wide = (
            1.0 if name.endswith(("q_proj.weight", "k_proj.weight")) else 2.0
        )  # a small spread attends to many tokens
        noise = mx.random.normal(weight.shape, key=key) * (wide / fan_in**0.5)
        if "lm_head" in name:
            noise *= 4 * printable  # the best token is far ahead of the second best
        elif "embed_tokens.weight" in name and not has_head:
            noise *= printable / 2  # otherwise the model repeats its input
        weights[name] = noise
    mx.eval(weights)
    return weights


def _write_json(path: Path, content: Json) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
