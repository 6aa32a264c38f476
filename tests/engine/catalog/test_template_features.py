"""The features of a chat template are detected by rendering it."""

from __future__ import annotations

import pytest

from pico_jupyter.engine.catalog.template_features import TemplateFeatures, detect_template_features
from pico_jupyter.engine.catalog.weights import BrokenModel
from pico_jupyter.template_switch import TemplateSwitch

QWEN3 = (
    "{{ messages[0].content }}"
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
TOOLS = "{% if tools %}{% for tool in tools %}{{ tool.function.name }}{% endfor %}{% endif %}"
THINKING = TemplateSwitch({"enable_thinking": True}, {"enable_thinking": False})


def read(text: str, *added_tokens: str) -> TemplateFeatures:
    return detect_template_features(text, {"bos_token": "<s>", "eos_token": "</s>"}, set(added_tokens))


def reasoning(text: str) -> tuple[TemplateSwitch | None, bool]:
    features = read(text)
    return features.reasoning_switch, features.reasoning_default


def test_an_empty_template_supports_nothing() -> None:
    assert read("") == TemplateFeatures()


@pytest.mark.parametrize(
    ("template", "switch", "default"),
    [
        (QWEN3, THINKING, True),
        ("{% if enable_thinking %}<think>{% else %}</think>{% endif %}", THINKING, False),
        (
            "{% if thinking %}think first{% endif %}Hi</think>",
            TemplateSwitch({"thinking": True}, {"thinking": False}),
            False,
        ),
        (
            "{% if thinking_mode == 'disabled' %}<think></think>{% else %}<think>{% endif %}",
            TemplateSwitch({"thinking_mode": "enabled"}, {"thinking_mode": "disabled"}),
            True,
        ),
        (
            "{% if thinking_budget is defined and thinking_budget == 0 %}<think></think>{% endif %}",
            TemplateSwitch({}, {"thinking_budget": 0}),
            True,
        ),
    ],
)
def test_a_switch_is_the_variable_that_changes_the_prompt(template: str, switch: TemplateSwitch, default: bool) -> None:
    assert reasoning(template) == (switch, default)


def test_a_variable_that_changes_nothing_is_not_a_switch() -> None:
    assert read("{% if enable_thinking %}{% endif %}{{ messages[0].content }}") == TemplateFeatures()


def test_a_template_that_writes_any_effort_has_the_common_ones_and_cannot_stop_reasoning() -> None:
    text = "<|channel|>Reasoning: {{ reasoning_effort | default('medium') }}"
    switch = TemplateSwitch(effort_variable="reasoning_effort", efforts=("low", "medium", "high"))
    assert reasoning(text) == (switch, True)


def test_a_template_that_rejects_efforts_has_those_that_it_accepts() -> None:
    text = (
        "{% set effort = reasoning_effort | default('xhigh') %}"
        "{% if effort not in ('xhigh', 'medium', 'low') %}{{ raise_exception('effort') }}{% endif %}{{ effort }}"
        "{% if enable_thinking is false %}<think></think>{% else %}<think>{% endif %}"
    )
    switch = TemplateSwitch(
        {"enable_thinking": True}, {"enable_thinking": False}, "reasoning_effort", ("low", "medium", "xhigh")
    )
    assert reasoning(text) == (switch, True)


def test_an_effort_may_be_the_switch() -> None:
    text = (
        "{% set effort = reasoning_effort | default('no_think') %}"
        "{% if effort not in ('no_think', 'low', 'high') %}{{ raise_exception('effort') }}{% endif %}{{ effort }}"
        "{% if effort == 'no_think' %}<think></think>{% else %}<think>{% endif %}"
    )
    switch = TemplateSwitch(
        {"reasoning_effort": "high"}, {"reasoning_effort": "no_think"}, "reasoning_effort", ("low", "high")
    )
    assert reasoning(text) == (switch, False)


def test_a_switch_may_stand_in_the_system_message() -> None:
    text = "{% if '/no_think' in messages[0].content %}<think></think>{% else %}<think>\n{% endif %}"
    switch = TemplateSwitch(off={}, system_on="/think", system_off="/no_think")
    assert reasoning(text) == (switch, True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content }}<think>\n",
        "Write <think>thoughts</think>, then the answer. {{ messages[0].content }}",
        "{% for m in messages %}{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}{% endfor %}!",
        "{% if false %}<|START_THINKING|><|END_THINKING|>{% endif %}{{ messages[0].content }}",
        "{% for m in messages %}{% if m.thinking is defined and preserve_thinking %}{{ m.thinking }}{% endif %}"
        "{{ m.content }}{% endfor %}",
    ],
    ids=["opens reasoning", "explains the tags", "prints empty reasoning", "special tags", "keeps past reasoning"],
)
def test_a_model_without_a_switch_always_reasons_if_its_template_shows_that(template: str) -> None:
    assert reasoning(template) == (TemplateSwitch(), True)


def test_a_template_that_only_removes_reasoning_from_past_answers_does_not_reason() -> None:
    text = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}!"
    assert read(text) == TemplateFeatures()


def test_tools_that_are_rendered_are_supported() -> None:
    assert read(TOOLS) == TemplateFeatures(tools=True)


def test_tools_in_the_variable_of_firefunction_are_supported() -> None:
    text = "{{ functions + datetime }}{% for m in messages %}{{ m.content }}{% endfor %}"
    assert read(text) == TemplateFeatures(tools=True)


def test_tools_that_are_only_mentioned_are_not_supported() -> None:
    assert read("{% if tools %}sorry, no tools{% endif %}") == TemplateFeatures()


def test_a_template_that_rejects_the_probe_is_judged_by_its_variables() -> None:
    text = "{{ raise_exception('no system prompt') }}{{ tools }}{{ enable_thinking }}"
    assert read(text) == TemplateFeatures(tools=True, reasoning_switch=THINKING, reasoning_default=True)


def test_a_clock_in_the_template_is_not_a_switch() -> None:
    assert read("{{ strftime_now('%H:%M:%S.%f') }}{% if enable_thinking %}{% endif %}") == TemplateFeatures()


def test_special_tokens_generation_blocks_and_loop_controls_are_rendered() -> None:
    text = (
        "{{ bos_token + eos_token }}{% for m in messages %}"
        "{% generation %}{{ m | tojson(indent=2) }}{% endgeneration %}"
        "{% break %}{% endfor %}{% if enable_thinking %}x{% endif %}"
    )
    assert reasoning(text) == (THINKING, False)


def test_a_template_cannot_leave_its_sandbox() -> None:
    assert read("{{ ''.__class__.__mro__[1].__subclasses__() }}{{ tools }}") == TemplateFeatures(tools=True)


def test_a_template_with_a_syntax_error_is_refused() -> None:
    with pytest.raises(BrokenModel, match="the chat template cannot be parsed: Expected an expression"):
        read("{% if %}")


@pytest.mark.parametrize(
    ("reasoning", "effort", "expected"),
    [
        (None, None, {}),
        (None, "high", {"reasoning_effort": "xhigh"}),
        (True, None, {"enable_thinking": True}),
        (True, "low", {"enable_thinking": True, "reasoning_effort": "low"}),
        (True, "high", {"enable_thinking": True, "reasoning_effort": "xhigh"}),
        (True, "max", {"enable_thinking": True, "reasoning_effort": "xhigh"}),
        (False, "high", {"enable_thinking": False}),
    ],
)
def test_an_effort_that_a_template_lacks_becomes_the_next_higher_one(
    reasoning: bool | None, effort: str | None, expected: dict[str, object]
) -> None:
    switch = TemplateSwitch(
        {"enable_thinking": True}, {"enable_thinking": False}, "reasoning_effort", ("low", "medium", "xhigh")
    )
    assert switch.variables(reasoning, effort) == expected


def test_a_model_that_cannot_stop_reasoning_reasons_with_the_lowest_effort() -> None:
    switch = TemplateSwitch(effort_variable="reasoning_effort", efforts=("low", "medium", "high"))
    assert switch.variables(False, None) == {"reasoning_effort": "low"}


@pytest.mark.parametrize(
    "template",
    ["{{ 1 // 0 }}", "{{ 2.0 ** 5000 }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ '%d'|format('x') }}"],
)
def test_a_template_that_always_fails_supports_nothing(template: str) -> None:
    assert read(template) == TemplateFeatures()


def test_a_template_may_fail_for_one_value_of_a_switch() -> None:
    assert reasoning("{% if enable_thinking %}{{ 1 % 0 }}{% endif %}") == (THINKING, False)


@pytest.mark.parametrize("template", ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{% if 1 %}" * 3000])
def test_a_template_that_is_nested_too_deeply_is_broken(template: str) -> None:
    with pytest.raises(BrokenModel, match="the chat template cannot be compiled"):
        read(template + "{% endif %}" * template.count("{% if"))
