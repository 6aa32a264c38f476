"""What a chat template can do, found out by rendering it. Knows no tokenizer and no model."""

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

# The ends of reasoning blocks, and the openings of reasoning channels that have no end tag of their own.
REASONING_MARKS = (
    "</think>",
    "</thinking>",
    "</longcat_think>",
    "</seed:think>",
    "<|think:end|>",
    "[/THINK]",
    "<|channel>thought",
    "<|channel|>analysis",
)
SWITCHES = ("enable_thinking", "thinking")
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "probe_the_template",
        "description": "Nothing.",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
    },
}


@dataclass(slots=True, frozen=True)
class TemplateFacts:
    """`switch`: the template can turn reasoning off and on; `default`: what it does when nobody says."""

    tools: bool = False
    thinking: bool = False
    switch: bool = False
    default: bool = False


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` blocks, which training code marks the assistant's tokens with: rendered as their body."""

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
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    # One fixed day, so that two renderings never differ by the clock.
    environment.globals["strftime_now"] = datetime.datetime(2026, 1, 1).strftime
    return environment


def read_template(text: str, special_tokens: dict[str, str]) -> TemplateFacts:
    """Facts about a chat template. Raises jinja2.TemplateSyntaxError for one that does not parse."""
    if not text:
        return TemplateFacts()
    tree = _environment().parse(text)
    variables = jinja2.meta.find_undeclared_variables(tree)
    template = _environment().from_string(text)
    switch, default = _probe_switch(template, special_tokens, variables)
    thinking = switch or any(mark in text for mark in REASONING_MARKS)
    return TemplateFacts(
        tools=_probe_tools(template, special_tokens, variables),
        thinking=thinking,
        switch=switch,
        default=default if switch else thinking,
    )


def _probe_switch(template: jinja2.Template, special_tokens: dict[str, str], variables: set[str]) -> tuple[bool, bool]:
    """(has a switch, what it does when not given), from the three renderings with True, with False and without."""
    named = [switch for switch in SWITCHES if switch in variables]
    if not named:
        return False, False
    with_true = _render(template, special_tokens, **dict.fromkeys(named, True))
    with_false = _render(template, special_tokens, **dict.fromkeys(named, False))
    not_given = _render(template, special_tokens)
    if with_true is None or with_false is None:
        return True, True
    return with_true != with_false, not_given == with_true


def _probe_tools(template: jinja2.Template, special_tokens: dict[str, str], variables: set[str]) -> bool:
    if "tools" not in variables:
        return False
    rendered = _render(template, special_tokens, tools=[PROBE_TOOL])
    return rendered is None or PROBE_TOOL["function"]["name"] in rendered  # type: ignore[index]  # a literal above


def _render(template: jinja2.Template, special_tokens: dict[str, str], **variables: object) -> str | None:
    """The prompt for one short user message; None when the template refuses it."""
    messages = [{"role": "user", "content": "Hello"}]
    try:
        return template.render(messages=messages, add_generation_prompt=True, **special_tokens, **variables)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None
