"""The question Embed to a real engine with a tiny model: texts, tokens, limits, errors and aborts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from pico_jupyter.engine.catalog.catalog import Catalog
from pico_jupyter.engine.engine import Engine
from pico_jupyter.engine.local_client import LocalEngineClient, client_of
from pico_jupyter.engine_reports import Embeddings
from pico_jupyter.errors import ContextLengthExceeded, InvalidRequest, PicoError
from pico_jupyter.questions import Embed, ListResident, LoadModel
from pico_jupyter.types import ChatPrompt, EngineOptions, GenerationRequest, Message, TextPart
from tests.engine.embedding_models import WORDS, write_bert

LONG = "the cat sat " * 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngineClient]:
    folder = tmp_path_factory.mktemp("models")
    write_bert(folder / "tiny-bert")
    running = Engine(Catalog(EngineOptions(model_dirs=(str(folder),)), environ={}, hub_cache=None), EngineOptions())
    running.start()
    yield client_of(running)
    running.close()


async def embed(engine: LocalEngineClient, *inputs: str | tuple[int, ...], **fields: object) -> Embeddings:
    return await engine.ask(Embed("tiny-bert", inputs, **fields))  # type: ignore[arg-type]  # any field of Embed


async def refused(engine: LocalEngineClient, *inputs: str | tuple[int, ...], **fields: object) -> PicoError:
    with pytest.raises(InvalidRequest) as caught:
        await embed(engine, *inputs, **fields)
    return caught.value


async def test_each_text_gets_a_vector_and_special_tokens_are_counted(engine: LocalEngineClient) -> None:
    answer = await embed(engine, "the cat", "a dog ran")
    assert (answer.model, len(answer.vectors), answer.prompt_tokens) == ("tiny-bert", 2, 9)
    assert {len(vector) for vector in answer.vectors} == {16 * 4}
    assert answer.timings.total_ns > 0


async def test_tokens_are_embedded_as_they_are(engine: LocalEngineClient) -> None:
    tokens = tuple(WORDS.index(word) for word in ("[CLS]", "the", "cat", "[SEP]"))
    answer = await embed(engine, "the cat", tokens)
    assert answer.vectors[0] == answer.vectors[1]


async def test_the_same_text_has_the_same_vector_in_any_batch(engine: LocalEngineClient) -> None:
    alone, *others = await asyncio.gather(
        embed(engine, "the cat"), *(embed(engine, "a dog ran on", "the cat", "it was red and blue") for _ in range(8))
    )
    expected = np.frombuffer(alone.vectors[0], np.float32)
    for answer in others:
        np.testing.assert_allclose(np.frombuffer(answer.vectors[1], np.float32), expected, atol=1e-5)


async def test_dimensions_shorten_the_vectors(engine: LocalEngineClient) -> None:
    answer = await embed(engine, "the cat", dimensions=4)
    vector = np.frombuffer(answer.vectors[0], np.float32)
    assert vector.shape == (4,)
    assert np.linalg.norm(vector) == pytest.approx(1)


@pytest.mark.parametrize("dimensions", [0, 17])
async def test_dimensions_out_of_range_are_refused(engine: LocalEngineClient, dimensions: int) -> None:
    error = await refused(engine, "the cat", dimensions=dimensions)
    assert (error.param, error.message) == ("dimensions", "dimensions must be between 1 and 16 for tiny-bert")


async def test_a_long_text_is_cut_or_refused(engine: LocalEngineClient) -> None:
    cut = await embed(engine, LONG, truncate=True)
    assert cut.prompt_tokens == 32
    error = await refused(engine, "the cat", LONG)
    assert isinstance(error, ContextLengthExceeded)
    assert error.message == "input[1] has more tokens than the model's maximum context length of 32"


async def test_a_cut_text_keeps_the_special_token_at_its_end(engine: LocalEngineClient) -> None:
    words = LONG.split()[:30]
    answer = await embed(engine, LONG, " ".join(words), truncate=True)
    assert answer.vectors[0] == answer.vectors[1]


async def test_a_very_long_text_is_not_encoded_as_a_whole_before_it_is_cut(engine: LocalEngineClient) -> None:
    answer = await embed(engine, "the cat sat " * 1_000_000, truncate=True)
    assert answer.prompt_tokens == 32


async def test_invalid_inputs_are_named(engine: LocalEngineClient) -> None:
    assert (await refused(engine, (2, 999))).message.startswith(
        "input[0]: token 999 is not one of the model's 19 tokens"
    )
    assert (await refused(engine, "a", (), params=("query", "documents[0]"))).message == "documents[0] is empty"


async def test_a_chat_model_does_not_embed_and_the_error_names_the_models_that_do(engine: LocalEngineClient) -> None:
    with pytest.raises(InvalidRequest, match=r"pico-tiny does not support embeddings\. Embedding models: .*tiny-bert"):
        await engine.ask(Embed("pico-tiny", ("the cat",)))


async def test_an_embedding_model_does_not_chat(engine: LocalEngineClient) -> None:
    prompt = ChatPrompt((Message("user", (TextPart("hi"),)),))
    with pytest.raises(InvalidRequest, match="tiny-bert is an embedding model and does not generate text"):
        async for _ in engine.generate(GenerationRequest("1", "tiny-bert", prompt)):
            pass


async def test_an_embedding_model_is_loaded_and_listed_like_any_other(engine: LocalEngineClient) -> None:
    await engine.ask(LoadModel("tiny-bert", 60.0))
    resident = await engine.ask(ListResident())
    assert "tiny-bert" in [model.info.name for model in resident]


async def has_work(engine: LocalEngineClient) -> bool:
    return any(model.active for model in await engine.ask(ListResident()))


async def until(engine: LocalEngineClient, *, works: bool) -> None:
    for _ in range(2000):
        if await has_work(engine) is works:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the engine has {'no ' if works else ''}work")


async def test_cancelling_ends_the_work(engine: LocalEngineClient) -> None:
    work = asyncio.ensure_future(embed(engine, *["the cat sat on"] * 50_000))
    await until(engine, works=True)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await until(engine, works=False)
