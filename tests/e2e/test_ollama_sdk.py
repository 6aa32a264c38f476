"""The ollama SDK, unmodified, against a real Jupyter server."""

from __future__ import annotations

from typing import Any

import ollama
import pytest

from tests.e2e.running import RunningServer

SUM = [{"role": "user", "content": "What is 12 + 35?"}]


@pytest.fixture(params=["", "pico"], ids=["root mount", "pico mount"])
def client(server: RunningServer, request: pytest.FixtureRequest) -> Any:
    client = ollama.Client(host=server.url + request.param, headers=server.headers)
    yield client
    client._client.close()


def test_a_chat_is_answered(client: ollama.Client) -> None:
    answer = client.chat("pico-tiny", SUM)
    assert "47" in answer.message.content
    assert answer.done_reason == "stop"
    assert answer.total_duration >= answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    assert answer.eval_count > 0


def test_a_chat_streams_thinking_apart_from_the_answer(client: ollama.Client) -> None:
    chunks = list(client.chat("pico-tiny", SUM, think=True, stream=True))
    assert not any(chunk.message.thinking and chunk.message.content for chunk in chunks)
    assert "".join(chunk.message.thinking or "" for chunk in chunks)
    assert "47" in "".join(chunk.message.content for chunk in chunks)
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_a_chat_without_thinking_has_none(client: ollama.Client) -> None:
    answer = client.chat("pico-tiny", SUM, think=False)
    assert answer.message.thinking is None
    assert answer.message.content


def test_a_prompt_is_completed(client: ollama.Client) -> None:
    answer = client.generate("pico-tiny", "What is 12 + 35?")
    assert "47" in answer.response
    assert answer.thinking
    assert answer.context


def test_a_raw_prompt_reaches_the_model_unchanged(client: ollama.Client) -> None:
    prompt = "<|im_start|>user\nWhat is 12 + 35?<|im_end|>\n<|im_start|>assistant\n"
    answer = client.generate("pico-tiny", prompt, raw=True)
    assert "47" in answer.response
    assert answer.context is None


@pytest.mark.parametrize("think", [None, True, False])
def test_a_last_answer_is_continued_without_reasoning(client: ollama.Client, think: bool | None) -> None:
    answer = client.chat("pico-tiny", [*SUM, {"role": "assistant", "content": "12 + 35 ="}], think=think)
    assert answer.message.content.strip() == "47"
    assert answer.message.thinking is None


def test_a_num_predict_of_0_is_no_limit(client: ollama.Client) -> None:
    answer = client.chat("pico-tiny", SUM, think=False, options={"num_predict": 0})
    assert "47" in answer.message.content
    assert answer.done_reason == "stop"


def test_options_reach_the_engine(client: ollama.Client) -> None:
    answer = client.chat("pico-tiny", SUM, options={"num_predict": 2, "temperature": 0})
    assert answer.eval_count == 2
    assert answer.done_reason == "length"


def test_a_tool_is_called_with_arguments_as_an_object(client: ollama.Client) -> None:
    def get_weather(city: str) -> str:
        """Get the current weather in a city.

        Args:
            city: The city.
        """
        return f"sunny in {city}"

    answer = client.chat(
        "pico-tiny", [{"role": "user", "content": "What is the weather in Paris?"}], tools=[get_weather]
    )
    [call] = answer.message.tool_calls
    assert (call.function.name, dict(call.function.arguments)) == ("get_weather", {"city": "Paris"})


def test_the_models_are_listed_with_their_details(client: ollama.Client) -> None:
    [model] = [model for model in client.list().models if model.model == "pico-tiny:latest"]
    assert model.details.family == "qwen3"
    assert model.size > 0


def test_a_model_is_shown(client: ollama.Client) -> None:
    shown = client.show("pico-tiny")
    assert shown.modelinfo["general.architecture"] == "qwen3"
    assert {"completion", "thinking", "tools"} <= set(shown.capabilities)


def test_a_loaded_model_is_seen_until_it_is_unloaded(client: ollama.Client) -> None:
    assert client.generate("pico-tiny", keep_alive="1h").done_reason == "load"
    model = {model.name: model for model in client.ps().models}["pico-tiny:latest"]
    assert 0 < model.size_vram <= model.size
    assert client.generate("pico-tiny", keep_alive=0).done_reason == "unload"
    assert "pico-tiny:latest" not in {model.name for model in client.ps().models}


def test_an_unknown_model_is_not_found(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'absent' not found") as error:
        client.chat("absent", SUM)
    assert error.value.status_code == 404


@pytest.mark.parametrize(
    ("method", "arguments", "status", "message"),
    [
        ("delete", ("pico-tiny",), 403, "pico-tiny is part of pico_jupyter and cannot be deleted"),
        ("copy", ("a", "b"), 501, "not supported"),
        ("create", ("a",), 501, "not supported"),
        ("push", ("a",), 501, "not supported"),
    ],
)
def test_an_operation_that_is_not_offered_is_refused(
    client: ollama.Client, method: str, arguments: tuple[str, ...], status: int, message: str
) -> None:
    with pytest.raises(ollama.ResponseError) as refused:
        getattr(client, method)(*arguments)
    assert (refused.value.status_code, refused.value.error) == (status, message)
