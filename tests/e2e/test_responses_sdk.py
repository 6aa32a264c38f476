"""The Responses API of the openai SDK and of openai-agents, unmodified, against a real Jupyter server."""

from __future__ import annotations

from typing import Any, Literal

import openai
import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel

from tests.e2e.running import RunningServer

ASK = {"model": "pico-tiny", "input": "What is 12 + 35?"}
OFF = {"reasoning": {"effort": "none"}}
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}


class Verdict(BaseModel):
    verdict: Literal["yes", "no"]


@pytest.fixture
def client(server: RunningServer) -> Any:
    with openai.OpenAI(base_url=server.url + "v1", api_key=server.token, max_retries=0) as client:
        yield client


def test_a_response_has_reasoning_and_text(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASK)
    assert "47" in response.output_text
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].content[0].text
    assert response.usage.output_tokens_details.reasoning_tokens > 0


def test_reasoning_is_off_by_its_effort(client: openai.OpenAI) -> None:
    assert [item.type for item in client.responses.create(**ASK, **OFF).output] == ["message"]


def test_a_stream_has_the_text_of_the_whole_response(client: openai.OpenAI) -> None:
    whole = client.responses.create(**ASK, temperature=0)
    with client.responses.stream(**ASK, temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text


def test_a_conversation_continues_and_can_be_read_and_deleted(client: openai.OpenAI) -> None:
    first = client.responses.create(**ASK, **OFF)
    second = client.responses.create(model="pico-tiny", input="And 1 + 1?", previous_response_id=first.id, **OFF)
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert [item.role for item in client.responses.input_items.list(second.id)] == ["user", "assistant", "user"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_items_of_an_answer_can_be_sent_back(client: openai.OpenAI) -> None:
    first = client.responses.create(**ASK, store=False, include=["reasoning.encrypted_content"])
    assert first.output[0].encrypted_content
    items = [{"role": "user", "content": ASK["input"]}, *first.output, {"role": "user", "content": "And 1 + 1?"}]
    assert client.responses.create(model="pico-tiny", input=items, store=False).status == "completed"


def test_the_text_is_parsed_as_a_model(client: openai.OpenAI) -> None:
    response = client.responses.parse(**ASK, text_format=Verdict, **OFF)
    assert response.output_parsed.verdict in {"yes", "no"}


def test_a_forced_call_is_streamed_and_its_result_answered(client: openai.OpenAI) -> None:
    members = {"model": "pico-tiny", "tools": [WEATHER], **OFF}
    with client.responses.stream(input="Weather?", tool_choice="required", **members) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        response = stream.get_final_response()
    [call] = response.output
    assert (call.name, "".join(pieces)) == ("weather", call.arguments)
    assert call.parsed_arguments == {"city": "Bonn"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    answer = client.responses.create(
        input=[result], previous_response_id=response.id, tool_choice="none", max_output_tokens=20, **members
    )
    assert answer.output_text


def test_a_limit_makes_a_response_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASK, max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_log_probabilities_belong_to_the_text(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASK, **OFF, include=["message.output_text.logprobs"], top_logprobs=2)
    part = response.output[0].content[0]
    assert "".join(entry.token for entry in part.logprobs).strip() == part.text.strip()
    assert {len(entry.top_logprobs) for entry in part.logprobs} == {2}


def test_errors_are_those_of_the_sdk(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="nothing", input="hi")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="'background' is not supported"):
        client.responses.create(**ASK, background=True)
    with pytest.raises(openai.BadRequestError, match="'file_search' is not available"):
        client.responses.create(**ASK, tools=[{"type": "file_search", "vector_store_ids": ["v"]}])


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_agent_runs_a_tool_and_gets_its_result(server: RunningServer, streamed: bool) -> None:
    cities: list[str] = []

    @function_tool
    def weather(city: Literal["Bonn"]) -> str:
        cities.append(city)
        return "rain"

    set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=server.url + "v1", api_key=server.token, max_retries=0) as client:
        agent = Agent(
            name="Weather",
            model=OpenAIResponsesModel("pico-tiny", client),
            tools=[weather],
            model_settings=ModelSettings(tool_choice="required", max_tokens=200, extra_body=OFF),
        )
        if streamed:
            run = Runner.run_streamed(agent, "Weather?", max_turns=2)
            kinds = [event.type async for event in run.stream_events()]
            assert "run_item_stream_event" in kinds
            items = run.new_items
        else:
            items = (await Runner.run(agent, "Weather?", max_turns=2)).new_items
    assert cities == ["Bonn"]
    assert [item.type for item in items] == ["tool_call_item", "tool_call_output_item", "message_output_item"]
