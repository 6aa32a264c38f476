"""The switch that turns reasoning on or off, in the spellings of many servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pico_jupyter.dialects.openai_request import OpenAIChatRequest
from pico_jupyter.dialects.reasoning_switch import (
    ReasoningSwitch,
    read_reasoning,
    read_reasoning_limit,
    read_template_kwargs,
    refuse_unknown_switches,
)
from pico_jupyter.errors import InvalidRequest
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
        ({"chat_template_kwargs": {"thinking": "off"}}, False),
        ({"chat_template_kwargs": {"thinking": "On"}}, True),
        ({"chat_template_kwargs": {"thinking": "disabled"}}, False),
        ({"chat_template_kwargs": {"think": False}}, False),
        ({"chat_template_kwargs": {"reasoning": False}}, False),
        ({"chat_template_kwargs": {"reasoning": True}}, True),
        ({"chat_template_kwargs": {"reasoning": "deep"}}, None),
        ({"chat_template_kwargs": {"reasoning_effort": "none"}}, False),
        ({"chat_template_kwargs": {"reasoning_effort": "low"}}, None),
        ({"chat_template_kwargs": {"thinking_budget": 0}}, False),
        ({"chat_template_kwargs": {"thinking_budget": 9}}, None),
        ({"chat_template_kwargs": {"thinking_mode": "chat"}}, None),
        ({"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "none"}}, True),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"enabled": False}}, False),
        ({"reasoning": {"effort": "high", "enabled": False}}, True),
        ({"chat_template_kwargs": {"thinking": "false"}}, False),
        ({"enable_thinking": True}, True),
        ({"enable_thinking": False}, False),
        ({"enable_thinking": "false"}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "disabled", "budget_tokens": 1024}}, False),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "auto"}}, None),
        ({"thinking": {"budget_tokens": 0}}, False),
        ({"thinking": {"budget_tokens": 9}}, True),
        ({"thinking": {"enabled": False}}, False),
        ({"thinking": {"enabled": True}}, True),
        ({"thinking": {"enabled": False, "budget_tokens": 9}}, False),
        ({"thinking": {"type": "enabled", "enabled": False}}, True),
        ({"thinking": {}}, None),
        ({"thinking": True}, True),
        ({"thinking": False}, False),
        ({"thinking": "disabled"}, False),
        ({"reasoning": {"max_tokens": 2000}}, True),
        ({"reasoning": {"max_tokens": 0}}, False),
        ({"reasoning": {"enabled": False, "max_tokens": 2000}}, False),
        ({"reasoning": {"exclude": True}}, None),
        ({"max_thinking_tokens": 0}, False),
        ({"max_thinking_tokens": 100}, True),
        ({"thinking_budget": 0}, False),
        ({"thinking_budget": 100}, True),
        ({"thinking_budget": -1}, None),
        ({"thinking_token_budget": 0}, False),
        ({"thinking_budget_tokens": 0}, False),
        ({"reasoning_budget": 0}, False),
        ({"max_reasoning_tokens": 0}, False),
        ({"options": {"think": False}}, False),
        ({"options": {"think": "high"}}, True),
        ({"reasoning": {}}, None),
        ({}, None),
    ],
)
def test_switches_in_their_own_spellings(members: dict[str, object], on: bool | None) -> None:
    assert read_reasoning(fields(**members)).on is on


BY_PRECEDENCE: list[dict[str, Any]] = [
    {"think": True},
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"enable_thinking": True},
    {"thinking": {"type": "disabled"}},
    {"reasoning": {"effort": "high"}},
    {"reasoning_effort": "none"},
    {"thinking_budget": 100},
    {"options": {"think": False}},
]


@pytest.mark.parametrize("first", range(len(BY_PRECEDENCE)))
def test_the_first_spelling_by_precedence_decides(first: int) -> None:
    members = {key: value for spelling in BY_PRECEDENCE[first:] for key, value in spelling.items()}
    assert read_reasoning(fields(**members)).on is (first % 2 == 0)


@pytest.mark.parametrize(
    ("members", "switch"),
    [
        ({"think": True, "reasoning_effort": "high"}, ReasoningSwitch(True, "high", True)),
        ({"thinking": {"type": "enabled"}, "reasoning_effort": "max"}, ReasoningSwitch(True, "max")),
        ({"enable_thinking": True, "reasoning_effort": "low"}, ReasoningSwitch(True, "low")),
        (
            {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "high"}},
            ReasoningSwitch(True, "high"),
        ),
        (
            {"think": True, "chat_template_kwargs": {"reasoning_effort": "deep"}},
            ReasoningSwitch(True, "deep", True),
        ),
        ({"think": "low", "reasoning_effort": "high"}, ReasoningSwitch(True, "low", True)),
        ({"enable_thinking": False, "reasoning_effort": "high"}, ReasoningSwitch(False)),
        ({"reasoning_effort": "high", "options": {"think": "low"}}, ReasoningSwitch(True, "high")),
        ({"chat_template_kwargs": {"reasoning_effort": "high"}}, ReasoningSwitch()),
    ],
)
def test_a_switch_without_a_level_has_the_first_level_of_the_later_fields(
    members: dict[str, object], switch: ReasoningSwitch
) -> None:
    assert read_reasoning(fields(**members)) == switch


@pytest.mark.parametrize(
    "members",
    [
        {"disable_thinking": True},
        {"enable_reasoning": False},
        {"enableThinking": False},
        {"thinking_mode": "off"},
        {"nothink": True},
        {"no_thinking": True},
        {"thinking_config": {"thinking_budget": 0}},
        {"thinkingConfig": {"thinkingBudget": 0}},
        {"reasoningEffort": "none"},
        {"thinkingBudget": 0},
        {"thinkingMode": "off"},
        {"think-mode": "off"},
        {"EnableThinking": False},
        {"effort": "low"},
        {"prompt_mode": "reasoning"},
        {"includeThoughts": False},
    ],
)
def test_a_switch_that_is_not_supported_is_refused_by_name(members: dict[str, object]) -> None:
    for parse in (chat_call, ollama_chat, ollama_generate):
        with pytest.raises(InvalidRequest, match="Use 'think'") as caught:
            parse(**members)
        assert caught.value.param == next(iter(members))


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"extra_body": {"enable_thinking": False}}, "extra_body.enable_thinking"),
        ({"extra_body": {"chat_template_kwargs": {"x": 1}}}, "extra_body.chat_template_kwargs"),
        ({"template_kwargs": {"enable_thinking": False}}, "template_kwargs.enable_thinking"),
        ({"chat_template_args": {"thinking": False}}, "chat_template_args.thinking"),
        ({"options": {"enable_thinking": False}}, "options.enable_thinking"),
        ({"options": {"reasoning_effort": "none"}}, "options.reasoning_effort"),
        ({"options": {"nothink": True}}, "options.nothink"),
        ({"parameters": {"enable_thinking": False}}, "parameters.enable_thinking"),
        ({"generation_config": {"thinking_config": {"thinking_budget": 0}}}, "generation_config.thinking_config"),
        ({"extra_body": {"google": {"thinking_config": {}}}}, "extra_body.google.thinking_config"),
        ({"output_config": {"effort": "low"}}, "output_config.effort"),
        ({"thinking": {"mode": "off"}}, "thinking.mode"),
        ({"thinking": {"thinking_budget": 0}}, "thinking.thinking_budget"),
        ({"thinking": {"type": "enabled", "token_budget": 9}}, "thinking.token_budget"),
        ({"reasoning": {"mode": "off"}}, "reasoning.mode"),
        ({"model_kwargs": {"enable_thinking": False}}, "model_kwargs.enable_thinking"),
        ({"sampling_params": {"thinking_budget": 0}}, "sampling_params.thinking_budget"),
        ({"extra_body": {"extra_body": {"think": False}}}, "extra_body.extra_body.think"),
        ({"providerOptions": {"openai": {"reasoningEffort": "low"}}}, "providerOptions.openai.reasoningEffort"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, "generationConfig.thinkingConfig"),
    ],
)
def test_a_switch_in_the_wrong_object_is_refused_by_name(members: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_call(**members)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "members",
    [
        {"disable_thinking": None},
        {"extra_body": {"metadata": {}}},
        {"extra_body": "x"},
        {"extra_body": {"think": None}},
        {"extra_body": {"google": {"x": 1}}},
        {"extra_body": {"google": "x"}},
        {"output_config": {"format": {}}},
        {"metadata": {"thinking": "deep"}},
        {"stream_reasoning": False, "preserve_thinking": True},
        {"thinking": {"mode": None, "keep": "all"}},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"think": False}}}}}}}},
        {"a": [{"think": False}]},
    ],
)
def test_null_and_other_members_are_no_switches(members: dict[str, object]) -> None:
    assert chat_call(**members).request.reasoning is None


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
        ({"reasoning": {"max_tokens": "1"}}, "reasoning.max_tokens"),
        ({"reasoning": {"exclude": 1}}, "reasoning.exclude"),
        ({"enable_thinking": 1}, "enable_thinking"),
        ({"enable_thinking": "yes"}, "enable_thinking"),
        ({"thinking": "yes"}, "thinking"),
        ({"thinking": 1}, "thinking"),
        ({"thinking": []}, "thinking"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"enabled": "no"}}, "thinking.enabled"),
        ({"thinking": {"type": True}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "1"}}, "thinking.budget_tokens"),
        ({"thinking": {"budget_tokens": -2}}, "thinking.budget_tokens"),
        ({"thinking_budget": "0"}, "thinking_budget"),
        ({"thinking_budget": 1.5}, "thinking_budget"),
        ({"options": {"think": 1}}, "options.think"),
        ({"options": {"think": "loud"}}, "options.think"),
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
        ({"think": True}, ReasoningSwitch(True, None, True)),
        ({"think": False}, ReasoningSwitch(False)),
        ({"reasoning_effort": "low"}, ReasoningSwitch(False, "low")),
        ({"reasoning_effort": "minimal"}, ReasoningSwitch(False, "minimal")),
        ({"reasoning_effort": "HIGH"}, ReasoningSwitch(True, "high")),
        ({"reasoning": "on"}, ReasoningSwitch(True, None)),
        ({"reasoning": "off"}, ReasoningSwitch(False)),
        ({"reasoning": {"enabled": True}}, ReasoningSwitch(True, None)),
        ({"chat_template_kwargs": {"enable_thinking": True}}, ReasoningSwitch(True, None)),
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


@pytest.mark.parametrize(
    "kwargs",
    [
        {"thinking": "off"},
        {"think": False},
        {"reasoning": "on"},
        {"reasoning_effort": "none"},
        {"thinking_budget": 0},
    ],
)
def test_a_switch_in_template_kwargs_is_not_passed_on(kwargs: dict[str, object]) -> None:
    assert read_template_kwargs({"chat_template_kwargs": kwargs}) == "{}"


@pytest.mark.parametrize(
    "kwargs",
    [
        {"thinking_mode": "chat"},
        {"thinking_budget": 9},
        {"thinking_budget": False},
        {"reasoning_effort": "low"},
        {"reasoning": {"x": 1}},
        {"think": None},
        {"nothink": True},
    ],
)
def test_other_template_kwargs_are_passed_on(kwargs: dict[str, object]) -> None:
    assert json.loads(read_template_kwargs({"chat_template_kwargs": kwargs})) == kwargs


def test_a_thinking_that_is_not_a_switch_is_passed_to_the_template() -> None:
    assert read_template_kwargs({"chat_template_kwargs": {"thinking": "deep"}}) == '{"thinking":"deep"}'


def test_without_template_kwargs_there_are_none() -> None:
    assert read_template_kwargs({}) == "{}"


@pytest.mark.parametrize(
    "members",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 512}},
        {"reasoning": {"max_tokens": 512}},
        {"thinking_budget": 512},
        {"reasoning_budget": 512},
        {"chat_template_kwargs": {"thinking_budget": 512}, "thinking_budget": 9},
    ],
)
def test_a_budget_is_passed_to_the_template(members: dict[str, object]) -> None:
    assert read_template_kwargs(members) == '{"thinking_budget":512}'


@pytest.mark.parametrize(
    "members", [{"thinking_budget": 0}, {"thinking_budget": -1}, {"thinking": {"type": "enabled"}}]
)
def test_without_a_limit_the_template_receives_no_budget(members: dict[str, object]) -> None:
    assert read_template_kwargs(members) == "{}"


@pytest.mark.parametrize(
    ("members", "limit"),
    [
        ({}, None),
        ({"max_thinking_tokens": 9}, 9),
        ({"thinking_budget": 9}, 9),
        ({"thinking_token_budget": 9}, 9),
        ({"thinking_budget_tokens": 9}, 9),
        ({"max_reasoning_tokens": 9}, 9),
        ({"reasoning_budget": 9}, 9),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, 9),
        ({"thinking": {"type": "enabled"}}, None),
        ({"reasoning": {"max_tokens": 9}}, 9),
        ({"reasoning": {"effort": "high", "max_tokens": 9}}, 9),
        ({"think": True, "max_thinking_tokens": 0}, 0),
        ({"max_thinking_tokens": -1}, None),
        ({"max_thinking_tokens": -1, "thinking_budget": 9}, 9),
    ],
)
def test_a_budget_limits_the_reasoning_in_each_spelling(members: dict[str, object], limit: int | None) -> None:
    assert read_reasoning_limit(fields(**members)) == limit
    for parse in (chat_call, ollama_chat, ollama_generate):
        assert parse(**members).request.max_reasoning_tokens == limit


@pytest.mark.parametrize(
    "kwargs",
    [
        {"thinking": {"type": "disabled"}},
        {"thinking": "no"},
        {"reasoning": {"effort": "none"}},
        {"thinking_budget": "0"},
    ],
)
def test_a_switch_of_the_template_may_be_an_object_or_a_word(kwargs: dict[str, Any]) -> None:
    assert read_reasoning(fields(chat_template_kwargs=kwargs)).on is False
    assert read_template_kwargs({"chat_template_kwargs": kwargs}) == "{}"


@pytest.mark.parametrize("name", ["enableThinking", "no_think", "disable_thinking"])
def test_a_switch_that_no_template_reads_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_unknown_switches({"chat_template_kwargs": {name: True}}, OpenAIChatRequest)
    assert caught.value.param == f"chat_template_kwargs.{name}"


def test_a_variable_of_templates_with_the_name_of_a_switch_is_passed_on() -> None:
    refuse_unknown_switches({"chat_template_kwargs": {"thinking_mode": "adaptive"}}, OpenAIChatRequest)
