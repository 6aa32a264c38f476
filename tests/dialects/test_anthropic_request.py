from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pico_jupyter.dialects.anthropic_request import AnthropicCall
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt, ImagePart, Message, Structure, TextPart, ToolCall, ToolChoice
from tests.dialects.samples import USER, anthropic_call

TOOL = {"name": "f", "description": "Adds.", "input_schema": {"type": "object"}}


def prompt_of(call: AnthropicCall) -> ChatPrompt:
    assert isinstance(call.request.prompt, ChatPrompt)
    return call.request.prompt


def messages_of(*messages: dict[str, Any], **more: Any) -> list[Message]:
    return list(prompt_of(anthropic_call(messages=list(messages), **more)).messages)


def text_of(message: Message) -> str:
    return "".join(part.text for part in message.content if isinstance(part, TextPart))


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value, "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize("system", ["Be brief.", [text("Be"), text("brief.")]])
def test_instructions_are_a_text_or_blocks(system: object) -> None:
    first = messages_of(USER, system=system)[0]
    assert first.role == "system"
    assert text_of(first).split() == ["Be", "brief."]


def test_instructions_in_the_middle_are_joined_to_the_leading_ones() -> None:
    messages = messages_of(USER, {"role": "system", "content": "New rule."}, system="Be brief.")
    assert [(message.role, text_of(message)) for message in messages] == [
        ("system", "Be brief.\n\nNew rule."),
        ("user", "hi"),
    ]


def test_tool_results_become_messages_of_their_own_before_the_users_text() -> None:
    calls = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [text("2")]}
    _, answer, tool, question = messages_of(USER, calls, user(result, text("And now?")))
    assert answer.tool_calls == (ToolCall("t1", "f", '{"a":1}'),)
    assert (tool.role, text_of(tool), tool.tool_call_id, tool.name) == ("tool", "2", "t1", "f")
    assert (question.role, text_of(question)) == ("user", "And now?")


def test_a_failed_tool_says_so_to_the_model() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "no such file", "is_error": True}
    assert [text_of(message) for message in messages_of(user(result))] == ["Error: no such file"]


def test_a_tool_result_may_be_empty() -> None:
    [tool] = messages_of(user({"type": "tool_result", "tool_use_id": "t1"}))
    assert (tool.role, tool.content) == ("tool", ())


def test_thinking_is_reasoning_and_redacted_thinking_is_left_out() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "secret"},
        text("47"),
    ]
    _, answer, _ = messages_of(USER, {"role": "assistant", "content": blocks}, USER)
    assert (answer.reasoning, text_of(answer)) == ("hm", "47")


def test_images_are_base64_or_urls() -> None:
    data = base64.b64encode(b"png").decode()
    inline = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://x.example/cat.png"}}
    [message] = messages_of(user(inline, linked))
    assert message.content == (
        ImagePart("messages[0].content[0]", b"png"),
        ImagePart("messages[0].content[1]", url="https://x.example/cat.png"),
    )


def test_documents_and_search_results_of_text_are_read_as_text() -> None:
    plain = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "body"}}
    blocks = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    found = {"type": "search_result", "source": "u", "title": "R", "content": [text("c")]}
    assert text_of(messages_of(user(plain, blocks, found))[0]) == "T\nbody\na\nb\nR\nu\nc\n"


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}},
            "source.type",
        ),
        ({"type": "web_search_tool_result", "tool_use_id": "t", "content": []}, "type"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "source.type"),
    ],
)
def test_a_block_that_is_not_supported_is_refused_by_name(block: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest, match="Supported values are") as caught:
        messages_of(user(block))
    assert caught.value.param == f"messages[0].content[0].{param}"


def test_the_model_continues_a_last_assistant_message() -> None:
    begun = {"role": "assistant", "content": "The sum is"}
    assert prompt_of(anthropic_call(messages=[USER, begun])).continue_final_message
    assert not prompt_of(anthropic_call()).continue_final_message


def test_tools_reach_the_template_in_openais_form() -> None:
    call = anthropic_call(
        tools=[{**TOOL, "type": "custom", "strict": True, "cache_control": {}, "defer_loading": True}]
    )
    assert json.loads(prompt_of(call).tools) == [
        {
            "type": "function",
            "function": {"name": "f", "description": "Adds.", "parameters": {"type": "object"}, "strict": True},
        }
    ]
    assert call.request.tool_choice == ToolChoice(strict=("f",))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ({"type": "auto"}, ToolChoice()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(parallel=False)),
        ({"type": "any"}, ToolChoice(required=True)),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice(required=True, parallel=False)),
        ({"type": "tool", "name": "f"}, ToolChoice(required=True, names=("f",), parallel=False)),
    ],
)
def test_the_choice_of_tools_is_read(choice: object, expected: ToolChoice) -> None:
    call = anthropic_call(tools=[TOOL], tool_choice=choice)
    assert call.request.tool_choice == expected
    assert prompt_of(call).tools != "[]"


def test_the_model_sees_no_tools_if_the_choice_is_none() -> None:
    assert prompt_of(anthropic_call(tools=[TOOL], tool_choice={"type": "none"})).tools == "[]"


def test_a_forced_tool_must_exist() -> None:
    with pytest.raises(InvalidRequest, match="there is no tool 'g'") as caught:
        anthropic_call(tools=[TOOL], tool_choice={"type": "tool", "name": "g"})
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize("kind", ["web_search_20250305", "bash_20250124", "mcp_toolset"])
def test_a_tool_that_the_client_does_not_run_is_refused_by_name(kind: str) -> None:
    with pytest.raises(InvalidRequest, match=kind) as caught:
        anthropic_call(tools=[TOOL, {"type": kind, "name": "x"}])
    assert caught.value.param == "tools[1].type"


@pytest.mark.parametrize(
    ("thinking", "on", "limit"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, True, 1024),
        ({"type": "disabled"}, False, None),
        ({"type": "adaptive"}, None, None),
        ({"type": "between_tools"}, None, None),
        (None, None, None),
    ],
)
def test_thinking_is_the_reasoning_switch(thinking: object, on: bool | None, limit: int | None) -> None:
    request = anthropic_call(thinking=thinking).request
    assert (request.reasoning, request.max_reasoning_tokens) == (on, limit)


def test_the_display_of_thinking_is_read() -> None:
    assert anthropic_call(thinking={"type": "adaptive", "display": "omitted"}).omits_thinking
    assert not anthropic_call(thinking={"type": "adaptive", "display": "summarized"}).omits_thinking


def test_the_effort_is_a_level_and_no_switch() -> None:
    effort = {"output_config": {"effort": "xhigh"}}
    request = anthropic_call(thinking={"type": "adaptive"}, **effort).request
    assert (request.reasoning, request.reasoning_effort) == (None, "xhigh")
    assert anthropic_call(thinking={"type": "disabled"}, **effort).request.reasoning_effort is None


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_schema_of_the_answer_is_enforced(place: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    given = {"output_config": {"format": form}} if place == "output_config" else {"output_format": form}
    param = "output_config.format" if place == "output_config" else place
    assert anthropic_call(**given).request.structure == Structure("json_schema", '{"type":"object"}', param)
    assert anthropic_call(settings=DialectSettings(structured_outputs="ignore"), **given).request.structure is None


def test_stop_sequences_and_sampling_are_read() -> None:
    request = anthropic_call(
        stop_sequences=["END", "", "X"], stop=["S"], top_k=5, temperature=0.5, max_tokens=9
    ).request
    assert request.stop == ("S", "END", "X")
    assert (request.sampling.top_k, request.sampling.temperature, request.max_tokens) == (5, 0.5, 9)


def test_fields_for_anthropics_own_service_are_ignored() -> None:
    extra = {"metadata": {"user_id": "u"}, "service_tier": "auto", "context_management": {"edits": []}, "speed": "fast"}
    assert anthropic_call(**extra) == anthropic_call()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"thinking": {"type": "maybe"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"model": ""}, "model"),
    ],
)
def test_a_wrong_field_is_named(members: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        anthropic_call(**members)
    assert caught.value.param == param


def test_a_request_of_claude_code_is_accepted() -> None:
    """As Claude Code 2.1.197 sends it to a base URL that is not Anthropic's, with shorter texts."""
    cached = {"cache_control": {"type": "ephemeral"}}
    call = anthropic_call(
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1;"},
            {**text("You help."), **cached},
        ],
        messages=[
            user(text("<system-reminder>"), text("Say hello")),
            {"role": "system", "content": "Agent types: none."},
        ],
        tools=[{"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object", "properties": {}}}],
        metadata={"user_id": '{"device_id":"d","account_uuid":"","session_id":"s"}'},
        max_tokens=32000,
        thinking={"type": "adaptive"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "high"},
        stream=True,
    )
    assert [message.role for message in prompt_of(call).messages] == ["system", "user"]
    assert (call.stream, call.request.reasoning, call.request.reasoning_effort) == (True, None, "high")
