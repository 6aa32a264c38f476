"""The fast rendering of training equals that of the chat template, and its pixels those of mlx-vlm's processor."""

from pathlib import Path
from random import Random
from typing import Any

import jinja2
import numpy as np
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from mlx_vlm.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from PIL import Image
from tokenizers import Tokenizer

from training.vision.conversation import Conversation, Scene, Turn, draw_conversation
from training.vision.drawing import Look, draw_look, render_clip, render_picture
from training.vision.processing import FRAME_SIZES, cell_count, clip_patches, picture_patches, positions
from training.vision.questions import Asked
from training.vision.rendering import ASSISTANT, PICTURE, VIDEO, Piece, collate, encode, pieces, slot
from training.vision.scenes import Picture, draw_clip, draw_picture

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "training" / "vision" / "template.jinja"
SHIPPED = ROOT / "pico_jupyter" / "builtin" / "pico-tiny-vl"
ASKED = Asked("color", "What color is it?", "It is red.")
FRAMES = list(FRAME_SIZES)
# The processor resizes larger squares to 64 by 64.
SCALES = {(48, 48): 1.0}


@pytest.fixture(scope="module")
def template() -> jinja2.Template:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE.read_text())


@pytest.fixture(scope="module")
def processor() -> Qwen3VLProcessor:
    return Qwen3VLProcessor.from_pretrained(str(SHIPPED))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))


def messages_of(conversation: Conversation) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if conversation.system is not None:
        messages.append({"role": "system", "content": conversation.system})
    for turn in conversation.turns:
        media = [{"type": "image" if isinstance(scene, Picture) else "video"} for scene in turn.scenes]
        text = [{"type": "text", "text": turn.asked.question}]
        messages.append({"role": "user", "content": [*text, *media] if turn.behind else [*media, *text]})
        messages.append({"role": "assistant", "content": turn.asked.answer})
    return messages


def text_of(parts: list[Piece]) -> str:
    return "".join(part.text for part in parts)


def without_times_and_cells(text: str, scene: Scene) -> str:
    """Replace the processor's placeholders, one for each pair of frames, by that of the template."""
    full = slot(PICTURE if isinstance(scene, Picture) else VIDEO, cell_count(scene.frame))
    if isinstance(scene, Picture):
        return text.replace(full, slot(PICTURE))
    first, *_, last = text.split(full)
    return first[: first.rindex("<")] + slot(VIDEO) + last


@pytest.mark.parametrize("kind", ["picture", "several", "clip", "talk"])
def test_training_text_equals_the_rendering_of_the_template(template: jinja2.Template, kind: str) -> None:
    rng = Random(11)

    for _ in range(100):
        conversation = draw_conversation(rng, (64, 64), kind)
        conversation.branched = False
        text = text_of(pieces(rng, conversation))
        for scene in conversation.scenes():
            text = without_times_and_cells(text, scene)
        assert template.render(messages=messages_of(conversation), add_generation_prompt=False) == text


def test_a_question_ends_where_the_answer_begins(template: jinja2.Template) -> None:
    assert template.render(messages=[{"role": "user", "content": "Hi"}], add_generation_prompt=True).endswith(ASSISTANT)


def test_parts_keep_their_order(template: jinja2.Template) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "video"}, "b"]
    text = template.render(messages=[{"role": "user", "content": parts}])

    assert text == f"<|im_start|>user\na{slot(PICTURE)}{slot(VIDEO)}b<|im_end|>\n"


def test_all_branches_share_their_beginning(tokenizer: Tokenizer) -> None:
    picture = draw_picture(Random(1), (64, 64))
    turns = [Turn(ASKED, (picture,)), Turn(ASKED), Turn(ASKED)]
    branched = encode(Random(1), tokenizer, Conversation(turns, branched=True))
    alone = encode(Random(1), tokenizer, Conversation(turns[:1]))
    batch = collate([branched], (64, 64), (6, 7))
    seen = np.isin(batch.branches[0], (0, 3))
    length = int(seen.sum())

    assert batch.ids[0, seen].tolist() == alone.ids[:length]
    assert batch.positions[:, 0, seen].tolist() == positions(alone.ids[:length], (6, 7), (64, 64)).tolist()


def test_only_answers_are_taught_and_tokens_of_longer_answers_have_less_weight(tokenizer: Tokenizer) -> None:
    picture = draw_picture(Random(1), (64, 64))
    turns = [Turn(ASKED, (picture,)), Turn(Asked("talk", "Hi", "Hello! Show me a picture."))]
    row = encode(Random(1), tokenizer, Conversation(turns))
    taught = tokenizer.decode([i for i, w in zip(row.ids, row.weights, strict=True) if w], skip_special_tokens=False)

    assert taught == "It is red.<|im_end|>Hello! Show me a picture.<|im_end|>"
    lengths = {len(tokenizer.encode(f"{turn.asked.answer}<|im_end|>").ids) for turn in turns}
    assert {round(weight**-2) for weight in row.weights if weight} == lengths


@pytest.mark.parametrize("frame", FRAMES)
def test_the_pixels_of_images_are_those_of_the_processor(processor: Qwen3VLProcessor, frame: tuple[int, int]) -> None:
    rng = Random(7)
    picture = draw_picture(rng, frame)
    pixels = render_picture(rng, picture, Look(scale=SCALES.get(frame, 3.125)))
    given = processor(images=[Image.fromarray(pixels)], text=[slot(PICTURE)])

    assert np.array(given["image_grid_thw"]).tolist() == [[1, frame[0] // 8, frame[1] // 8]]
    np.testing.assert_allclose(np.array(given["pixel_values"]), picture_patches(pixels, frame)[0], atol=1e-5)


@pytest.mark.parametrize("frame", FRAMES)
def test_the_pixels_of_videos_are_those_of_the_processor(processor: Qwen3VLProcessor, frame: tuple[int, int]) -> None:
    rng = Random(7)
    frames = render_clip(rng, draw_clip(rng, frame), Look(scale=SCALES.get(frame, 2.0)))
    given = processor(videos=[frames], text=[slot(VIDEO)], fps=5.0)
    seen = clip_patches(frames, frame)

    assert np.array(given["video_grid_thw"]).tolist() == [[4, frame[0] // 8, frame[1] // 8]]
    np.testing.assert_allclose(np.array(given["pixel_values_videos"]), seen.reshape(-1, 384), atol=1e-5)


def test_an_appearance_is_determined_by_its_seed() -> None:
    assert [draw_look(Random(i)) for i in range(20)] == [draw_look(Random(i)) for i in range(20)]


def test_noise_and_jpeg_keep_the_size() -> None:
    picture = draw_picture(Random(1), (48, 64))

    assert render_picture(Random(1), picture, Look(2.0, 1.0, 2, 9.0, 50)).shape == (96, 128, 3)


def test_the_template_is_that_of_the_built_in_model() -> None:
    assert (SHIPPED / "chat_template.jinja").read_text() == TEMPLATE.read_text()
