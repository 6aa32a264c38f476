"""Builds pico-tiny's tokenizer: byte-level BPE with one token per digit, trained on text of the generator.

python -m training.tokenizer OUT_FOLDER
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from training.conversation import render_prompt, render_target
from training.generator import draw_sample
from training.words import listed

VOCABULARY = 1536
CONTEXT = 4096
SAMPLES = 40_000
SEED = 999
TEMPLATE = Path(__file__).with_name("chat_template.jinja")

# The order fixes the ids from 0. The vision tokens let a vision model share this tokenizer.
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIAL += ["<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
# These are decoded to text, as in Qwen3, because parsers of reasoning and of tool calls search for them.
ADDED = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus(seed: int = SEED) -> Iterator[str]:
    rng = Random(seed)
    for _ in range(SAMPLES):
        sample = draw_sample(rng)
        yield render_prompt(sample) + render_target(sample)
    yield from picture_phrases(rng)


def picture_phrases(rng: Random) -> Iterator[str]:
    """Sentences about images and videos, so that pico-tiny-vl can use the same tokenizer."""
    for _ in range(600):
        yield f"<{rng.random() * 9:.1f} seconds>"
    colors = listed("red green blue yellow orange purple black white gray pink cyan brown")
    shapes = listed("circle square triangle star cross diamond heart ring")
    for color in colors:
        for shape in shapes:
            for size in ("", "small ", "big "):
                thing = f"{size}{color} {shape}"
                yield f"A {thing} on a white background. How many shapes are there? There are three {thing}s."
                yield f"Describe the image. What color is the {thing}? First a {thing}, then a gray square."
                yield f"The {thing} moves to the left. Which direction does the {thing} move in the video? Up, down."
                yield f"What is in the picture? The {thing} is above, below, to the right of the {color} circle."


def build(texts: Iterator[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(ADDED),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    return tokenizer


def tokenizer_config(tokenizer: Tokenizer, template: str) -> dict[str, object]:
    shared = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {
        str(tokenizer.token_to_id(token)): {"content": token, **shared, "special": token in SPECIAL}
        for token in SPECIAL + ADDED
    }
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL[1:],
        "bos_token": None,
        "chat_template": template,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": CONTEXT,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def write(tokenizer: Tokenizer, folder: Path, template: Path = TEMPLATE) -> None:
    """Write the tokenizer and the chat template into a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = template.read_text()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(tokenizer, text), indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    tokenizer = build(corpus())
    write(tokenizer, folder)
    print(f"{tokenizer.get_vocab_size()} tokens in {folder}")


if __name__ == "__main__":
    main()
