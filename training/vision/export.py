"""Converts a training checkpoint to a model folder for mlx-vlm.

python -m training.vision.export CHECKPOINT.pt TOKENIZER.json FOLDER
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from training.export import MODE, generation_config
from training.tokenizer import write
from training.vision.model import EPSILON, SECTIONS, TEXT_SHAPE, VISION_SHAPE
from training.vision.processing import (
    LEAST_CLIP_PIXELS,
    LEAST_PIXELS,
    MERGE,
    MOST_CLIP_PIXELS,
    MOST_PIXELS,
    PAIR,
    PATCH,
)
from training.vision.scenes import FRAMES

TEMPLATE = Path(__file__).with_name("template.jinja")
TRAINING_ONLY = "dense_head"


def text_config(tokenizer: Tokenizer) -> dict[str, object]:
    shape = TEXT_SHAPE
    return {
        "model_type": "qwen3_vl_text",
        "attention_bias": False,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": shape.context,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.key_value_heads,
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "rms_norm_eps": EPSILON,
        "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": list(SECTIONS)},
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "vocab_size": shape.vocabulary,
    }


def vision_config() -> dict[str, object]:
    shape = VISION_SHAPE
    return {
        "model_type": "qwen3_vl",
        "deepstack_visual_indexes": [],
        "depth": shape.layers,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": shape.hidden,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "num_heads": shape.heads,
        "num_position_embeddings": shape.grid**2,
        "out_hidden_size": TEXT_SHAPE.hidden,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "spatial_patch_size": PATCH,
        "temporal_patch_size": PAIR,
    }


def model_config(tokenizer: Tokenizer) -> dict[str, object]:
    ids = tokenizer.token_to_id
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "eos_token_id": [ids("<|im_end|>"), ids("<|endoftext|>")],
        "image_token_id": ids("<|image_pad|>"),
        "pad_token_id": ids("<|endoftext|>"),
        "text_config": text_config(tokenizer),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "video_token_id": ids("<|video_pad|>"),
        "vision_config": vision_config(),
        "vision_end_token_id": ids("<|vision_end|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_token_id": ids("<|vision_pad|>"),
        "vocab_size": TEXT_SHAPE.vocabulary,
    }


def processor_config(least: int, most: int) -> dict[str, object]:
    """The processor settings. `least` and `most` limit the pixels of an image, or of all frames of a video together."""
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "merge_size": MERGE,
        "patch_size": PATCH,
        "processor_class": "Qwen3VLProcessor",
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": least, "longest_edge": most},
        "temporal_patch_size": PAIR,
    }


def picture_processor_config() -> dict[str, object]:
    return processor_config(LEAST_PIXELS, MOST_PIXELS) | {"image_processor_type": "Qwen2VLImageProcessorFast"}


def video_processor_config() -> dict[str, object]:
    sampling = {"fps": 2, "min_frames": FRAMES, "max_frames": FRAMES, "video_processor_type": "Qwen3VLVideoProcessor"}
    return processor_config(LEAST_CLIP_PIXELS, MOST_CLIP_PIXELS) | sampling


def export(checkpoint: Path, tokenizer: Tokenizer, folder: Path) -> None:
    write(tokenizer, folder, TEMPLATE)
    weights = torch.load(checkpoint, weights_only=True)["model"]
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(TRAINING_ONLY)}
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in kept.items()}
    save_file(rounded, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for name, config in (
        ("config.json", model_config(tokenizer)),
        ("generation_config.json", generation_config(tokenizer)),
        ("preprocessor_config.json", picture_processor_config()),
        ("video_preprocessor_config.json", video_processor_config()),
    ):
        (folder / name).write_text(json.dumps(config, indent=2) + "\n")
    for path in folder.iterdir():
        path.chmod(MODE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    export(options.checkpoint, Tokenizer.from_file(str(options.tokenizer)), options.folder)


if __name__ == "__main__":
    main()
