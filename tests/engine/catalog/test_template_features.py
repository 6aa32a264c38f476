"""The features of a chat template are detected by rendering it."""

from __future__ import annotations

import jinja2
import pytest

from pico_jupyter.engine.catalog.template_features import TemplateFeatures, detect_template_features

QWEN3 = (
    "{{ messages[0].content }}"
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
OFF_BY_DEFAULT = "{% if thinking %}<think>{% else %}</think>{% endif %}"
ALWAYS = "{{ messages[0].content }}<think>\n{% set x = '</think>' %}"
TOOLS = "{% if tools %}{% for tool in tools %}{{ tool.function.name }}{% endfor %}{% endif %}"


def read(text: str) -> TemplateFeatures:
    return detect_template_features(text, {"bos_token": "<s>", "eos_token": "</s>"})


def test_an_empty_template_supports_nothing() -> None:
    assert read("") == TemplateFeatures()


def test_a_switch_may_be_on_by_default() -> None:
    assert read(QWEN3) == TemplateFeatures(reasoning=True, reasoning_switch=True, reasoning_default=True)


def test_a_switch_may_be_off_by_default() -> None:
    assert read(OFF_BY_DEFAULT) == TemplateFeatures(reasoning=True, reasoning_switch=True, reasoning_default=False)


def test_a_variable_that_changes_nothing_is_not_a_switch() -> None:
    assert read("{% if enable_thinking %}{% endif %}{{ messages[0].content }}") == TemplateFeatures()


def test_a_template_with_reasoning_tags_and_no_switch_always_reasons() -> None:
    assert read(ALWAYS) == TemplateFeatures(reasoning=True, reasoning_switch=False, reasoning_default=True)


def test_tools_that_are_rendered_are_supported() -> None:
    assert read(TOOLS) == TemplateFeatures(tools=True)


def test_tools_that_are_only_mentioned_are_not_supported() -> None:
    assert read("{% if tools %}sorry, no tools{% endif %}") == TemplateFeatures()


def test_a_template_that_rejects_the_probe_is_judged_by_its_variables() -> None:
    text = "{{ raise_exception('no system prompt') }}{{ tools }}{{ enable_thinking }}"
    assert read(text) == TemplateFeatures(tools=True, reasoning=True, reasoning_switch=True, reasoning_default=True)


def test_a_clock_in_the_template_is_not_a_switch() -> None:
    assert read("{{ strftime_now('%H:%M:%S.%f') }}{% if enable_thinking %}{% endif %}") == TemplateFeatures()


def test_special_tokens_generation_blocks_and_loop_controls_are_rendered() -> None:
    text = (
        "{{ bos_token + eos_token }}{% for m in messages %}"
        "{% generation %}{{ m | tojson(indent=2) }}{% endgeneration %}"
        "{% break %}{% endfor %}{% if enable_thinking %}x{% endif %}"
    )
    assert read(text) == TemplateFeatures(reasoning=True, reasoning_switch=True, reasoning_default=False)


def test_a_template_cannot_leave_its_sandbox() -> None:
    assert read("{{ ''.__class__.__mro__[1].__subclasses__() }}{{ tools }}") == TemplateFeatures(tools=True)


def test_a_template_with_a_syntax_error_is_refused() -> None:
    with pytest.raises(jinja2.TemplateSyntaxError):
        read("{% if %}")
