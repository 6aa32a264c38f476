"""Images and the questions about them."""

import base64
import io
import random

from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image

from benchmarks.checkpoint_builder import VISION_TEMPLATE
from benchmarks.checkpoints import SHAPES
from benchmarks.prompts import SIDE, about_a_picture, picture, with_picture


def test_images_differ_and_a_seed_always_gives_the_same_image() -> None:
    draw = random.Random(1)
    assert picture(random.Random(1)) == picture(draw) != picture(draw)


def test_an_image_has_the_size_that_the_tower_expects() -> None:
    tower = SHAPES["small-vl"].tower
    assert tower is not None
    assert Image.open(io.BytesIO(picture(random.Random(1)))).size == (SIDE, SIDE) == (tower.side, tower.side)
    assert tower.tokens == 196


def test_questions_about_one_image_differ() -> None:
    draw = random.Random(1)
    assert len({about_a_picture(draw) for _ in range(20)}) > 4


def test_a_message_has_the_image_before_the_question() -> None:
    image, text = with_picture(b"\x89PNG", "How many?")[0]["content"]
    kind, _, data = image["image_url"]["url"].partition(",")
    assert (kind, base64.b64decode(data)) == ("data:image/png;base64", b"\x89PNG")
    assert text == {"type": "text", "text": "How many?"}


def test_the_template_renders_the_placeholder_at_the_position_of_the_image() -> None:
    template = ImmutableSandboxedEnvironment().from_string(VISION_TEMPLATE)
    prompt = template.render(messages=with_picture(b"", " bo"), add_generation_prompt=True)
    assert prompt == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|> bo<|im_end|>\n<|im_start|>assistant\n"
    )
