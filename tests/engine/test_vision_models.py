"""The tiny vision models load through mlx-vlm, offline and without torch, and use images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_vlm.models.cache import make_prompt_cache
from mlx_vlm.utils import load_model, load_processor
from PIL import Image

from tests.engine.vision_models import FAMILIES, IMAGE_TOKENS, IN_ONE_PASS, TAKES_STRINGS, TAKES_VIDEO, build

LIMIT = 2_000_000  # bytes
COLOURS = ("red", "blue", "green")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vision")
    return {family: build(family, root / family) for family in FAMILIES}


def render(processor: Any, content: str | list[dict[str, str]]) -> str:
    text: str = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text


def image(colour: str) -> Image.Image:
    return Image.new("RGB", (48, 40), colour)


def video(colour: str) -> np.ndarray:
    """Four frames, as (frames, channels, height, width)."""
    return np.stack([np.asarray(image(colour)).transpose(2, 0, 1)] * 4)


def answer(model: Any, processed: dict[str, Any], length: int = 8) -> list[int]:
    """The greedy tokens."""
    inputs = {name: mx.array(value) for name, value in processed.items() if isinstance(value, (np.ndarray, mx.array))}
    ids = inputs["input_ids"]
    media = {name: value for name, value in inputs.items() if name not in {"input_ids", "attention_mask"}}
    seen = model.get_input_embeddings(ids, media.pop("pixel_values", None), mask=inputs["attention_mask"], **media)
    extra = {name: value for name, value in seen.to_dict().items() if value is not None}
    extra |= {name: media[name] for name in ("mm_token_type_ids",) if name in media}
    cache = make_prompt_cache(model.language_model)
    tokens: list[int] = []
    while len(tokens) < length:
        ids = model.language_model(ids, cache=cache, **extra).logits[:, -1].argmax(axis=-1, keepdims=True)
        extra = {"rope_deltas": seen.rope_deltas} if seen.rope_deltas is not None else {}
        tokens.append(ids.item())
    return tokens


def describe(model: Any, processor: Any, colour: str) -> list[int]:
    prompt = render(processor, [{"type": "image"}, {"type": "text", "text": "Which colour?"}])
    return answer(model, processor(text=[prompt], images=[image(colour)], return_tensors="np"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_depends_on_the_colour_of_an_image(family: str, folders: dict[str, Path]) -> None:
    model, processor = load_model(folders[family]), load_processor(folders[family], trust_remote_code=False)

    red, blue, green = (describe(model, processor, colour) for colour in COLOURS)

    assert red != blue
    assert blue != green
    assert green != red
    assert describe(model, processor, "red") == red


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
def test_the_answer_depends_on_the_colour_of_a_video(family: str, folders: dict[str, Path]) -> None:
    model, processor = load_model(folders[family]), load_processor(folders[family], trust_remote_code=False)
    prompt = render(processor, [{"type": "video"}, {"type": "text", "text": "Which colour?"}])

    red, blue, green = (
        answer(model, processor(text=[prompt], videos=[video(colour)], return_tensors="np")) for colour in COLOURS
    )

    assert red != blue
    assert blue != green
    assert green != red


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_several_tokens_of_the_prompt(family: str, folders: dict[str, Path]) -> None:
    processor = load_processor(folders[family], trust_remote_code=False)
    prompt = render(processor, [{"type": "image"}, {"type": "text", "text": "Which colour?"}])

    ids = processor(text=[prompt], images=[image("red")], return_tensors="np")["input_ids"][0].tolist()

    assert ids.count(processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKENS[family])) > 1


@pytest.mark.parametrize("family", sorted(IN_ONE_PASS))
def test_the_policy_of_a_model_shows_that_images_need_one_pass(family: str, folders: dict[str, Path]) -> None:
    language_model = load_model(folders[family]).language_model

    assert language_model.chunked_prefill_policy(prefill_kwargs={"mm_token_type_ids": mx.array([[0, 0, 0]])})
    assert not language_model.chunked_prefill_policy(prefill_kwargs={"mm_token_type_ids": mx.array([[0, 1, 1]])})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_template_without_support_for_strings_omits_them(family: str, folders: dict[str, Path]) -> None:
    processor = load_processor(folders[family], trust_remote_code=False)

    assert ("Which colour?" in render(processor, "Which colour?")) is (family in TAKES_STRINGS)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_has_printable_characters(family: str, folders: dict[str, Path]) -> None:
    model, processor = load_model(folders[family]), load_processor(folders[family], trust_remote_code=False)

    text = processor.tokenizer.decode(describe(model, processor, "red"))

    assert len(text) == 8
    assert text.isprintable()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_builds_the_same_files(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    again, other = build(family, tmp_path / "again"), build(family, tmp_path / "other", seed=1)

    files = {path.name: path.read_bytes() for path in folders[family].iterdir()}
    assert {path.name: path.read_bytes() for path in again.iterdir()} == files
    assert (other / "model.safetensors").read_bytes() != files["model.safetensors"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_small(family: str, folders: dict[str, Path]) -> None:
    assert sum(path.stat().st_size for path in folders[family].iterdir()) < LIMIT
