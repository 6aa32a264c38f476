"""Embeddings over HTTP by the openai and ollama SDKs and LangChain, unmodified, beside a chat."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import ollama
import openai
import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_ollama import OllamaEmbeddings
from langchain_openai import OpenAIEmbeddings
from openai.types import CreateEmbeddingResponse

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.notebook import Pico, connect
from tests.e2e.running import RunningServer, wait_for

MODEL = "tiny-embed"
TEXTS = ["the cat sat on a mat", "a dog ran", "it was red and blue"]


@pytest.fixture
def client(embedding_server: RunningServer) -> Iterator[openai.OpenAI]:
    base_url, key = embedding_server.url + "v1", embedding_server.token
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(embedding_server: RunningServer) -> Iterator[ollama.Client]:
    client = ollama.Client(host=embedding_server.url, headers=embedding_server.headers)
    yield client
    client._client.close()


@pytest.fixture
def pico(embedding_server: RunningServer) -> Pico:
    return connect(url=embedding_server.url, token=embedding_server.token)


@contextmanager
def ollama_embeddings(server: RunningServer) -> Iterator[OllamaEmbeddings]:
    """An OllamaEmbeddings whose connections are closed at the end, which it has no method for."""
    model = OllamaEmbeddings(model=MODEL, base_url=server.url, client_kwargs={"headers": server.headers})
    try:
        yield model
    finally:
        assert model._client is not None
        model._client._client.close()


def test_the_openai_sdk_gets_vectors_as_floats_and_in_base64(client: openai.OpenAI) -> None:
    # The SDK asks for base64 unless encoding_format is given, and decodes it.
    decoded = client.embeddings.create(model=MODEL, input=TEXTS)
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    assert [one.index for one in floats.data] == [0, 1, 2]
    for one, other in zip(decoded.data, floats.data, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
    assert floats.usage.prompt_tokens == floats.usage.total_tokens == sum(len(text.split()) + 2 for text in TEXTS)


def test_the_answer_has_exactly_the_fields_of_the_openai_sdk(embedding_server: RunningServer) -> None:
    with embedding_server.http() as http:
        answer = http.post("v1/embeddings", json={"model": MODEL, "input": TEXTS}).json()
    parsed = CreateEmbeddingResponse.model_validate(answer, strict=True)
    assert parsed.model_dump() == answer


def test_the_openai_sdk_sends_tokens_and_dimensions(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input=[[2, 5, 3], [2, 4, 3]], dimensions=4)
    assert [len(one.embedding) for one in answer.data] == [4, 4]


def test_errors_reach_the_openai_sdk(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="input has more tokens") as caught:
        client.embeddings.create(model=MODEL, input="the cat " * 50)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="pico-tiny does not support embeddings"):
        client.embeddings.create(model="pico-tiny", input="a")
    with pytest.raises(openai.BadRequestError, match="tiny-embed is an embedding model"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="absent", input="a")


def test_the_ollama_sdk_gets_vectors(ollama_client: ollama.Client, client: openai.OpenAI) -> None:
    answer = ollama_client.embed(MODEL, TEXTS, keep_alive="1h")
    expected = client.embeddings.create(model=MODEL, input=TEXTS)
    np.testing.assert_allclose(answer.embeddings, [one.embedding for one in expected.data], atol=1e-5)
    assert answer.prompt_eval_count == expected.usage.prompt_tokens
    assert answer.total_duration >= (answer.load_duration or 0)
    old = ollama_client.embeddings(MODEL, TEXTS[0])
    np.testing.assert_allclose(old.embedding, answer.embeddings[0], atol=1e-5)


def test_the_ollama_sdk_cuts_long_texts_unless_it_may_not(ollama_client: ollama.Client) -> None:
    assert ollama_client.embed(MODEL, "the cat " * 50).prompt_eval_count == 32
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length"):
        ollama_client.embed(MODEL, "the cat " * 50, truncate=False)


def test_an_embedding_model_says_so_in_the_lists(ollama_client: ollama.Client) -> None:
    shown = ollama_client.show(MODEL)
    assert shown.capabilities == ["embedding"]
    assert shown.modelinfo["bert.embedding_length"] == 16


def test_documents_are_ranked(embedding_server: RunningServer) -> None:
    body = {"model": MODEL, "query": TEXTS[1], "documents": TEXTS, "top_n": 2, "return_documents": True}
    with embedding_server.http() as http:
        ranked = http.post("v1/rerank", json=body).json()["results"]
    assert ranked[0] == {"index": 1, "relevance_score": pytest.approx(1), "document": {"text": TEXTS[1]}}
    assert len(ranked) == 2


def test_langchain_retrieves_with_openai_and_ollama_embeddings(embedding_server: RunningServer) -> None:
    base_url = embedding_server.url + "v1"
    with httpx.Client() as http, ollama_embeddings(embedding_server) as of_ollama:
        of_openai = OpenAIEmbeddings(
            model=MODEL,
            base_url=base_url,
            api_key=embedding_server.token,
            http_client=http,
            check_embedding_ctx_length=False,
        )
        for embeddings in (of_openai, of_ollama):
            store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
            assert store.as_retriever(search_kwargs={"k": 1}).invoke(TEXTS[2])[0].page_content == TEXTS[2]


def test_pico_embeds_texts_as_an_array(pico: Pico) -> None:
    vectors = pico.embed(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((3, 16), np.float32)
    np.testing.assert_allclose(vectors[1:2], pico.embed(TEXTS[1], model=MODEL), atol=1e-5)
    assert pico.embed(TEXTS, dimensions=4).shape == (3, 4)


async def test_pico_embeds_in_a_coroutine(pico: Pico) -> None:
    np.testing.assert_allclose(await pico.aembed(TEXTS), pico.embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize("texts", [[], [1]])
def test_pico_refuses_texts_that_are_none(pico: Pico, texts: Any) -> None:
    with pytest.raises(InvalidRequest, match="texts must be a string, or one or more strings"):
        pico.embed(texts)


def test_pico_names_a_wrong_argument(pico: Pico) -> None:
    with pytest.raises(InvalidRequest, match="dimensions must be between 1 and 16"):
        pico.embed("a", dimensions=99)


def test_a_chat_is_answered_while_many_texts_are_embedded(
    embedding_server: RunningServer, client: openai.OpenAI
) -> None:
    body = {"model": MODEL, "input": TEXTS * 3000, "encoding_format": "base64"}
    question = [{"role": "user", "content": "What is 12 + 35?"}]
    with embedding_server.http() as http, ThreadPoolExecutor(1) as executor:
        embedding = executor.submit(http.post, "v1/embeddings", json=body, timeout=120)
        chat = client.chat.completions.create(model="pico-tiny", messages=question)  # type: ignore[arg-type]  # a plain dict
        is_chat_first = not embedding.done()
        answer = embedding.result()
    assert is_chat_first
    assert "47" in (chat.choices[0].message.content or "")
    vectors = [base64.b64decode(one["embedding"]) for one in answer.json()["data"]]
    assert len(vectors) == 9000


def test_closing_the_connection_ends_the_work(embedding_server: RunningServer) -> None:
    with embedding_server.http() as http:
        with pytest.raises(httpx.ReadTimeout):
            http.post("v1/embeddings", json={"model": MODEL, "input": TEXTS * 20_000}, timeout=1)
        aborted = 'endpoint="v1/embeddings",outcome="aborted"'
        wait_for(lambda: aborted in http.get("metrics").text)
        wait_for(lambda: "pico_jupyter_requests_running 0.0" in http.get("metrics").text)
