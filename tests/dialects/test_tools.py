import json

import pytest

from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ChatPrompt
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


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        choose("f"),
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [choose("f")]}},
    ],
)
def test_forcing_a_call_is_refused_as_not_supported_yet(choice: object) -> None:
    with pytest.raises(InvalidRequest, match="not supported yet") as caught:
        offered(tools=TOOLS, tool_choice=choice)
    assert (caught.value.param, caught.value.code) == ("tool_choice", "unsupported_value")


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
