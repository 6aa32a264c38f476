"""The openai SDK, unmodified, against a real Jupyter server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.e2e.running import RunningServer

SUM = [{"role": "user", "content": "What is 12 + 35?"}]


@pytest.fixture
def client(server: RunningServer) -> Any:
    with openai.OpenAI(base_url=server.url + "v1", api_key=server.token, max_retries=0) as client:
        yield client


def test_an_answer_is_whole_if_stream_is_omitted(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="pico-tiny", messages=SUM)
    assert "47" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_stream_holds_the_same_text_as_the_whole_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="pico-tiny", messages=SUM)
    chunks = list(client.chat.completions.create(model="pico-tiny", messages=SUM, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_usage_is_in_the_last_chunk_if_requested(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="pico-tiny", messages=SUM, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    assert last.choices == []
    assert last.usage.completion_tokens_details.reasoning_tokens > 0
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize(
    "switch",
    [
        {"reasoning": {"effort": "high", "summary": "auto"}},
        {"reasoning": "on"},
        {"reasoning_effort": "medium"},
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"think": True},
        {},
    ],
)
def test_reasoning_is_on_by_every_switch_and_by_default(client: openai.OpenAI, switch: dict[str, Any]) -> None:
    message = client.chat.completions.create(model="pico-tiny", messages=SUM, extra_body=switch).choices[0].message
    assert message.reasoning_content
    assert message.reasoning_content == message.reasoning
    assert "<think>" not in message.content
    assert "47" in message.content


@pytest.mark.parametrize(
    "switch",
    [
        {"reasoning": {"effort": "none"}},
        {"reasoning": {"effort": "low"}},
        {"reasoning": "off"},
        {"reasoning_effort": "none"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"think": False},
        {"think": False, "reasoning": "high"},
    ],
)
def test_reasoning_is_off_by_every_switch(client: openai.OpenAI, switch: dict[str, Any]) -> None:
    completion = client.chat.completions.create(model="pico-tiny", messages=SUM, extra_body=switch)
    assert not hasattr(completion.choices[0].message, "reasoning_content")
    assert completion.choices[0].message.content
    assert completion.usage.completion_tokens_details.reasoning_tokens == 0


def test_a_seed_makes_sampling_repeatable(client: openai.OpenAI) -> None:
    def draw(seed: int) -> str:
        answer = client.chat.completions.create(
            model="pico-tiny", messages=SUM, temperature=2.0, seed=seed, max_tokens=40, extra_body={"think": False}
        )
        return str(answer.choices[0].message.content)

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(2, 8)}) > 1


def test_several_choices_are_distinguished_by_their_index(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="pico-tiny", messages=SUM, n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert all("47" in choice.message.content for choice in completion.choices)


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="pico-tiny", messages=SUM).choices[0].message.content
    stop = whole[-2:]
    choice = client.chat.completions.create(model="pico-tiny", messages=SUM, stop=[stop]).choices[0]
    assert choice.message.content == whole[: whole.index(stop)]
    assert choice.finish_reason == "stop"


def test_a_token_limit_ends_the_answer_with_length(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="pico-tiny", messages=SUM, max_completion_tokens=3)
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 3


def test_logprobs_spell_the_answer(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(
        model="pico-tiny", messages=SUM, logprobs=True, top_logprobs=2, extra_body={"think": False}
    ).choices[0]
    spelled = b"".join(bytes(token.bytes or []) for token in choice.logprobs.content)
    assert choice.message.content.encode() in spelled
    assert all(token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob for token in choice.logprobs.content)


def test_logprobs_of_the_reasoning_are_apart_from_those_of_the_answer(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(
        model="pico-tiny", messages=SUM, logprobs=True, extra_body={"think": True}
    ).choices[0]
    spelled = b"".join(bytes(token.bytes or []) for token in choice.logprobs.content)
    reasoned = b"".join(bytes(token["bytes"]) for token in choice.logprobs.reasoning_content)
    assert spelled.decode().strip() == choice.message.content
    assert choice.message.reasoning_content.encode() in reasoned


def test_a_logit_bias_forbids_a_token(client: openai.OpenAI, server: RunningServer) -> None:
    plain = client.chat.completions.create(
        model="pico-tiny", messages=SUM, max_tokens=1, logprobs=True, extra_body={"think": False}
    )
    first = plain.choices[0].logprobs.content[0].token
    bias = {str(token): -100 for token in range(8, 1500)}
    biased = client.chat.completions.create(
        model="pico-tiny", messages=SUM, max_tokens=1, logprobs=True, logit_bias=bias, extra_body={"think": False}
    )
    assert biased.choices[0].logprobs.content[0].token != first


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_is_used(client: openai.OpenAI, stream: bool) -> None:
    weather = [{"role": "user", "content": "What is the weather in Paris?"}]
    function = {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    tools = [{"type": "function", "function": function}]
    if stream:
        with client.chat.completions.stream(model="pico-tiny", messages=weather, tools=tools) as events:
            choice = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model="pico-tiny", messages=weather, tools=tools).choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}
    asked = {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]}
    answer = client.chat.completions.create(model="pico-tiny", messages=[*weather, asked, result], tools=tools)
    assert "sunny, 21 degrees" in answer.choices[0].message.content


def test_the_models_are_listed_and_described(client: openai.OpenAI) -> None:
    assert "pico-tiny" in [model.id for model in client.models.list()]
    assert client.models.retrieve("pico-tiny").owned_by == "pico_jupyter"


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="The model 'absent' does not exist") as error:
        client.chat.completions.create(model="absent", messages=SUM)
    assert error.value.code == "model_not_found"


def test_a_wrong_field_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="pico-tiny", messages=SUM, temperature=3)
    assert error.value.param == "temperature"


def test_an_image_for_a_text_model_is_refused_with_the_reason(client: openai.OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError, match="cannot be loaded as a vision model"):
        client.chat.completions.create(model="pico-tiny", messages=[{"role": "user", "content": [image]}])


def test_a_wrong_key_is_an_authentication_error(server: RunningServer) -> None:
    unauthorized = openai.OpenAI(base_url=server.url + "v1", api_key="wrong", max_retries=0)
    with unauthorized, pytest.raises(openai.AuthenticationError):
        unauthorized.models.list()


def test_parallel_requests_get_the_same_answers_as_single_ones(server: RunningServer) -> None:
    questions = [
        f"What is {a} + {b}?" for a, b in [(1, 2), (12, 35), (250, 4), (99, 1), (7, 7), (31, 64), (5, 80), (3, 3)]
    ]

    async def ask_all() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=server.url + "v1", api_key=server.token) as client:

            async def ask(question: str) -> str:
                messages: Any = [{"role": "user", "content": question}]
                answer = await client.chat.completions.create(model="pico-tiny", messages=messages)
                return str(answer.choices[0].message.content)

            alone = [await ask(question) for question in questions]
            return alone, await asyncio.gather(*map(ask, questions))

    alone, together = asyncio.run(ask_all())
    assert together == alone


def test_every_frame_of_a_stream_is_a_strict_chunk(server: RunningServer) -> None:
    body = {"model": "pico-tiny", "messages": SUM, "stream": True, "stream_options": {"include_usage": True}}
    with server.http() as http, http.stream("POST", "v1/chat/completions", json=body) as response:
        raw = response.read()
    frames = raw.decode("ascii").split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    for frame in frames[:-2]:
        chunk = ChatCompletionChunk.model_validate(json.loads(frame.removeprefix("data: ")), strict=True)
        assert chunk.object == "chat.completion.chunk"
