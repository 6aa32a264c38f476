"""Images and videos through the whole engine, in each family: the generation of mlx-vlm is the oracle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pico_jupyter.client import Completion, collect
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ChatPrompt, EngineOptions, Finished, GenerationRequest, TextDelta
from tests.engine.vision_bench import (
    BLUE,
    GREEDILY,
    GREEN,
    RED,
    Bench,
    chat,
    conversation,
    video,
)
from tests.engine.vision_models import FAMILIES, TAKES_VIDEO

LENGTH = 8
QUESTION = "Which colour?"
PROMPTS = {
    "a text": chat(QUESTION),
    "an image": chat(RED, QUESTION),
    "an image after the question": chat(QUESTION, BLUE),
    "two images": chat(RED, "and", GREEN, QUESTION),
    "an image in an earlier turn": conversation([RED, QUESTION], ["Red."], ["And now?"]),
    "an image in each turn": conversation([RED, QUESTION], ["Red."], [GREEN, "And now?"]),
}


@pytest.fixture(scope="module")
def client(vision_dir: Path) -> Iterator[LocalEngineClient]:
    engine = Engine(Catalog(EngineOptions(model_dirs=(str(vision_dir),)), environ={}, hub_cache=None), EngineOptions())
    engine.start()
    yield client_of(engine)
    engine.close()


def request_for(family: str, prompt: ChatPrompt, **fields: object) -> GenerationRequest:
    return GenerationRequest(  # type: ignore[misc]  # any field
        id="r", model=family, prompt=prompt, sampling=GREEDILY, **{"max_tokens": LENGTH, **fields}
    )


async def complete(client: LocalEngineClient, family: str, prompt: ChatPrompt) -> Completion:
    return await collect(client.generate(request_for(family, prompt)))


async def text_for(client: LocalEngineClient, family: str, prompt: ChatPrompt) -> str:
    return (await complete(client, family, prompt)).choices[0].text


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_red_and_a_blue_image_get_different_answers(client: LocalEngineClient, family: str) -> None:
    red, blue, again = [await text_for(client, family, chat(one, "Which?")) for one in (RED, BLUE, RED)]
    assert red != blue
    assert again == red


@pytest.mark.parametrize("family", FAMILIES)
async def test_an_answer_about_an_image_is_streamed(client: LocalEngineClient, family: str) -> None:
    deltas = [delta async for delta in client.generate(request_for(family, chat(RED, QUESTION)))]
    assert sum(isinstance(delta, TextDelta) for delta in deltas) > 1
    assert [index for index, delta in enumerate(deltas) if isinstance(delta, Finished)] == [len(deltas) - 1]


@pytest.mark.parametrize("what", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
async def test_an_answer_equals_that_of_mlx_vlm(
    client: LocalEngineClient, benches: dict[str, Bench], family: str, what: str
) -> None:
    bench = benches[family]
    rendered = bench.rendered(PROMPTS[what])
    answer = await complete(client, family, PROMPTS[what])
    assert answer.choices[0].text == bench.tokenizer.decode(bench.answer(rendered.tokens, rendered.media, LENGTH))
    assert answer.usage.prompt_tokens == len(rendered.tokens)


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_order_of_two_images_changes_the_answer(client: LocalEngineClient, family: str) -> None:
    logprobs = []
    for pair in ((RED, BLUE), (BLUE, RED)):
        request = request_for(family, chat(*pair, "?"), max_tokens=1, top_logprobs=0)
        logprobs.append((await collect(client.generate(request))).choices[0].logprobs[0].logprob)
    assert abs(logprobs[0] - logprobs[1]) > 1e-4


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
async def test_a_red_and_a_blue_video_get_different_answers(client: LocalEngineClient, family: str) -> None:
    red, blue, again = [await text_for(client, family, chat(video(one), "Which?")) for one in ("red", "blue", "red")]
    assert red != blue
    assert again == red


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
async def test_an_answer_about_a_video_equals_that_of_mlx_vlm(
    client: LocalEngineClient, benches: dict[str, Bench], family: str
) -> None:
    bench, prompt = benches[family], chat(video("green"), QUESTION)
    rendered = bench.rendered(prompt)
    expected = bench.answer(rendered.tokens, rendered.media, LENGTH)
    assert await text_for(client, family, prompt) == bench.tokenizer.decode(expected)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - TAKES_VIDEO))
async def test_the_error_for_an_unsupported_video_names_its_field(client: LocalEngineClient, family: str) -> None:
    with pytest.raises(MediaUnsupported, match="no video") as caught:
        await complete(client, family, chat(RED, video("red"), QUESTION))
    assert (caught.value.param, caught.value.model) == ("messages[0].content[1]", family)


@pytest.mark.parametrize("family", ["qwen3_vl", "gemma4"])
async def test_an_image_and_a_video_in_one_prompt_are_both_used(client: LocalEngineClient, family: str) -> None:
    pairs = [("red", RED), ("blue", RED), ("red", BLUE)]
    answers = [await text_for(client, family, chat(image, video(colour), QUESTION)) for colour, image in pairs]
    assert len(set(answers)) == len(pairs)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_5"])
async def test_a_model_that_accepts_one_kind_of_media_refuses_both(client: LocalEngineClient, family: str) -> None:
    with pytest.raises(InvalidRequest, match="not both"):
        await complete(client, family, chat(RED, video("blue"), QUESTION))
    assert await text_for(client, family, chat(RED, QUESTION)), "the engine still works"


async def test_torch_is_not_imported(client: LocalEngineClient) -> None:
    for family in FAMILIES:
        await complete(client, family, chat(RED, QUESTION))
    assert "torch" not in sys.modules
