"""LangChain's two chat models, unmodified, against a real Jupyter server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

from tests.e2e.running import RunningServer

QUESTION = "What is 12 + 35?"


@contextmanager
def chat_ollama(base_url: str, **options: Any) -> Iterator[ChatOllama]:
    """A ChatOllama whose connections are closed at the end, which it has no method for."""
    model = ChatOllama(model="pico-tiny", base_url=base_url, **options)
    try:
        yield model
    finally:
        model._client._client.close()


def test_chat_openai_invokes_and_streams(server: RunningServer) -> None:
    with httpx.Client(timeout=60) as http:
        model = ChatOpenAI(model="pico-tiny", base_url=server.url + "v1", api_key=server.token, http_client=http)
        answer = model.invoke(QUESTION)
        assert "47" in answer.content
        assert answer.usage_metadata["output_tokens"] > 0
        streamed = list(model.stream(QUESTION))
        assert "".join(str(chunk.content) for chunk in streamed) == answer.content


def test_chat_ollama_invokes_and_streams_with_reasoning(server: RunningServer) -> None:
    headers = {"headers": server.headers}
    with chat_ollama(server.url, client_kwargs=headers, reasoning=True, validate_model_on_init=True) as model:
        answer = model.invoke(QUESTION)
        assert "47" in answer.content
        assert answer.additional_kwargs["reasoning_content"]
        streamed = list(model.stream(QUESTION))
        assert "".join(str(chunk.content) for chunk in streamed) == answer.content


def test_chat_ollama_reads_the_token_from_the_url(server: RunningServer) -> None:
    with chat_ollama(server.url.replace("http://", f"http://user:{server.token}@")) as model:
        assert "47" in model.invoke(QUESTION).content
