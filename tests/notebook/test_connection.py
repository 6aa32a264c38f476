"""pico_jupyter.connect(): the real engine in this process, and real servers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from PIL import Image, ImageDraw

import pico_jupyter
from pico_jupyter.engine.catalog.catalog import BUILTIN_DIR
from pico_jupyter.errors import (
    EngineUnavailable,
    InvalidRequest,
    ModelNotFound,
    Unauthenticated,
)
from pico_jupyter.notebook import Pico, connect
from pico_jupyter.sources.background import shared_loop
from pico_jupyter.sources.calls import FinishPiece, ReasoningPiece, TextPiece
from pico_jupyter.sources.discovery import shared_engine
from tests.e2e.running import RunningServer, wait_for
from tests.fakes.hub import FakeHub
from tests.fakes.source import FakeSource

LONG = "Repeat after me: " + "a b c d e f g h " * 30


@pytest.fixture(params=["engine", "server"])
def pico(request: pytest.FixtureRequest) -> Iterator[Pico]:
    if request.param == "engine":
        yield Pico(shared_engine(), shared_loop())
    else:
        server: RunningServer = request.getfixturevalue("server")
        yield connect(url=server.url, token=server.token)


def test_a_model_is_pulled_with_a_progress_bar_and_removed(
    server: RunningServer, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("org/from-notebook", BUILTIN_DIR / "pico-tiny")
    pico = connect(url=server.url, token=server.token)
    pico.pull("org/from-notebook")
    assert "org/from-notebook: 100%" in capsys.readouterr().err
    assert "from-notebook" in pico.models.names
    assert pico.remove("from-notebook") > 2_000_000
    assert "from-notebook" not in pico.models.names


def circle() -> Image.Image:
    image = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(image).ellipse((50, 50, 150, 150), fill="red")
    return image


def test_it_is_part_of_the_public_surface() -> None:
    assert pico_jupyter.connect is connect


def test_it_answers(pico: Pico) -> None:
    answer = pico.chat("What is 348 + 277?", reasoning=True, temperature=0)
    assert answer.text == str(answer) == "348 + 277 = 625"
    assert answer.reasoning.endswith("625")
    assert (answer.model, answer.finish_reason) == ("pico-tiny", "stop")
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.reasoning_tokens < answer.usage.completion_tokens
    assert pico.last is answer


def test_reasoning_can_be_switched_off(pico: Pico) -> None:
    answer = pico.chat("What is 12 + 35?", reasoning="off", temperature=0)
    assert answer.reasoning == ""
    assert answer.usage.reasoning_tokens == 0


def test_a_continued_conversation_reuses_the_prefix_cache(pico: Pico) -> None:
    first = pico.chat("My name is Ada.", system="Be brief.", temperature=0, reasoning=False)
    second = pico.chat("What is my name?", history=first, temperature=0, reasoning=False)
    assert "Ada" in second.text
    assert second.usage.cached_tokens > 0
    assert [message["role"] for message in second.messages] == ["system", *["user", "assistant"] * 2]
    assert (
        pico.chat("What is my name?", history=second.messages[:3], temperature=0, reasoning=False).text == second.text
    )


def test_it_streams(pico: Pico) -> None:
    pieces = pico.chat("What is 12 + 35?", reasoning="on", temperature=0, stream=True)
    kinds = [type(piece) for piece in pieces]
    assert ReasoningPiece in kinds
    assert TextPiece in kinds
    assert FinishPiece in kinds
    assert pieces.answer.text == "12 + 35 = 47"


async def test_it_answers_inside_a_running_event_loop(pico: Pico) -> None:
    assert pico.chat("What is 12 + 35?", temperature=0).text == "12 + 35 = 47"


async def test_coroutines_are_answered_concurrently(pico: Pico) -> None:
    answers = await asyncio.gather(*(pico.achat(f"What is {n} + 35?", temperature=0) for n in (12, 13, 14)))
    assert [answer.text for answer in answers] == [f"{n} + 35 = {n + 35}" for n in (12, 13, 14)]


async def test_coroutines_stream(pico: Pico) -> None:
    pieces = pico.achat("What is 12 + 35?", temperature=0, stream=True)
    assert "".join([piece.text async for piece in pieces if isinstance(piece, TextPiece)]) == "12 + 35 = 47"


def test_a_coroutine_can_be_created_without_a_running_loop(pico: Pico) -> None:
    assert asyncio.run(pico.achat("What is 12 + 35?", temperature=0)).text == "12 + 35 = 47"


def test_the_same_seed_samples_the_same_answer(pico: Pico) -> None:
    drawn = [pico.chat("Tell me something.", temperature=2, seed=5, max_tokens=20).text for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert pico.chat("Tell me something.", temperature=2, seed=6, max_tokens=20).text != drawn[0]


def test_a_token_limit_is_the_finish_reason(pico: Pico) -> None:
    answer = pico.chat(LONG, max_tokens=5, reasoning=False)
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_images_are_sent_to_a_model_with_vision(pico: Pico) -> None:
    answer = pico.chat("What is in the picture?", images=[circle()], temperature=0)
    assert (answer.model, answer.text) == ("pico-tiny-vl", "A red circle on a white background.")
    array = np.asarray(circle()) / 255
    assert pico.chat("What is in the picture?", images=array, temperature=0).text == answer.text
    assert pico.chat("What color is it?", history=answer, temperature=0).model == "pico-tiny-vl"


def test_models_are_listed_loaded_and_unloaded(pico: Pico) -> None:
    pico.load("pico-tiny")
    models = {model.name: model for model in pico.models}
    assert (models["pico-tiny"].resident or 0) > 0
    assert "thinking" in models["pico-tiny"].capabilities
    assert (models["pico-tiny"].context, models["pico-tiny"].parameters) == (4096, "1.4M")
    pico.unload("pico-tiny")
    wait_for(lambda: {model.name: model.resident for model in pico.models}["pico-tiny"] is None)


def test_errors_keep_the_class_of_the_engine(pico: Pico) -> None:
    for fails in (pico.load, pico.unload, lambda name: pico.chat("hi", model=name)):
        with pytest.raises(ModelNotFound, match="absent"):
            fails("absent")
    with pytest.raises(InvalidRequest, match="image"):
        pico.chat("What is it?", model="pico-tiny", images=circle())
    with pytest.raises(InvalidRequest):
        pico.chat("What is it?", images=b"no picture")
    assert pico.last is not None
    assert pico.last.finish_reason == "failed"


def test_an_engine_in_this_process_refuses_urls() -> None:
    pico = Pico(shared_engine(), shared_loop())
    with pytest.raises(InvalidRequest, match="does not fetch URLs"):
        pico.chat("What is it?", images="https://example.com/a.png")


def test_the_default_model_can_be_assigned() -> None:
    source = FakeSource(TextPiece("hi"), FinishPiece("stop"))
    pico = Pico(source, shared_loop())
    assert pico.default_model == "tiny"
    pico.default_model = "large"
    pico.chat("hi")
    assert (pico.default_model, source.calls[0].model) == ("large", "large")


def test_sdks_are_configured_for_the_server(server: RunningServer) -> None:
    pico = connect(url=server.url, token=server.token)
    messages = [{"role": "user", "content": "What is 12 + 35?"}]
    with pico.openai() as client:
        answer = client.chat.completions.create(model="pico-tiny", messages=messages, temperature=0)
    assert answer.choices[0].message.content == "12 + 35 = 47"
    with closing(pico.ollama()) as other:
        assert other.chat("pico-tiny", messages, think=False).message.content


async def test_sdks_for_coroutines_are_configured_too(server: RunningServer) -> None:
    pico = connect(url=server.url, token=server.token)
    async with pico.aopenai() as other:
        assert "pico-tiny" in [model.id async for model in other.models.list()]
    client = pico.aollama()
    assert (await client.list()).models
    await client.close()


def test_the_same_server_gives_the_same_connection(server: RunningServer) -> None:
    pico = connect(url=server.url, token=server.token)
    assert connect(url=server.url.rstrip("/"), token=server.token) is pico
    assert repr(pico) == "<Pico: the Jupyter server at 127.0.0.1>"


def test_a_server_that_was_named_must_answer(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match=r"url: 'localhost:8888' is not an address like"):
        connect(url="localhost:8888")
    with pytest.raises(EngineUnavailable, match=r"there is no pico_jupyter server at http://127\.0\.0\.1:9/"):
        connect(url="http://127.0.0.1:9")
    with pytest.raises(Unauthenticated):
        connect(url=server.url, token="wrong")
    monkeypatch.setenv("PICO_JUPYTER_URL", "http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable, match=r"127.0.0.1:9"):
        connect()


def test_without_a_server_an_engine_answers_and_the_process_ends() -> None:
    code = "import pico_jupyter as p; a = p.connect(); print(a, a is p.connect(), a.chat('What is 12 + 35?'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "<Pico: an engine in this kernel> True 12 + 35 = 47\n"
    assert done.stderr == ""
