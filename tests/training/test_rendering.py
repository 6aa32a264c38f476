"""The fast rendering of training equals that of the chat template."""

import json
from pathlib import Path
from random import Random
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from training.conversation import Sample, assistant, render_prompt, user
from training.generator import draw_notebook_sample, draw_sample

TEMPLATE = Path(__file__).parents[2] / "training" / "chat_template.jinja"


@pytest.fixture(scope="module")
def template() -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(TEMPLATE.read_text())


def render(template: jinja2.Template, sample: Sample, **variables: Any) -> str:
    return template.render(messages=sample.messages, tools=sample.tools, add_generation_prompt=True, **variables)


def test_training_prompts_equal_the_rendering_of_the_template(template: jinja2.Template) -> None:
    rng = Random(11)

    for _ in range(1500):
        sample = draw_sample(rng)
        assert render(template, sample, enable_thinking=sample.think) == render_prompt(sample)


def test_prompts_with_a_notebook_equal_the_rendering_of_the_template(template: jinja2.Template) -> None:
    rng = Random(12)

    for _ in range(300):
        sample = draw_notebook_sample(rng)
        assert render(template, sample, enable_thinking=sample.think) == render_prompt(sample)


def test_an_undefined_switch_means_reasoning(template: jinja2.Template) -> None:
    sample = Sample("add", [user("1 + 1")], "", "", think=True)

    assert render(template, sample) == render(template, sample, enable_thinking=True)
    assert "</think>" in render(template, sample, enable_thinking=False)


def test_the_reasoning_of_past_turns_is_removed(template: jinja2.Template) -> None:
    past = assistant("<think>\nlong\n</think>\n\n1 + 1 = 2")
    sample = Sample("add", [user("1 + 1"), past, user("Thanks")], "", "")

    assert "long" not in render(template, sample)
    assert "1 + 1 = 2" in render(template, sample)


def test_the_template_is_that_of_the_built_in_model() -> None:
    shipped = TEMPLATE.parents[1] / "pico_jupyter" / "builtin" / "pico-tiny" / "chat_template.jinja"

    assert shipped.read_text() == TEMPLATE.read_text()
