import json

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt, ToolChoice
from tests.dialects.samples import chat_call, ollama_chat


def tool(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


TOOLS = [tool("f"), tool("g")]


def offered(**members: object) -> list[object]:
    prompt = chat_call(**members).request.prompt
    assert isinstance(prompt, ChatPrompt)
    tools = json.loads(prompt.tools)
    assert isinstance(tools, list)
    return tools


def chosen(**members: object) -> ToolChoice:
    return chat_call(**members).request.tool_choice


def choose(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize("members", [{}, {"tool_choice": "auto"}, {"tool_choice": None}])
def test_tools_are_passed_to_the_template_unchanged(members: dict[str, object]) -> None:
    assert offered(tools=TOOLS, **members) == TOOLS


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"tools": []},
        {"tools": None},
        {"tools": TOOLS, "tool_choice": "none"},
        {"tool_choice": "none"},
        {"tools": [], "tool_choice": "auto"},
    ],
)
def test_no_tools_are_an_empty_array(members: dict[str, object]) -> None:
    assert offered(**members) == []


def test_allowed_tools_restrict_the_tools() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [choose("g")]}}
    assert offered(tools=TOOLS, tool_choice=allowed) == [tool("g")]


def test_a_required_call_is_of_any_tool() -> None:
    assert offered(tools=TOOLS, tool_choice="required") == TOOLS
    assert chosen(tools=TOOLS, tool_choice="required") == ToolChoice(required=True)


def test_a_named_tool_is_called_once() -> None:
    assert offered(tools=TOOLS, tool_choice=choose("g")) == [tool("g")]
    choice = chosen(tools=TOOLS, tool_choice=choose("g"))
    assert choice == ToolChoice(required=True, names=("g",), parallel=False)


@pytest.mark.parametrize(("mode", "required"), [("auto", False), ("required", True), ("", False), (None, False)])
def test_allowed_tools_may_be_required(mode: str | None, required: bool) -> None:
    nested = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [choose("g")]}}
    flat = {"type": "allowed_tools", "mode": mode, "tools": [choose("g")]}
    for choice in (nested, flat):
        assert chosen(tools=TOOLS, tool_choice=choice) == ToolChoice(required=required, names=("g",))


def test_another_mode_of_allowed_tools_is_refused() -> None:
    choice = {"type": "allowed_tools", "mode": "any", "tools": [choose("g")]}
    with pytest.raises(InvalidRequest, match="Supported values are: 'auto', 'required'") as caught:
        chosen(tools=TOOLS, tool_choice=choice)
    assert caught.value.param == "tool_choice.mode"


def test_a_required_call_of_no_tool_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="it allows no tool") as caught:
        chosen(tools=TOOLS, tool_choice={"type": "allowed_tools", "mode": "required", "tools": []})
    assert caught.value.param == "tool_choice"
    with pytest.raises(InvalidRequest, match="only allowed when 'tools' are specified"):
        chosen(tools=[], tool_choice="required")


@pytest.mark.parametrize("choice", [None, "none", "auto", "required"])
def test_parallel_calls_may_be_turned_off(choice: str | None) -> None:
    assert chosen(tools=TOOLS, tool_choice=choice).parallel
    assert not chosen(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False).parallel


def test_strict_tools_are_listed_in_both_dialects() -> None:
    tools = [tool("f"), {"type": "function", "function": {"name": "g", "strict": True}}]
    assert chosen(tools=tools).strict == ("g",)
    assert ollama_chat(tools=tools).request.tool_choice.strict == ("g",)
    assert offered(tools=tools) == tools


@pytest.mark.parametrize("choice", ["auto", "required", choose("f")])
def test_a_choice_without_tools_is_refused(choice: object) -> None:
    with pytest.raises(InvalidRequest, match="only allowed when 'tools' are specified") as caught:
        offered(tool_choice=choice)
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    "choice",
    [choose("h"), {"type": "function"}, {"type": "allowed_tools", "allowed_tools": {"tools": [choose("h")]}}],
)
def test_a_choice_of_an_unknown_tool_is_refused(choice: object) -> None:
    with pytest.raises(InvalidRequest, match="there is no tool") as caught:
        offered(tools=TOOLS, tool_choice=choice)
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("choice", "param"), [("any", "tool_choice"), (5, "tool_choice"), ({"type": "magic"}, "tool_choice.type")]
)
def test_other_choices_are_refused(choice: object, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        offered(tools=TOOLS, tool_choice=choice)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ({}, "tools"),
        ([5], "tools[0]"),
        ([{"type": "retrieval"}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].function.name"),
        ([{"type": "function", "function": {"name": ""}}], "tools[0].function.name"),
        ([{"type": "function", "function": {"name": 5}}], "tools[0].function.name"),
        ([{"type": "function", "function": {"name": "f", "parameters": []}}], "tools[0].function.parameters"),
        ([{"type": "function", "function": {"name": "f", "strict": "yes"}}], "tools[0].function.strict"),
        ([tool("f"), {"function": {"name": "f", "description": 5}}], "tools[1].function.description"),
    ],
)
def test_malformed_tools_are_refused_by_name_in_both_dialects(tools: object, param: str) -> None:
    for parse in (chat_call, ollama_chat):
        with pytest.raises(InvalidRequest) as caught:
            parse(tools=tools)
        assert caught.value.param == param


def test_ollama_offers_its_tools_without_a_choice() -> None:
    prompt = ollama_chat(tools=TOOLS, tool_choice="required").request.prompt
    assert isinstance(prompt, ChatPrompt)
    assert json.loads(prompt.tools) == TOOLS
