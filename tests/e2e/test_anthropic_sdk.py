"""The anthropic SDK and LangChain's ChatAnthropic, unmodified, against a real Jupyter server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage

from tests.e2e.running import RunningServer
from tests.e2e.shapes import data_url, drawn, png

SUM: list[Any] = [{"role": "user", "content": "What is 12 + 35?"}]
TOOL: dict[str, Any] = {
    "name": "add",
    "description": "Adds two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
}
ASK: dict[str, Any] = {"model": "pico-tiny", "max_tokens": 200, "messages": SUM}


@pytest.fixture
def client(server: RunningServer) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=server.url, api_key=server.token, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_an_answer_has_reasoning_text_and_counts(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**ASK)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert "47" in text_of(message)
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > message.usage.output_tokens_details.thinking_tokens > 0


def test_a_stream_holds_the_same_blocks_as_the_whole_answer(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**ASK)
    with client.messages.stream(**ASK) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    kept = {"type", "text", "thinking", "signature"}
    assert [block.model_dump(include=kept) for block in streamed.content] == [
        block.model_dump(include=kept) for block in whole.content
    ]
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_reasoning_is_off_by_the_switch_and_ends_at_its_budget(client: anthropic.Anthropic) -> None:
    off = client.messages.create(**ASK, thinking={"type": "disabled"})
    assert [block.type for block in off.content] == ["text"]
    short = client.messages.create(**ASK, extra_body={"thinking": {"type": "enabled", "budget_tokens": 5}})
    assert short.usage.output_tokens_details.thinking_tokens < 20
    assert "text" in [block.type for block in short.content]


def test_the_bearer_token_is_accepted_too(server: RunningServer) -> None:
    with anthropic.Anthropic(base_url=server.url, auth_token=server.token, max_retries=0) as client:
        assert "47" in text_of(client.messages.create(**ASK))


def test_a_forced_tool_is_called_and_its_result_is_answered(client: anthropic.Anthropic) -> None:
    forced = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "add"}, "thinking": {"type": "disabled"}}
    message = client.messages.create(**ASK, **forced)
    [call] = message.content
    assert (message.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "add")
    assert call.input.keys() == {"a", "b"}
    with client.messages.stream(**ASK, **forced) as stream:
        assert stream.get_final_message().content[0].input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "47"}]}
    turns = [*SUM, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(**{**ASK, "messages": turns}, tools=[TOOL])
    assert answer.stop_reason in ("end_turn", "tool_use", "max_tokens")


def test_a_stop_sequence_is_reported(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**ASK, stop_sequences=["="])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "=")
    assert "=" not in text_of(message)


def test_an_answer_matches_its_schema(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    config: Any = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    message = client.messages.create(**ASK, output_config=config, thinking={"type": "disabled"})
    assert json.loads(text_of(message)).keys() == {"sum"}


def test_tokens_are_counted_as_an_answer_counts_them(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="pico-tiny", messages=SUM, system="Be brief.", tools=[TOOL])
    usage = client.messages.create(**ASK, system="Be brief.", tools=[TOOL]).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_an_image_is_seen(client: anthropic.Anthropic) -> None:
    _, _, data = data_url("image/png", png(drawn("red"))).partition(",")
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    question = {"type": "text", "text": "What color is the circle?"}
    turns: Any = [{"role": "user", "content": [image, question]}]
    ask = {"model": "pico-tiny-vl", "messages": turns}
    assert "red" in text_of(client.messages.create(**ask, max_tokens=50)).lower()
    assert client.messages.count_tokens(**ask).input_tokens > 20


def test_models_are_listed_and_described(client: anthropic.Anthropic) -> None:
    assert "pico-tiny" in [model.id for model in client.models.list()]
    assert client.models.retrieve("pico-tiny").max_input_tokens == 4096


def test_errors_have_the_classes_of_the_sdk(client: anthropic.Anthropic, server: RunningServer) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(**{**ASK, "model": "claude"})
    assert unknown.value.request_id == unknown.value.body["request_id"]
    with pytest.raises(anthropic.BadRequestError, match="web_search_20250305"):
        client.messages.create(**ASK, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    with (
        anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(**ASK)


def test_chat_anthropic_invokes_streams_and_calls_tools(server: RunningServer) -> None:
    model = ChatAnthropic(model="pico-tiny", base_url=server.url, api_key=server.token, max_tokens=200)
    answer = model.invoke("What is 12 + 35?")
    assert "47" in answer.text
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.text for chunk in model.stream("What is 12 + 35?")) == answer.text
    bound = model.bind_tools([TOOL], tool_choice="add")
    [call] = bound.invoke("What is 12 + 35?").tool_calls
    assert (call["name"], call["args"].keys()) == ("add", {"a", "b"})
    assert model.get_num_tokens_from_messages([HumanMessage("What is 12 + 35?")]) > 5
