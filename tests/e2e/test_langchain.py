"""LangChain's two chat models, unmodified, against a real Jupyter server."""

from __future__ import annotations

from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

from tests.e2e.running import RunningServer

QUESTION = "What is 12 + 35?"


def test_chat_openai_invokes_and_streams(server: RunningServer) -> None:
    model = ChatOpenAI(model="pico-tiny", base_url=server.url + "v1", api_key=server.token, stream_usage=True)
    answer = model.invoke(QUESTION)
    assert "47" in answer.content
    assert answer.usage_metadata["output_tokens"] > 0
    streamed = list(model.stream(QUESTION))
    assert "".join(str(chunk.content) for chunk in streamed) == answer.content


def test_chat_ollama_invokes_and_streams_with_reasoning(server: RunningServer) -> None:
    model = ChatOllama(
        model="pico-tiny",
        base_url=server.url,
        client_kwargs={"headers": server.headers},
        reasoning=True,
        validate_model_on_init=True,
    )
    answer = model.invoke(QUESTION)
    assert "47" in answer.content
    assert answer.additional_kwargs["reasoning_content"]
    streamed = list(model.stream(QUESTION))
    assert "".join(str(chunk.content) for chunk in streamed) == answer.content


def test_chat_ollama_takes_the_token_from_the_url(server: RunningServer) -> None:
    url = server.url.replace("http://", f"http://user:{server.token}@")
    assert "47" in ChatOllama(model="pico-tiny", base_url=url).invoke(QUESTION).content
