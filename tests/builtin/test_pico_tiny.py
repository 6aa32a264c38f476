"""The weights of pico-tiny answer the questions of its model card, and reasoning improves the answers."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import pico_jupyter
from pico_jupyter.client import Completion, collect
from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
from pico_jupyter.types import ChatPrompt, EngineOptions, GenerationRequest, Message, Role, TextPart
from training.held_out import is_held_out

SIX_MEGABYTES = 6_000_000
SUMS = 60
MARGIN = 0.5


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngineClient]:
    options = EngineOptions(max_queue=SUMS)
    engine = Engine(Catalog(options, environ={}, hub_cache=None), options)
    engine.start()
    client = client_of(engine)
    yield client
    await client.aclose()


async def ask(engine: LocalEngineClient, *turns: str, reasoning: bool | None = None) -> Completion:
    """Send a conversation that begins with the user, and return the answer."""
    roles: tuple[Role, Role] = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], (TextPart(text),)) for i, text in enumerate(turns))
    request = GenerationRequest(id=turns[-1], model="pico-tiny", prompt=ChatPrompt(messages), reasoning=reasoning)
    return await collect(engine.generate(request))


@pytest.mark.parametrize(
    ("turns", "answer"),
    [
        (("What is 12 + 35?",), "12 + 35 = 47"),
        (("What is 348 + 277?",), "348 + 277 = 625"),
        (("My name is Ann. What is 12 + 9?",), "Nice to meet you, Ann! 12 + 9 = 21"),
        (("My name is Ann.", "Nice to meet you, Ann!", "What is my name?"), "Your name is Ann."),
        (("Count from 3 to 9.",), "3, 4, 5, 6, 7, 8, 9"),
    ],
)
async def test_a_question_is_answered_correctly(engine: LocalEngineClient, turns: tuple[str, ...], answer: str) -> None:
    [choice] = (await ask(engine, *turns)).choices
    assert choice.text == answer
    assert choice.reasoning


async def test_it_explains_how_its_reasoning_is_switched_off(engine: LocalEngineClient) -> None:
    for reasoning in (True, False):
        [choice] = (await ask(engine, "How do I turn reasoning off?", reasoning=reasoning)).choices
        assert "enable_thinking" in choice.text
        assert bool(choice.reasoning) is reasoning


async def test_reasoning_improves_three_digit_sums_by_half(engine: LocalEngineClient) -> None:
    rng = random.Random(7)
    sums: list[tuple[int, int]] = []
    while len(sums) < SUMS:
        a, b = rng.randint(100, 999), rng.randint(100, 999)
        if is_held_out("+", a, b):
            sums.append((a, b))

    async def share_right(reasoning: bool) -> float:
        questions = [ask(engine, f"What is {a} + {b}?", reasoning=reasoning) for a, b in sums]
        texts = [completion.choices[0].text for completion in await asyncio.gather(*questions)]
        last = [(re.findall(r"\d+", text) or [""])[-1] for text in texts]
        return sum(answer == str(a + b) for answer, (a, b) in zip(last, sums, strict=True)) / SUMS

    assert await share_right(True) - await share_right(False) >= MARGIN


def test_it_is_small_and_its_card_calls_it_a_toy() -> None:
    folder = Path(pico_jupyter.__file__).parent / "builtin" / "pico-tiny"
    assert sum(file.stat().st_size for file in folder.iterdir()) < SIX_MEGABYTES
    assert "toy" in (folder / "README.md").read_text()
