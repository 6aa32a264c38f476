"""What requests to v1/responses ask for, and which are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.responses_request import ResponsesCall
from pico_jupyter.errors import InvalidRequest, MediaUnsupported
from pico_jupyter.types import ChatPrompt, ImagePart, Message, Structure, TextPart, ToolCall, ToolChoice
from tests.dialects.responses_samples import MemoryHistory, responses_call
from tests.dialects.samples import Json, complaint

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
PIXEL = "data:image/png;base64,aGk="
ADD = {"type": "function", "name": "add", "description": "Add.", "parameters": SCHEMA, "strict": True}
CALC = {"type": "namespace", "name": "mcp__calc", "description": "Sums.", "tools": [{**ADD, "strict": False}]}
PATCH = {"type": "custom", "name": "patch", "description": "Patch."}


def prompt_of(call: ResponsesCall) -> ChatPrompt:
    assert isinstance(call.request.prompt, ChatPrompt)
    return call.request.prompt


def messages(value: object = "hi", **members: object) -> list[Message]:
    return list(prompt_of(responses_call(input=value, **members)).messages)


def tools_of(**members: object) -> list[Json]:
    """The functions that the model sees."""
    return [tool["function"] for tool in json.loads(prompt_of(responses_call(**members)).tools)]


def refused(**members: Any) -> tuple[str, str | None]:
    with pytest.raises(InvalidRequest) as refusal:
        responses_call(**members)
    return complaint(refusal.value)


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def test_text_is_a_message_of_the_user() -> None:
    assert messages("hello") == [user("hello")]


def test_a_message_may_omit_its_type() -> None:
    assert messages([{"role": "user", "content": "hello"}]) == [user("hello")]
    assert messages([{"type": None, "role": "user", "content": "hello"}]) == [user("hello")]


def test_content_may_be_parts() -> None:
    parts = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
    ]
    image = ImagePart("input[0].content[1]", b"hi")
    assert messages([{"role": "user", "content": parts}]) == [Message("user", (TextPart("What is it?"), image))]


def test_instructions_and_developer_messages_are_the_system_message() -> None:
    items = [{"role": "developer", "content": "Be polite."}, {"role": "user", "content": "hi"}]
    system = Message("system", (TextPart("Be brief.\n\nBe polite."),))
    assert messages(items, instructions="Be brief.") == [system, user("hi")]


def test_the_items_of_one_answer_are_one_message() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me add."}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "add", "arguments": "{}", "namespace": "mcp__calc"},
    ]
    calls = (ToolCall("c1", "add", "{}"), ToolCall("c2", "mcp__calc__add", "{}"))
    [_, answer] = messages([{"role": "user", "content": "?"}, *items])
    assert answer == Message("assistant", (TextPart("Let me add."),), reasoning="hm", tool_calls=calls)


def test_answers_that_follow_each_other_stay_apart() -> None:
    items = [{"role": "assistant", "content": text} for text in ("a", "b")]
    assert [message.content for message in messages(items)] == [(TextPart("a"),), (TextPart("b"),)]


def test_reasoning_after_a_call_begins_another_answer() -> None:
    items = [
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    ]
    assert [(message.reasoning, len(message.tool_calls)) for message in messages(items)] == [(None, 1), ("hm", 0)]


def test_encrypted_content_of_other_servers_is_not_read() -> None:
    for packed in ("gAAAA", "pico:?", "pico:gA"):
        [answer] = messages([{"type": "reasoning", "summary": [], "encrypted_content": packed}])
        assert answer.reasoning is None


def test_a_result_has_the_name_of_its_call() -> None:
    items = [
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "5"},
    ]
    assert messages(items)[1] == Message("tool", (TextPart("5"),), tool_call_id="c1", name="add")


def test_the_images_of_results_follow_in_a_message_of_the_user() -> None:
    image = {"type": "input_image", "image_url": PIXEL}
    outputs: list[list[Json]] = [[{"type": "input_text", "text": "a"}, image], [image]]
    items = [{"type": "function_call_output", "call_id": f"c{i}", "output": output} for i, output in enumerate(outputs)]
    found = messages([*items, {"role": "user", "content": "?"}])
    assert [message.role for message in found] == ["tool", "tool", "user", "user"]
    assert found[0].content == (TextPart("a"),)
    assert found[2].content == (ImagePart("input[0].output[1]", b"hi"), ImagePart("input[1].output[0]", b"hi"))


def test_a_custom_call_is_a_call_with_one_text() -> None:
    items = [
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "+a"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]
    call, result = messages(items, tools=[PATCH])
    assert call.tool_calls == (ToolCall("c1", "patch", '{"input":"+a"}'),)
    assert (result.name, result.content) == ("patch", (TextPart("done"),))


HISTORY = MemoryHistory(
    {
        "resp_1": [
            {"type": "message", "id": "msg_1", "role": "user", "content": "one"},
            {"type": "message", "id": "msg_2", "role": "assistant", "content": "1"},
        ]
    }
)


def test_a_previous_response_is_before_the_input() -> None:
    members: Json = {"previous_response_id": "resp_1", "history": HISTORY}
    answer = Message("assistant", (TextPart("1"),))
    assert messages("two", **members) == [user("one"), answer, user("two")]
    assert messages(None, **members) == [user("one"), answer]


def test_an_unknown_previous_response_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        responses_call(previous_response_id="resp_9")
    assert (refusal.value.param, refusal.value.code) == ("previous_response_id", "previous_response_not_found")
    assert "resp_9" in refusal.value.message


def test_a_reference_is_replaced_by_its_item() -> None:
    items = [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "two"}]
    assert messages(items, history=HISTORY) == [user("one"), user("two")]
    assert refused(input=[{"type": "item_reference", "id": "x"}]) == ("Item with id 'x' not found.", "input[0].id")


def test_stored_items_have_the_form_in_which_they_are_listed() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho", "id": "msg_7"},
        {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]},
        {"type": "function_call_output", "call_id": "c", "output": "5", "id": 3},
    ]
    first, second, third, fourth = json.loads(responses_call(input=items).stored_input)
    assert first == {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
        "id": "msg_r1_0",
        "status": "completed",
    }
    assert second["id"] == "msg_7"
    assert second["content"] == [{"type": "output_text", "text": "ho", "annotations": []}]
    assert third["content"][0]["detail"] == "auto"
    assert fourth["id"] == "out_r1_3"
    assert json.loads(responses_call(input="hi").stored_input) == [first]


def test_functions_are_nested_for_the_chat_template() -> None:
    assert tools_of(tools=[ADD]) == [{"name": "add", "description": "Add.", "parameters": SCHEMA, "strict": True}]
    assert responses_call(tools=[ADD]).request.tool_choice == ToolChoice(strict=("add",))


@pytest.mark.parametrize("namespace", ["mcp__calc", "mcp__calc__"])
def test_a_tool_in_a_namespace_has_the_namespace_in_its_name(namespace: str) -> None:
    [function] = tools_of(tools=[{**CALC, "name": namespace}])
    assert function["name"] == "mcp__calc__add"


def test_a_custom_tool_is_a_function_with_one_text() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    plain, described = tools_of(tools=[PATCH, {**PATCH, "name": "other", "format": grammar}])
    assert plain["parameters"]["required"] == ["input"]
    assert plain["description"] == "Patch."
    assert described["description"] == "Patch.\nThe input follows this lark grammar:\nstart: /a/"


@pytest.mark.parametrize("kind", ["web_search", "web_search_2025_08_26", "web_search_preview"])
def test_web_search_is_left_out(kind: str) -> None:
    call = responses_call(tools=[{"type": kind, "external_web_access": False}, ADD], tool_choice="auto")
    assert [tool["function"]["name"] for tool in json.loads(prompt_of(call).tools)] == ["add"]
    assert len(call.tools.shown) == 1


@pytest.mark.parametrize("kind", ["file_search", "code_interpreter", "mcp", "local_shell", "image_generation"])
def test_other_hosted_tools_are_refused_by_name(kind: str) -> None:
    text = f"The tool '{kind}' is not available on this server. Use a function instead."
    assert refused(tools=[ADD, {"type": kind}]) == (text, "tools[1].type")
    assert refused(tools=[ADD], tool_choice={"type": kind}) == (text, "tool_choice.type")


def test_an_unknown_kind_of_tool_is_refused() -> None:
    message, param = refused(tools=[{"type": "magic"}])
    assert param == "tools[0].type"
    assert message.startswith("Invalid value: 'magic'. Supported values are: 'function', 'custom', 'namespace'")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice(strict=("add",))),
        ("required", ToolChoice(required=True, strict=("add",))),
        ({"type": "function", "name": "add"}, ToolChoice(True, ("add",), False, ("add",))),
        ({"type": "function", "name": "mcp__calc__add"}, ToolChoice(True, ("mcp__calc__add",), False)),
        ({"type": "function", "name": "add", "namespace": "mcp__calc"}, ToolChoice(True, ("mcp__calc__add",), False)),
        ({"type": "custom", "name": "patch"}, ToolChoice(True, ("patch",), False)),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]},
            ToolChoice(names=("add",), strict=("add",)),
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "custom", "name": "patch"}, {"type": "web_search"}],
            },
            ToolChoice(required=True, names=("patch",)),
        ),
    ],
)
def test_the_choice_of_tools(choice: object, expected: ToolChoice) -> None:
    assert responses_call(tools=[ADD, CALC, PATCH], tool_choice=choice).request.tool_choice == expected


def test_without_a_choice_the_model_sees_no_tool() -> None:
    assert tools_of(tools=[ADD], tool_choice="none") == []


def test_a_choice_without_tools() -> None:
    assert tools_of(tool_choice="auto") == []
    assert refused(tool_choice="required")[1] == "tool_choice"


def test_a_choice_of_an_unknown_tool_is_refused() -> None:
    message, param = refused(tools=[ADD], tool_choice={"type": "function", "name": "sub"})
    assert (message, param) == ("Invalid value for 'tool_choice': there is no tool 'sub' in 'tools'.", "tool_choice")


@pytest.mark.parametrize(
    ("form", "structure"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Structure("json_object", param="text.format")),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            Structure("json_schema", '{"type":"object"}', "text.format"),
        ),
    ],
)
def test_the_format_of_the_text(form: Json, structure: Structure | None) -> None:
    assert responses_call(text={"format": form, "verbosity": "low"}).request.structure == structure


def test_a_schema_is_required() -> None:
    assert refused(text={"format": {"type": "json_schema", "name": "n"}})[1] == "text.format.schema"


@pytest.mark.parametrize(
    ("reasoning", "on", "effort"),
    [
        ({"effort": "none", "summary": "auto"}, False, None),
        ({"effort": "high"}, True, "high"),
        ({"summary": "auto", "mode": "standard", "context": "auto"}, None, None),
        (None, None, None),
    ],
)
def test_the_effort_switches_reasoning(reasoning: object, on: bool | None, effort: str | None) -> None:
    request = responses_call(reasoning=reasoning).request
    assert (request.reasoning, request.reasoning_effort) == (on, effort)


def test_the_limit_of_tokens() -> None:
    assert responses_call(max_output_tokens=9, max_tokens=5).request.max_tokens == 9
    assert responses_call(max_tokens=5).request.max_tokens == 5
    assert refused(max_output_tokens=0)[1] == "max_output_tokens"


def test_truncation_is_on_request() -> None:
    assert prompt_of(responses_call(truncation="auto")).truncate
    assert not prompt_of(responses_call(truncation="disabled")).truncate
    assert refused(truncation="some")[1] == "truncation"


@pytest.mark.parametrize(
    ("members", "top"),
    [
        ({}, None),
        ({"top_logprobs": 0}, None),
        ({"top_logprobs": 3}, 3),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"include": ["file_search_call.results"]}, None),
    ],
)
def test_log_probabilities(members: Json, top: int | None) -> None:
    assert responses_call(**members).request.top_logprobs == top


def test_a_response_is_stored_unless_the_client_declines() -> None:
    assert responses_call().store
    assert not responses_call(store=False).store


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"role": "bot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "magic"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_image", "image_url": PIXEL}]}]},
            "input[0].content[0]",
        ),
        ({"input": [{"type": "function_call", "name": "add", "arguments": "{}"}]}, "input[0].call_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata"),
        ({"enable_reasoning": True}, "enable_reasoning"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(members: Json, param: str) -> None:
    assert refused(**members)[1] == param


def test_files_are_refused() -> None:
    part = {"type": "input_file", "file_data": PIXEL}
    with pytest.raises(MediaUnsupported) as refusal:
        responses_call(input=[{"role": "user", "content": [part]}])
    assert refusal.value.param == "input[0].content[0]"


def test_deep_items_are_refused() -> None:
    deep: Json = {}
    for _ in range(200):
        deep = {"a": deep}
    assert refused(input=[{"role": "user", "content": "x", "extra": deep}])[1] == "input"


def test_a_model_is_required() -> None:
    assert refused(model="")[1] == "model"
    assert responses_call(model="", settings=DialectSettings(default_model="d")).model == "d"
