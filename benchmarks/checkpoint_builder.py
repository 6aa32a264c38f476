"""Writes the models of the benchmarks from fixed seeds: `python -m benchmarks.checkpoint_builder`.

The weights are random float32 numbers, so that both servers compute the same on every machine. The models generate only
words of an invented vocabulary, because the output rows of all other tokens are scaled down. Therefore every answer has
the requested length, one token is one word, and encoding an answer again gives the same tokens.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Callable, Collection, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models import gemma3_text, qwen3
from mlx_vlm.models import qwen3_vl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.checkpoints import BUILT_IN, SHAPES, WORDS_FILE, Shape, Tower, default_folder

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]
# The last tokens in the vocabulary of a vision model, in the order of their ids.
IMAGE_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
VOCABULARY = 4096
CONTEXT = 65536
# Factors for the output rows. QUIET, for tokens that must not be sampled, gives logits near 0. LOUD, for words, gives
# logits up to +-11.
QUIET = 0.05
LOUD = 3.0

TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- endif %}
"""
VISION_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content %}
{{- part.text if part.type == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def build(folder: Path) -> None:
    """Write all models into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    words = list(invented_words(random.Random(0), 6000))
    tokenizer = train_tokenizer(words)
    tokens = word_tokens(tokenizer, set(words))
    (folder / WORDS_FILE).write_text("\n".join(sorted(tokens)) + "\n")
    # Vision models come last, because they add tokens to the shared tokenizer.
    for name, shape in sorted(SHAPES.items(), key=lambda item: item[1].tower is not None):
        if shape.tower:
            tokenizer.add_special_tokens(IMAGE_TOKENS)
        _finish(folder / name, partial(_write_random, shape=shape, tokenizer=tokenizer, loud=tokens.values()))
    for name, source in BUILT_IN.items():
        _finish(folder / name, partial(_write_built_in, source=source))


def invented_words(rng: random.Random, count: int) -> Iterator[str]:
    """Different pronounceable words that exist in no language."""
    seen: set[str] = set()
    while len(seen) < count:
        word = "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.choice((2, 2, 3))))
        if word not in seen:
            seen.add(word)
            yield word


def train_tokenizer(words: list[str]) -> Tokenizer:
    """Train a byte-level BPE tokenizer. Most of its tokens are whole words with a leading space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Frequent words become one token each. Rare words are split into several tokens, as in real vocabularies.
    lines = (" " + " ".join(words[: 1 + len(words) // rank]) for rank in range(1, 200))
    tokenizer.train_from_iterator([*lines, "system\nuser\nassistant\n" * 100], trainer)
    return tokenizer


def word_tokens(tokenizer: Tokenizer, words: Collection[str]) -> dict[str, int]:
    """Maps each word that is a single token, including its leading space, to the token's id."""
    single = {word: tokenizer.encode(" " + word).ids for word in words}
    return {word: ids[0] for word, ids in single.items() if len(ids) == 1}


def _finish(target: Path, write: Callable[[Path], None]) -> None:
    """Write a model into a temporary folder and rename it, so that `target` is always complete."""
    if (target / "config.json").exists():
        return
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write(part)
    part.rename(target)
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"built {target} ({size / 1e6:.0f} MB)", flush=True)


def _write_random(target: Path, shape: Shape, tokenizer: Tokenizer, loud: Collection[int]) -> None:
    """Write a model with random weights. It generates only the tokens in `loud`."""
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = VISION_TEMPLATE if shape.tower else TEMPLATE
    fast.save_pretrained(target)
    config = _vision_config(shape, shape.tower) if shape.tower else _config(shape)
    if shape.tower:
        for name, content in _processor_files(shape.tower).items():
            (target / name).write_text(json.dumps(content, indent=1))
    mx.random.seed(shape.seed)
    model = _model(config)
    weights = dict(tree_flatten(model.parameters()))
    scale = [QUIET] * shape.vocabulary
    for token in loud:
        scale[token] = LOUD
    embedding = next(name for name in weights if name.endswith("embed_tokens.weight"))
    weights[embedding] = weights[embedding] * mx.array(scale)[:, None]
    weights.pop("lm_head.weight", None)
    mx.save_safetensors(str(target / "model.safetensors"), weights, metadata={"format": "mlx"})
    (target / "generation_config.json").write_text(json.dumps({"eos_token_id": config["eos_token_id"]}))
    (target / "config.json").write_text(json.dumps(config, indent=1))


def _config(shape: Shape) -> dict[str, Any]:
    config = {
        "model_type": "gemma3_text" if shape.window else "qwen3",
        "architectures": ["Gemma3ForCausalLM" if shape.window else "Qwen3ForCausalLM"],
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "intermediate_size": shape.feed_forward,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "rms_norm_eps": 1e-6,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 1e6,
        "tie_word_embeddings": True,
        "eos_token_id": SPECIAL.index("<|im_end|>"),
        "torch_dtype": "float32",
    }
    if shape.window:
        config |= {
            "sliding_window": shape.window,
            "sliding_window_pattern": shape.layers,
            "query_pre_attn_scalar": shape.head_dim,
            "rope_local_base_freq": 10_000.0,
        }
    return config


def _vision_config(shape: Shape, tower: Tower) -> dict[str, Any]:
    text = {
        **_config(shape),
        "model_type": "qwen3_vl_text",
        # The numbers of rotary pairs for time, height and width. A head has 64 pairs.
        "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
    }
    vision_start, vision_end, image, video = (VOCABULARY + index for index in range(len(IMAGE_TOKENS)))
    return {
        "model_type": "qwen3_vl",
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "vision_start_token_id": vision_start,
        "vision_end_token_id": vision_end,
        "image_token_id": image,
        "video_token_id": video,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": True,
        "eos_token_id": text["eos_token_id"],
        "torch_dtype": "float32",
        "text_config": text,
        "vision_config": {
            "model_type": "qwen3_vl",
            "depth": tower.layers,
            "hidden_size": tower.hidden,
            "intermediate_size": tower.feed_forward,
            "out_hidden_size": shape.hidden,
            "num_heads": tower.heads,
            "patch_size": tower.patch,
            "spatial_patch_size": tower.patch,
            "spatial_merge_size": tower.merge,
            "temporal_patch_size": 2,
            "in_channels": 3,
            "num_position_embeddings": (tower.side // tower.patch) ** 2,
            "deepstack_visual_indexes": [tower.layers // 4 * quarter - 1 for quarter in (1, 2, 3)],
        },
    }


def _processor_files(tower: Tower) -> dict[str, dict[str, Any]]:
    common = {
        "processor_class": "Qwen3VLProcessor",
        "patch_size": tower.patch,
        "temporal_patch_size": 2,
        "merge_size": tower.merge,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    size = {"shortest_edge": (2 * tower.patch * tower.merge) ** 2, "longest_edge": tower.side**2}
    return {
        "preprocessor_config.json": {**common, "image_processor_type": "Qwen2VLImageProcessorFast", "size": size},
        "video_preprocessor_config.json": {**common, "video_processor_type": "Qwen3VLVideoProcessor", "size": size},
    }


def _model(config: dict[str, Any]) -> Any:
    if config["model_type"] == "qwen3_vl":
        # mlx-vlm changes the configuration that it gets, so it gets a copy.
        return qwen3_vl.Model(qwen3_vl.ModelConfig.from_dict(json.loads(json.dumps(config))))
    family = gemma3_text if config["model_type"] == "gemma3_text" else qwen3
    return family.Model(family.ModelArgs.from_dict(config))


def _write_built_in(target: Path, source: str) -> None:
    folder = Path(str(files("pico_jupyter.builtin") / source))
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, target / file.name)
    weights = cast("dict[str, mx.array]", mx.load(str(folder / "model.safetensors")))
    mx.save_safetensors(
        str(target / "model.safetensors"),
        {name: weight.astype(mx.float32) for name, weight in weights.items()},
        metadata={"format": "mlx"},
    )
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}, indent=1))


def main() -> None:
    """Build missing models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=default_folder(), help="folder of the models (default: %(default)s)"
    )
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()
