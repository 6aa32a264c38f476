"""TemplateFeatures: what a chat template supports. Detected by rendering the template in a sandbox."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import lru_cache

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Closing tags of reasoning. A reasoning channel has no closing tag of its own, so its opening tag is listed.
REASONING_TAGS = (
    "</think>",
    "</thinking>",
    "</longcat_think>",
    "</seed:think>",
    "<|think:end|>",
    "[/THINK]",
    "<|channel>thought",
    "<|channel|>analysis",
)
SWITCHES = ("enable_thinking", "thinking")  # variables that turn reasoning on and off
PROBE_NAME = "probe_the_template"
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "Nothing.",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
    },
}


@dataclass(slots=True, frozen=True)
class TemplateFeatures:
    """What a chat template supports.

    `reasoning_switch`: the template can turn reasoning on and off. `reasoning_default`: whether the model reasons when
    a request does not set the switch.
    """

    tools: bool = False
    reasoning: bool = False
    reasoning_switch: bool = False
    reasoning_default: bool = False


class _GenerationBlock(jinja2.ext.Extension):
    """Renders the body of a `{% generation %}` block. Such blocks mark the assistant's tokens for training."""

    tags = {"generation"}  # noqa: RUF012  jinja2's Extension declares it as a plain set

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(value: object, ensure_ascii: bool = False, indent: int | None = None, **_: object) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    # The time is fixed, so that only the variables can make two renderings differ.
    environment.globals["strftime_now"] = datetime.datetime(2026, 1, 1).strftime
    return environment


def detect_template_features(text: str, special_tokens: dict[str, str]) -> TemplateFeatures:
    """Detect what the chat template `text` supports. Raises jinja2.TemplateSyntaxError.

    `special_tokens` are the variables bos_token, eos_token and so on. An empty text supports nothing.
    """
    if not text:
        return TemplateFeatures()
    variables = jinja2.meta.find_undeclared_variables(_environment().parse(text))
    template = _environment().from_string(text)
    switch, default = _detect_switch(template, special_tokens, variables)
    reasoning = switch or any(tag in text for tag in REASONING_TAGS)
    return TemplateFeatures(
        tools=_detect_tools(template, special_tokens, variables),
        reasoning=reasoning,
        reasoning_switch=switch,
        reasoning_default=default if switch else reasoning,
    )


def _detect_switch(template: jinja2.Template, special_tokens: dict[str, str], variables: set[str]) -> tuple[bool, bool]:
    """Whether there is a reasoning switch, and its default. Compares renderings with True, False and no value."""
    named = [switch for switch in SWITCHES if switch in variables]
    if not named:
        return False, False
    with_true = _render_probe(template, special_tokens, **dict.fromkeys(named, True))
    with_false = _render_probe(template, special_tokens, **dict.fromkeys(named, False))
    unset = _render_probe(template, special_tokens)
    if with_true is None or with_false is None:  # The probe failed, so a switch is assumed.
        return True, True
    return with_true != with_false, unset == with_true


def _detect_tools(template: jinja2.Template, special_tokens: dict[str, str], variables: set[str]) -> bool:
    if "tools" not in variables:
        return False
    rendered = _render_probe(template, special_tokens, tools=[PROBE_TOOL])
    return rendered is None or PROBE_NAME in rendered


def _render_probe(template: jinja2.Template, special_tokens: dict[str, str], **variables: object) -> str | None:
    """The prompt for one short user message; None when the template raises an error."""
    messages = [{"role": "user", "content": "Hello"}]
    try:
        return template.render(messages=messages, add_generation_prompt=True, **special_tokens, **variables)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None
