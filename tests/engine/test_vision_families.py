"""Pictures and clips through the whole engine, in each family: the answers are those of mlx-vlm itself."""

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
    "a picture": chat(RED, QUESTION),
    "a picture behind the question": chat(QUESTION, BLUE),
    "two pictures": chat(RED, "and", GREEN, QUESTION),
    "a picture in an earlier turn": conversation([RED, QUESTION], ["Red."], ["And now?"]),
    "a picture in each turn": conversation([RED, QUESTION], ["Red."], [GREEN, "And now?"]),
}


@pytest.fixture(scope="module")
def client(vision_dir: Path) -> Iterator[LocalEngineClient]:
    engine = Engine(Catalog(EngineOptions(model_dirs=(str(vision_dir),)), environ={}, hub_cache=None), EngineOptions())
    engine.start()
    yield client_of(engine)
    engine.close()


def asking(family: str, prompt: ChatPrompt, **fields: object) -> GenerationRequest:
    return GenerationRequest(  # type: ignore[misc]  # any field
        id="r", model=family, prompt=prompt, sampling=GREEDILY, **{"max_tokens": LENGTH, **fields}
    )


async def answered(client: LocalEngineClient, family: str, prompt: ChatPrompt) -> Completion:
    return await collect(client.generate(asking(family, prompt)))


async def said_to(client: LocalEngineClient, family: str, prompt: ChatPrompt) -> str:
    return (await answered(client, family, prompt)).choices[0].text


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_red_and_a_blue_picture_get_different_answers(client: LocalEngineClient, family: str) -> None:
    red, blue, again = [await said_to(client, family, chat(one, "Which?")) for one in (RED, BLUE, RED)]
    assert red != blue
    assert again == red


@pytest.mark.parametrize("family", FAMILIES)
async def test_an_answer_about_a_picture_streams_to_its_end(client: LocalEngineClient, family: str) -> None:
    deltas = [delta async for delta in client.generate(asking(family, chat(RED, QUESTION)))]
    assert sum(isinstance(delta, TextDelta) for delta in deltas) > 1
    assert [index for index, delta in enumerate(deltas) if isinstance(delta, Finished)] == [len(deltas) - 1]


@pytest.mark.parametrize("what", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
async def test_an_answer_is_that_of_mlx_vlm(
    client: LocalEngineClient, benches: dict[str, Bench], family: str, what: str
) -> None:
    bench = benches[family]
    rendered = bench.rendered(PROMPTS[what])
    answer = await answered(client, family, PROMPTS[what])
    assert answer.choices[0].text == bench.tokenizer.decode(bench.answer(rendered.tokens, rendered.media, LENGTH))
    assert answer.usage.prompt_tokens == len(rendered.tokens)


@pytest.mark.parametrize("family", FAMILIES)
async def test_which_of_two_pictures_comes_first_makes_a_difference(client: LocalEngineClient, family: str) -> None:
    chances = []
    for pair in ((RED, BLUE), (BLUE, RED)):
        request = asking(family, chat(*pair, "?"), max_tokens=1, top_logprobs=0)
        chances.append((await collect(client.generate(request))).choices[0].logprobs[0].logprob)
    assert abs(chances[0] - chances[1]) > 1e-4


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
async def test_a_red_and_a_blue_clip_get_different_answers(client: LocalEngineClient, family: str) -> None:
    red, blue, again = [await said_to(client, family, chat(video(one), "Which?")) for one in ("red", "blue", "red")]
    assert red != blue
    assert again == red


@pytest.mark.parametrize("family", sorted(TAKES_VIDEO))
async def test_an_answer_about_a_clip_is_that_of_mlx_vlm(
    client: LocalEngineClient, benches: dict[str, Bench], family: str
) -> None:
    bench, prompt = benches[family], chat(video("green"), QUESTION)
    rendered = bench.rendered(prompt)
    expected = bench.answer(rendered.tokens, rendered.media, LENGTH)
    assert await said_to(client, family, prompt) == bench.tokenizer.decode(expected)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - TAKES_VIDEO))
async def test_a_clip_is_refused_at_its_field_where_the_model_takes_none(
    client: LocalEngineClient, family: str
) -> None:
    with pytest.raises(MediaUnsupported, match="no video") as caught:
        await answered(client, family, chat(RED, video("red"), QUESTION))
    assert (caught.value.param, caught.value.model) == ("messages[0].content[1]", family)


@pytest.mark.parametrize("family", ["qwen3_vl", "gemma4"])
async def test_a_picture_and_a_clip_together_are_both_seen(client: LocalEngineClient, family: str) -> None:
    pairs = [("red", RED), ("blue", RED), ("red", BLUE)]
    answers = [await said_to(client, family, chat(picture, video(colour), QUESTION)) for colour, picture in pairs]
    assert len(set(answers)) == len(pairs)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_5"])
async def test_a_model_that_looks_at_one_kind_at_a_time_refuses_both(client: LocalEngineClient, family: str) -> None:
    with pytest.raises(InvalidRequest, match="not at both"):
        await answered(client, family, chat(RED, video("blue"), QUESTION))
    assert await said_to(client, family, chat(RED, QUESTION)), "the engine lives on"


async def test_all_this_happens_without_torch(client: LocalEngineClient) -> None:
    for family in FAMILIES:
        await answered(client, family, chat(RED, QUESTION))
    assert "torch" not in sys.modules
