import json
from collections.abc import Callable
from typing import Any

import pytest

from pico_jupyter.client import Choice
from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.reasoning import (
    InlineReasoning,
    ReasoningSwitch,
    fold_inline,
    read_reasoning,
    read_reasoning_output,
    read_template_kwargs,
)
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import ToolCall
from tests.dialects.samples import chat_call, fields, ollama_chat, ollama_generate

OFF_EFFORTS = ["none", "off", "low", "minimal", "LOW", " off "]
ON_EFFORTS = ["medium", "high", "on", "xhigh", "max", "ultra", "High", "\tmedium\n"]

SPELLINGS: dict[str, Callable[[object], dict[str, object]]] = {
    "reasoning": lambda value: {"reasoning": value},
    "reasoning.effort": lambda value: {"reasoning": {"effort": value, "summary": 7}},
    "reasoning_effort": lambda value: {"reasoning_effort": value},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("effort", "on"),
    [
        *((effort, False) for effort in OFF_EFFORTS),
        *((effort, True) for effort in ON_EFFORTS),
        ("", None),
        (None, None),
    ],
)
def test_an_effort_switches_in_each_spelling(spelling: str, effort: str | None, on: bool | None) -> None:
    assert read_reasoning(fields(**SPELLINGS[spelling](effort))).on is on


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_unknown_effort_is_refused_with_the_allowed_ones(spelling: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_reasoning(fields(**SPELLINGS[spelling]("loud")))
    assert caught.value.param == spelling
    for allowed in ("none", "off", "low", "minimal", "medium", "high", "on", "xhigh", "max", "ultra"):
        assert f"'{allowed}'" in caught.value.message


@pytest.mark.parametrize(
    ("members", "on"),
    [
        ({"think": True}, True),
        ({"think": False}, False),
        ({"think": "low"}, True),
        ({"think": "medium"}, True),
        ({"think": "high"}, True),
        ({"think": "max"}, True),
        ({"think": None}, None),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"chat_template_kwargs": {"enable_thinking": "true"}}, True),
        ({"chat_template_kwargs": {"enable_thinking": "False"}}, False),
        ({"chat_template_kwargs": {"enable_thinking": None}}, None),
        ({"chat_template_kwargs": {"thinking": False}}, False),
        ({"chat_template_kwargs": {"thinking": "deep"}}, None),
        ({"chat_template_kwargs": {"enable_thinking": True, "thinking": False}}, True),
        ({"chat_template_kwargs": {}}, None),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"effort": "high", "enabled": False}}, True),
        ({"reasoning": {}}, None),
        ({}, None),
    ],
)
def test_switches_in_their_own_spellings(members: dict[str, object], on: bool | None) -> None:
    assert read_reasoning(fields(**members)).on is on


BY_PRECEDENCE: list[dict[str, Any]] = [
    {"think": True},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"reasoning": {"effort": "high"}},
    {"reasoning_effort": "none"},
]


@pytest.mark.parametrize("first", range(4))
def test_the_first_spelling_by_precedence_decides(first: int) -> None:
    members = {key: value for spelling in BY_PRECEDENCE[first:] for key, value in spelling.items()}
    assert read_reasoning(fields(**members)).on is (first % 2 == 0)


def test_a_spelling_without_a_value_is_skipped() -> None:
    members = {
        "think": None,
        "chat_template_kwargs": {"enable_thinking": None, "other": 1},
        "reasoning": {"effort": "", "summary": "auto"},
        "reasoning_effort": "high",
    }
    assert read_reasoning(fields(**members)).on is True


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"think": 1}, "think"),
        ({"think": {}}, "think"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"chat_template_kwargs": "enable_thinking"}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"enable_thinking": 1}}, "chat_template_kwargs.enable_thinking"),
        ({"chat_template_kwargs": {"enable_thinking": "yes"}}, "chat_template_kwargs.enable_thinking"),
        ({"reasoning": True}, "reasoning"),
        ({"reasoning": ["high"]}, "reasoning"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"reasoning": {"enabled": "yes"}}, "reasoning.enabled"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"reasoning_effort": {}}, "reasoning_effort"),
    ],
)
def test_malformed_switches_are_refused_by_name(members: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_reasoning(fields(**members))
    assert caught.value.param == param


@pytest.mark.parametrize("think", ["x", "", "true", "none", "LOW"])
def test_another_think_is_refused_in_ollamas_words(think: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_reasoning(fields(think=think))
    expected = f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
    assert caught.value.message == expected


@pytest.mark.parametrize(
    ("members", "switch"),
    [
        ({"think": "low"}, ReasoningSwitch(True, "low", True)),
        ({"think": True}, ReasoningSwitch(True, "medium", True)),
        ({"think": False}, ReasoningSwitch(False)),
        ({"reasoning_effort": "low"}, ReasoningSwitch(False, "low")),
        ({"reasoning_effort": "minimal"}, ReasoningSwitch(False, "minimal")),
        ({"reasoning_effort": "HIGH"}, ReasoningSwitch(True, "high")),
        ({"reasoning": "on"}, ReasoningSwitch(True, "medium")),
        ({"reasoning": "off"}, ReasoningSwitch(False)),
        ({"reasoning": {"enabled": True}}, ReasoningSwitch(True, "medium")),
        ({"chat_template_kwargs": {"enable_thinking": True}}, ReasoningSwitch(True, "medium")),
    ],
)
def test_the_literal_level_is_kept_for_templates_that_have_levels(
    members: dict[str, object], switch: ReasoningSwitch
) -> None:
    assert read_reasoning(fields(**members)) == switch


@pytest.mark.parametrize("members", [{"think": True}, {"reasoning": "on"}, {"reasoning_effort": "high"}])
def test_the_switch_is_the_same_on_every_endpoint(members: dict[str, object]) -> None:
    for call in (chat_call(**members), ollama_chat(**members), ollama_generate(**members)):
        assert call.request.reasoning is True


def test_only_think_on_ollama_endpoints_demands_a_model_that_can_reason() -> None:
    assert ollama_chat(think=True).request.reasoning_required
    assert ollama_generate(think="low").request.reasoning_required
    assert not ollama_chat(think=False).request.reasoning_required
    assert not ollama_chat(reasoning="high").request.reasoning_required
    assert not chat_call(think=True).request.reasoning_required


def test_template_kwargs_are_passed_on_without_the_switch() -> None:
    kwargs = {"enable_thinking": True, "thinking": False, "documents": [{"é": 1}], "x": None}
    text = read_template_kwargs({"chat_template_kwargs": kwargs})
    assert json.loads(text) == {"documents": [{"é": 1}], "x": None}


def test_a_thinking_that_is_not_a_switch_is_passed_to_the_template() -> None:
    assert read_template_kwargs({"chat_template_kwargs": {"thinking": "deep"}}) == '{"thinking":"deep"}'


def test_without_template_kwargs_there_are_none() -> None:
    assert read_template_kwargs({}) == "{}"


@pytest.mark.parametrize(
    ("trait", "members", "asked", "output"),
    [
        ("separate", {}, False, "separate"),
        ("inline", {}, True, "inline"),
        ("auto", {}, False, "inline"),
        ("auto", {}, True, "separate"),
        ("separate", {"include_reasoning": False}, False, "inline"),
        ("inline", {"include_reasoning": True}, False, "separate"),
        ("auto", {"separate_reasoning": True}, False, "separate"),
        ("auto", {"separate_reasoning": False}, True, "inline"),
        ("separate", {"separate_reasoning": False, "include_reasoning": True}, False, "inline"),
    ],
)
def test_the_place_of_reasoning(trait: Any, members: dict[str, object], asked: bool, output: str) -> None:
    settings = DialectSettings(reasoning_output=trait)
    assert read_reasoning_output(fields(**members), settings, asked=asked) == output


def test_auto_is_separate_for_ollama_when_think_is_truthy() -> None:
    settings = DialectSettings(reasoning_output="auto")
    assert ollama_chat(settings=settings, think=True).reasoning_output == "separate"
    assert ollama_generate(settings=settings, think="high").reasoning_output == "separate"
    assert ollama_chat(settings=settings, think=False).reasoning_output == "inline"
    assert ollama_chat(settings=settings).reasoning_output == "inline"


def test_auto_is_inline_for_openai_unless_requested() -> None:
    settings = DialectSettings(reasoning_output="auto")
    assert chat_call(settings=settings, think=True).reasoning_output == "inline"
    assert chat_call(settings=settings, include_reasoning=True).reasoning_output == "separate"


def test_tags_are_deltas_of_their_own() -> None:
    inline = InlineReasoning()
    assert inline.reasoning("Let me") == ["<think>", "\nLet me"]
    assert inline.reasoning(" see.\n") == [" see.\n"]
    assert inline.text("47") == ["</think>", "\n\n47"]
    assert inline.text(".") == ["."]
    assert inline.finish("stop") == []


def test_line_breaks_of_the_model_are_not_doubled() -> None:
    inline = InlineReasoning()
    assert inline.reasoning("\nhm") == ["<think>", "\nhm"]
    assert inline.text("\n\nok") == ["</think>", "\n\nok"]


def test_reasoning_cut_by_the_token_limit_stays_open() -> None:
    inline = InlineReasoning()
    inline.reasoning("hm")
    assert inline.finish("length") == []


def test_reasoning_that_ended_without_an_answer_is_closed() -> None:
    inline = InlineReasoning()
    inline.reasoning("hm")
    assert inline.finish("stop") == ["</think>"]


def test_text_without_reasoning_has_no_tags() -> None:
    inline = InlineReasoning()
    assert [*inline.text("hi"), *inline.finish("stop")] == ["hi"]


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (Choice(text="47", reasoning="12 + 35"), "<think>\n12 + 35</think>\n\n47"),
        (Choice(text="47"), "47"),
        (Choice(reasoning="12 +", finish_reason="length"), "<think>\n12 +"),
        (
            Choice(reasoning="hm", tool_calls=[ToolCall("c", "f", "{}")], finish_reason="tool_calls"),
            "<think>\nhm</think>",
        ),
        (Choice(), ""),
    ],
)
def test_a_whole_answer_is_folded_the_same_way(choice: Choice, text: str) -> None:
    assert fold_inline(choice) == text


def test_inline_reasoning_has_a_readable_repr() -> None:
    inline = InlineReasoning()
    inline.reasoning("hm")
    assert repr(inline) == "<InlineReasoning open>"
