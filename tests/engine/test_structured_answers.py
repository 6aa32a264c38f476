"""Answers and tool calls that a grammar enforces, with the built-in model and the real backend."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import msgspec
import pytest

from pico_jupyter.client import Choice, collect
from pico_jupyter.engine.local_client import LocalEngineClient
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import (
    ChatPrompt,
    GenerationRequest,
    Message,
    SamplingParams,
    Structure,
    TextPart,
    ToolChoice,
)
from tests.engine.conftest import StartEngine

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON_SCHEMA = Structure("json_schema", json.dumps(PERSON))
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer", "maximum": 9}},
            "required": ["city", "days"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
TOOLS = json.dumps([WEATHER, TIME])


def ask(text: str = "Ada is 36 years old. Who is she?", *, tools: str = "[]", **fields: Any) -> GenerationRequest:
    prompt = ChatPrompt((Message("user", (TextPart(text),)),), tools=tools)
    fields.setdefault("reasoning", False)
    fields.setdefault("max_tokens", 200)
    fields.setdefault("sampling", SamplingParams(temperature=1.5, seed=3))
    return GenerationRequest(id=text, model="pico-tiny", prompt=prompt, **fields)


async def choices(client: LocalEngineClient, request: GenerationRequest) -> list[Choice]:
    return list((await collect(client.generate(request), request.n)).choices)


async def answer(client: LocalEngineClient, request: GenerationRequest) -> Choice:
    (choice,) = await choices(client, request)
    return choice


@pytest.mark.parametrize("reasoning", [False, True, None])
async def test_an_answer_matches_its_schema_with_reasoning_on_off_and_by_default(
    start: StartEngine, reasoning: bool | None
) -> None:
    choice = await answer(start(), ask(structure=PERSON_SCHEMA, reasoning=reasoning, max_reasoning_tokens=20))
    jsonschema.validate(json.loads(choice.text), PERSON)
    assert choice.finish_reason == "stop"
    assert bool(choice.reasoning) == (reasoning is not False)


@pytest.mark.parametrize("begun", ["{", '{"name": "Ada", "age": ', '{"name":"Ad', '{"name": "Ada", "age": 3'])
async def test_a_begun_answer_is_continued_in_its_structure(start: StartEngine, begun: str) -> None:
    request = ask(structure=PERSON_SCHEMA, reasoning=None)
    assert isinstance(request.prompt, ChatPrompt)
    messages = (*request.prompt.messages, Message("assistant", (TextPart(begun),)))
    prompt = msgspec.structs.replace(request.prompt, messages=messages, continue_final_message=True)
    choice = await answer(start(), msgspec.structs.replace(request, prompt=prompt))
    jsonschema.validate(json.loads(begun + choice.text), PERSON)
    assert choice.reasoning == ""


@pytest.mark.parametrize("begun", ["The person is: ", '{"city": '])
async def test_the_structure_begins_after_a_text_that_is_no_part_of_it(start: StartEngine, begun: str) -> None:
    request = ask(structure=PERSON_SCHEMA)
    assert isinstance(request.prompt, ChatPrompt)
    messages = (*request.prompt.messages, Message("assistant", (TextPart(begun),)))
    prompt = msgspec.structs.replace(request.prompt, messages=messages, continue_final_message=True)
    choice = await answer(start(), msgspec.structs.replace(request, prompt=prompt))
    jsonschema.validate(json.loads(choice.text), PERSON)


async def test_each_choice_has_a_grammar_of_its_own(start: StartEngine) -> None:
    several = await choices(start(), ask(structure=PERSON_SCHEMA, n=4))
    texts = [choice.text for choice in several]
    assert len(set(texts)) > 1
    for text in texts:
        jsonschema.validate(json.loads(text), PERSON)


async def test_a_row_without_a_grammar_is_not_changed_by_the_rows_beside_it(start: StartEngine) -> None:
    client = start()
    free = ask("What is 12 + 35?", max_tokens=20)
    alone = await answer(client, free)
    beside, *limited = await asyncio.gather(
        answer(client, free), *(answer(client, ask(f"Person {number}", structure=PERSON_SCHEMA)) for number in range(3))
    )
    assert beside.text == alone.text
    for choice in limited:
        jsonschema.validate(json.loads(choice.text), PERSON)


@pytest.mark.parametrize(
    ("structure", "texts"),
    [
        (Structure("choice", '["yes", "no"]'), {"yes", "no"}),
        (Structure("regex", "[ab]{1,2}"), {"a", "b", "aa", "ab", "ba", "bb"}),
        (Structure("grammar", 'start: "x" | "y"'), {"x", "y"}),
    ],
)
async def test_an_answer_may_be_limited_to_texts(start: StartEngine, structure: Structure, texts: set[str]) -> None:
    assert (await answer(start(), ask(structure=structure))).text in texts


async def test_a_json_object_may_be_any_object(start: StartEngine) -> None:
    choice = await answer(start(), ask(structure=Structure("json_object"), max_tokens=400))
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.text), dict)


async def test_an_answer_that_is_cut_off_has_the_finish_reason_length(start: StartEngine) -> None:
    choice = await answer(start(), ask(structure=PERSON_SCHEMA, max_tokens=4))
    assert choice.finish_reason == "length"
    assert choice.text.startswith("{")


async def test_a_schema_that_is_not_supported_is_refused_with_its_keyword_and_its_place(start: StartEngine) -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(InvalidRequest, match="uniqueItems") as caught:
        await answer(start(), ask(structure=Structure("json_schema", json.dumps(schema), "format")))
    assert caught.value.param == "format"
    assert "#/properties/tags" in caught.value.message


@pytest.mark.parametrize("reasoning", [False, True])
async def test_a_required_call_matches_the_schema_of_its_tool(start: StartEngine, reasoning: bool) -> None:
    request = ask("Hello!", tools=TOOLS, tool_choice=ToolChoice(required=True), reasoning=reasoning)
    choice = await answer(start(), request)
    assert choice.finish_reason == "tool_calls"
    assert not choice.text.strip()
    for call in choice.tool_calls:
        if call.name == "weather":
            jsonschema.validate(json.loads(call.arguments), WEATHER["function"]["parameters"])


@pytest.mark.parametrize("max_tokens", [1, 3, 8, 12])
async def test_a_required_call_that_is_cut_leaves_no_text(start: StartEngine, max_tokens: int) -> None:
    request = ask("Hello!", tools=TOOLS, tool_choice=ToolChoice(required=True), max_tokens=max_tokens)
    choice = await answer(start(), request)
    assert choice.finish_reason == "length"
    assert choice.text == ""


@pytest.mark.parametrize("choice", [ToolChoice(required=True), ToolChoice(strict=("weather",))])
async def test_an_error_in_the_schema_of_a_tool_names_the_tool(start: StartEngine, choice: ToolChoice) -> None:
    unique = {"type": "object", "properties": {"a": {"uniqueItems": True}}}
    tools = json.dumps([TIME, {"type": "function", "function": {"name": "weather", "parameters": unique}}])
    with pytest.raises(InvalidRequest) as refused:
        await answer(start(), ask(tools=tools, tool_choice=choice))
    assert refused.value.param == "tools"
    assert refused.value.message == (
        "Invalid value for 'tools': in the parameters of 'weather', "
        "the keyword 'uniqueItems' is not supported (at #/properties/a/uniqueItems)"
    )


async def test_a_value_may_be_the_text_of_a_special_token(start: StartEngine) -> None:
    choice = await answer(start(), ask(structure=Structure("json_schema", json.dumps({"const": "<|im_end|>"}))))
    assert choice.text == '"<|im_end|>"'


async def test_a_schema_that_is_too_large_is_refused_before_the_prompt_is(start: StartEngine) -> None:
    schema = json.dumps({"enum": ["x" * 300_000]})
    with pytest.raises(InvalidRequest, match="the limit is 256 kB") as refused:
        await answer(start(), ask(structure=Structure("json_schema", schema, "format")))
    assert refused.value.param == "format"


async def test_a_named_tool_is_called_once(start: StartEngine) -> None:
    tool_choice = ToolChoice(required=True, names=("time",), parallel=False)
    choice = await answer(start(), ask("What is the weather in Paris?", tools=TOOLS, tool_choice=tool_choice))
    assert [(call.name, json.loads(call.arguments)) for call in choice.tool_calls] == [("time", {})]


async def test_tools_and_a_schema_together_give_a_call_or_an_answer(start: StartEngine) -> None:
    client = start()
    for seed in range(4):
        sampling = SamplingParams(temperature=1.0, seed=seed)
        choice = await answer(client, ask(tools=TOOLS, structure=PERSON_SCHEMA, sampling=sampling))
        assert choice.tool_calls or not jsonschema.validate(json.loads(choice.text), PERSON)


async def test_a_grammar_of_the_request_is_refused_beside_tools(start: StartEngine) -> None:
    structure = Structure("grammar", 'start: "x"', "guided_grammar")
    with pytest.raises(InvalidRequest, match="guided_grammar cannot be a grammar if there are tools"):
        await answer(start(), ask(tools=TOOLS, structure=structure))


async def test_reasoning_is_closed_at_its_limit(start: StartEngine) -> None:
    choice = await answer(start(), ask("What is 12 + 35?", reasoning=True, max_reasoning_tokens=2))
    assert len(choice.reasoning) < 12
    assert choice.text


async def test_an_answer_whose_grammar_becomes_too_large_is_not_reported_as_complete(start: StartEngine) -> None:
    pairs = [[{"properties": {f"{name}{i}": {"type": "integer"}}} for name in "xy"] for i in range(10)]
    schema = {"type": "object", "allOf": [{"anyOf": [{"type": "object", **one} for one in pair]} for pair in pairs]}
    choice = await answer(start(), ask(structure=Structure("json_schema", json.dumps(schema))))
    assert choice.finish_reason == "length"
