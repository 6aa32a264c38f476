import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt, Message, TextPart, ToolCall
from tests.dialects.samples import USER, chat_call, ollama_chat

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def openai_messages(*messages: object) -> tuple[Message, ...]:
    prompt = chat_call(messages=list(messages)).request.prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


def ollama_messages(*messages: object) -> tuple[Message, ...]:
    prompt = ollama_chat(messages=list(messages)).request.prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


def said(role: str, text: str) -> dict[str, object]:
    return {"role": role, "content": text}


def texts(*values: str) -> tuple[TextPart, ...]:
    return tuple(TextPart(value) for value in values)


def test_several_system_messages_become_one_leading_message() -> None:
    messages = openai_messages(said("user", "a"), said("developer", "be kind"), said("system", "be brief"))
    assert messages == (Message("system", texts("be kind\n\nbe brief")), Message("user", texts("a")))


def test_ollama_merges_system_messages_too() -> None:
    messages = ollama_messages(said("SYSTEM", "x"), said("user", "a"), said("system", ""), said("system", "y"))
    assert messages == (Message("system", texts("x\n\ny")), Message("user", texts("a")))


def test_text_parts_of_every_name_keep_their_order() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "input_text", "text": "b"},
        {"type": "output_text", "text": "c"},
        {"type": "refusal", "refusal": "d"},
    ]
    assert openai_messages({"role": "user", "content": parts})[0].content == texts("a", "b", "c", "d")
    assert ollama_messages({"role": "user", "content": parts})[0].content == texts("a", "b", "c", "d")


@pytest.mark.parametrize("content", ["", []])
def test_empty_content_has_no_parts(content: object) -> None:
    assert openai_messages({"role": "user", "content": content})[0].content == ()


def test_an_assistant_may_have_no_content() -> None:
    [message] = openai_messages({"role": "assistant", "content": None, "tool_calls": [CALL]})
    assert message == Message("assistant", tool_calls=(ToolCall("call_1", "f", '{"a":1}'),))
    assert openai_messages({"role": "assistant"})[0].content == ()


@pytest.mark.parametrize("role", ["user", "system", "developer"])
@pytest.mark.parametrize("message", [{}, {"content": None}])
def test_other_roles_need_content(role: str, message: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        openai_messages({"role": role, **message})
    assert caught.value.param == "messages[0].content"


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_past_reasoning_is_kept_apart_from_content(key: str) -> None:
    [message] = openai_messages({"role": "assistant", "content": "47", key: "12 + 35"})
    assert message == Message("assistant", texts("47"), reasoning="12 + 35")


def test_past_thinking_of_ollama_is_reasoning() -> None:
    [message] = ollama_messages({"role": "assistant", "content": "47", "thinking": "12 + 35"})
    assert message == Message("assistant", texts("47"), reasoning="12 + 35")


def test_inline_reasoning_of_past_turns_is_dropped() -> None:
    before, _, after = openai_messages(
        said("assistant", "<think>\nhm</think>\n\nyes"), USER, said("assistant", "<think>\nhm</think>\n\nno")
    )
    assert before.content == texts("yes")
    assert after.content == texts("<think>\nhm</think>\n\nno")


@pytest.mark.parametrize("text", ["<think>never closed", "the tag <think>x</think> in a text", "</think>"])
def test_tags_that_are_not_a_reasoning_block_stay(text: str) -> None:
    assert openai_messages(said("assistant", text), USER)[0].content == texts(text)


def test_turns_without_text_are_unchanged() -> None:
    before, _ = openai_messages({"role": "assistant", "tool_calls": [CALL]}, USER)
    assert before.content == ()


def test_a_tool_result_has_the_name_of_the_latest_call_with_its_id() -> None:
    def calling(name: str) -> dict[str, object]:
        return {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": name, "arguments": "{}"}}]}

    result = {"role": "tool", "tool_call_id": "c", "content": "12"}
    messages = openai_messages(USER, calling("old"), result, calling("new"), result, {**result, "name": "own"})
    assert [message.name for message in messages if message.role == "tool"] == ["old", "new", "own"]


def test_a_tool_result_needs_no_id() -> None:
    [message] = openai_messages({"role": "tool", "content": "12"})
    assert message == Message("tool", texts("12"))


def test_the_legacy_function_role_is_a_tool_result() -> None:
    [message] = openai_messages({"role": "function", "name": "f", "content": "12"})
    assert message == Message("tool", texts("12"), name="f")


def test_ollama_names_the_tool_of_a_result() -> None:
    [message] = ollama_messages({"role": "tool", "tool_name": "f", "content": "12", "tool_call_id": "c"})
    assert message == Message("tool", texts("12"), tool_call_id="c", name="f")


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [('{"a":1}', '{"a":1}'), ({"a": 1}, '{"a":1}'), ('{"a":', '{"a":'), ("", ""), (None, "{}")],
)
def test_arguments_of_past_calls_are_json_text_in_both_dialects(arguments: object, kept: str) -> None:
    message = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}
    assert openai_messages(message)[0].tool_calls == (ToolCall("c", "f", kept),)
    assert ollama_messages(message)[0].tool_calls == (ToolCall("c", "f", kept),)


@pytest.mark.parametrize("call", [{}, {"function": None}, {"function": {}}, {"function": {"name": ""}}])
def test_a_past_call_needs_a_name(call: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        openai_messages({"role": "assistant", "tool_calls": [call]})
    assert caught.value.param == "messages[0].tool_calls[0].function"


def test_an_unknown_role_is_refused_in_openais_words() -> None:
    with pytest.raises(InvalidRequest) as caught:
        openai_messages(USER, said("robot", "x"))
    assert caught.value.message == (
        "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', 'developer', 'tool'."
    )
    assert (caught.value.param, caught.value.code) == ("messages[1].role", "invalid_value")


def test_a_message_needs_a_role() -> None:
    for parse in (openai_messages, ollama_messages):
        with pytest.raises(InvalidRequest) as caught:
            parse({"content": "x"})
        assert caught.value.param == "messages[0].role"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages[0]"),
        ({"role": 1, "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": {"type": "text"}}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "messages[0].content[0].text"),
        ({"role": "assistant", "tool_calls": {}}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [{"id": 5, "function": {"name": "f"}}]}, "messages[0].tool_calls[0].id"),
        ({"role": "tool", "content": "x", "tool_call_id": 5}, "messages[0].tool_call_id"),
    ],
)
def test_malformed_messages_are_refused_by_name_in_both_dialects(message: object, param: str) -> None:
    for parse in (openai_messages, ollama_messages):
        with pytest.raises(InvalidRequest) as caught:
            parse(message)
        assert caught.value.param == param


def test_unknown_keys_are_ignored() -> None:
    assert openai_messages({**USER, "name": "ann", "cache_control": {}}) == openai_messages(USER)
    assert ollama_messages({**USER, "type": "human", "id": "1", "images": []}) == ollama_messages(USER)
