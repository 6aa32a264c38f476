"""Converts a training checkpoint to a model folder for mlx-lm and transformers.

python -m training.export CHECKPOINT.pt TOKENIZER.json FOLDER
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from training.model import EPSILON, ModelShape
from training.tokenizer import write

MODE = 0o644


def model_config(tokenizer: Tokenizer, shape: ModelShape) -> dict[str, object]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": shape.context,
        "max_window_layers": shape.layers,
        "model_type": "qwen3",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.key_value_heads,
        "rms_norm_eps": EPSILON,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocabulary,
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, object]:
    """The end tokens, and greedy sampling as the default."""
    ends = [tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")]
    return {"eos_token_id": ends, "pad_token_id": ends[1], "do_sample": False}


def export(checkpoint: Path, tokenizer: Tokenizer, folder: Path) -> None:
    write(tokenizer, folder)
    weights = torch.load(checkpoint, weights_only=True)["model"]
    rounded = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    save_file(rounded, str(folder / "model.safetensors"), metadata={"format": "pt"})
    for name, config in (
        ("config.json", model_config(tokenizer, ModelShape())),
        ("generation_config.json", generation_config(tokenizer)),
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
