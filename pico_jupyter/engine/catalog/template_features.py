"""TemplateFeatures: what a chat template supports. Detected by rendering the template in a sandbox.

Only TemplateProcess calls detect_template_features() on templates that are not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pico_jupyter.engine.catalog.content_format import detect_content_format
from pico_jupyter.engine.catalog.history_format import HistoryFormat, detect_history_format, required_variables
from pico_jupyter.engine.catalog.template_sandbox import DATE, SandboxedTemplate
from pico_jupyter.engine.formats.output_format import OutputFormat, detect_output_format, names_reasoning
from pico_jupyter.errors import TemplateFailed
from pico_jupyter.template_switch import EFFORTS, TemplateSwitch

PROBE_NAME = "probe_the_template"
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": PROBE_NAME,
        "description": "Nothing.",
        "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
    },
}
# Template variables that turn reasoning on and off, with both values. The first that changes the prompt is used.
SWITCH_VARIABLES: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
    ("enable_thinking", {"enable_thinking": True}, {"enable_thinking": False}),
    ("thinking", {"thinking": True}, {"thinking": False}),
    ("thinking_mode", {"thinking_mode": "enabled"}, {"thinking_mode": "disabled"}),
    ("thinking_option", {"thinking_option": "on"}, {"thinking_option": "off"}),
    ("thinking_budget", {}, {"thinking_budget": 0}),
)
EFFORT_VARIABLES = ("reasoning_effort", "thinking_effort", "reasoning_strength")
# Efforts that mean no reasoning; the last two only in some templates.
NO_EFFORTS = ("none", "no_think", "minimal", "low")
# Models trained with these texts in the system message use them as the switch.
SYSTEM_ON, SYSTEM_OFF = "/think", "/no_think"
# The efforts of a template that writes any value into the prompt.
COMMON_EFFORTS = ("low", "medium", "high")
UNKNOWN_EFFORT = "qzj"
WORD = "Qzjreasoning"
REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


@dataclass(slots=True, frozen=True)
class TemplateFeatures:
    """What a chat template supports.

    `tools`: it prints tools, and the parser can read calls in its format. `reasoning_switch`: None if the model does
    not reason. `reasoning_default`: whether the model reasons if a request does not set the switch.
    """

    tools: bool = False
    reasoning_switch: TemplateSwitch | None = None
    reasoning_default: bool = False


def detect_template_features(text: str, special_tokens: Mapping[str, str], added_tokens: Set[str]) -> TemplateFeatures:
    """Detect what the chat template `text` supports. Raises BrokenModel.

    `special_tokens` are the variables bos_token, eos_token and so on. `added_tokens` are the added tokens of the
    vocabulary. An empty text supports nothing.
    """
    if not text:
        return TemplateFeatures()
    probe = _Probe(text, special_tokens, detect_output_format(text, added_tokens))
    history_format = probe.detect_history_format()
    switch = _detect_switch(probe)
    is_reasoning = switch is not None or _reasons_always(probe, text)
    return TemplateFeatures(
        tools=_detect_tools(probe) or _has_tools_variable(history_format),
        reasoning_switch=(switch or TemplateSwitch()) if is_reasoning else None,
        reasoning_default=is_reasoning and _reasons_by_default(probe, switch),
    )


class _Probe:
    """Renders a template. `variables` are the names that the template reads."""

    def __init__(self, text: str, special_tokens: Mapping[str, str], output_format: OutputFormat) -> None:
        self.text = text
        self._template = SandboxedTemplate(text)
        self.variables = self._template.variables
        self._special_tokens = special_tokens
        self._open = (output_format.reasoning_open or "").strip()
        self._close = (output_format.reasoning_close or "").strip()
        self._markers = output_format.markers

    def render(
        self, variables: Mapping[str, Any] = MappingProxyType({}), *, history: Mapping[str, Any] | None = None
    ) -> str | None:
        """The prompt for one short user message, after the answer `history`; None if the template fails."""
        messages: list[Mapping[str, Any]] = []
        if history is not None:
            messages += [{"role": "user", "content": "Hello"}, history]
        messages.append({"role": "user", "content": "Hello"})
        return self._render(messages, (), variables)

    def detect_history_format(self) -> HistoryFormat:
        """Render the conversations of ContentFormat and HistoryFormat. Tokenizer renders them later without limits."""

        def render(
            messages: Sequence[Mapping[str, Any]],
            tools: Sequence[Mapping[str, Any]] = (),
            variables: Mapping[str, Any] = MappingProxyType({}),
        ) -> str:
            text = self._render(messages, tools, variables)
            if text is None:
                raise TemplateFailed("the template fails")
            return text

        content_format = detect_content_format(render)
        return detect_history_format(render, accepts_strings=content_format.accepts_strings)

    def _render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]
    ) -> str | None:
        defaults = {"messages": messages, "add_generation_prompt": True, **self._special_tokens}
        given = {**defaults, **({"tools": tools} if tools else {}), **variables}
        text = self._template.render(given)
        return self._template.render(required_variables(DATE) | given) if text is None else text

    def ends_open(self, prompt: str | None) -> bool:
        """Whether a prompt ends inside reasoning."""
        return prompt is not None and prompt.rstrip().endswith(self._open)

    def ends_closed(self, prompt: str | None) -> bool:
        """Whether a prompt ends after reasoning that is closed."""
        if prompt is None:
            return False
        for marker in self._markers:
            prompt = prompt.rstrip().removesuffix(marker)
        return prompt.rstrip().endswith(self._close)

    def explains_reasoning(self) -> bool:
        """Whether the template writes the closing tag into every prompt, or into every past answer."""
        prompts = (self.render(), self.render(history={"role": "assistant", "content": "Hello"}))
        return any(prompt is not None and self._close in prompt and not self.ends_closed(prompt) for prompt in prompts)


def _detect_switch(probe: _Probe) -> TemplateSwitch | None:
    variable, efforts = _detect_efforts(probe)
    for name, on, off in SWITCH_VARIABLES:
        if name in probe.variables and (probe.render() is None or probe.render(on) != probe.render(off)):
            return TemplateSwitch(dict(on), dict(off), variable, efforts)
    no_effort = next((effort for effort in NO_EFFORTS if _stops_reasoning(probe, variable, effort)), None)
    if no_effort is not None:
        remaining = tuple(effort for effort in efforts if not _stops_reasoning(probe, variable, effort))
        on = {variable: remaining[-1]} if remaining and _is_default(probe, variable, no_effort) else {}
        return TemplateSwitch(on, {variable: no_effort}, variable, remaining)
    if SYSTEM_OFF in probe.text:
        return TemplateSwitch(off={}, system_on=SYSTEM_ON, system_off=SYSTEM_OFF)
    return TemplateSwitch(effort_variable=variable, efforts=efforts) if efforts else None


def _detect_efforts(probe: _Probe) -> tuple[str, tuple[str, ...]]:
    """The variable for the effort and its values; "" and () without one."""
    on = _all_on(probe)
    for variable in EFFORT_VARIABLES:
        if variable not in probe.variables:
            continue
        unknown = probe.render({variable: UNKNOWN_EFFORT} | on)
        if unknown is not None and UNKNOWN_EFFORT in unknown:
            return variable, COMMON_EFFORTS
        renderings = {effort: probe.render({variable: effort} | on) for effort in EFFORTS}
        return variable, tuple(effort for effort, text in renderings.items() if text is not None and text != unknown)
    return "", ()


def _all_on(probe: _Probe) -> dict[str, Any]:
    """All switches of a template, set to on. Some templates read the effort only if reasoning is on."""
    return {key: value for name, on, _ in SWITCH_VARIABLES if name in probe.variables for key, value in on.items()}


def _stops_reasoning(probe: _Probe, variable: str, effort: str) -> bool:
    if not variable:
        return False
    prompt = probe.render({variable: effort})
    if effort in ("none", "no_think"):
        unknown = probe.render({variable: UNKNOWN_EFFORT})
        return prompt is not None and prompt != unknown and not (unknown and UNKNOWN_EFFORT in unknown)
    return probe.ends_closed(prompt)


def _is_default(probe: _Probe, variable: str, effort: str) -> bool:
    return probe.render() == probe.render({variable: effort})


def _reasons_always(probe: _Probe, text: str) -> bool:
    """Whether a model that has no switch generates reasoning: its template opens or handles reasoning."""
    prompt = probe.render()
    if probe.ends_open(prompt) or probe.explains_reasoning() or names_reasoning(text):
        return True
    return any("think" in name for name in probe.variables) and any(
        _prints_reasoning(probe, key) for key in REASONING_KEYS
    )


def _prints_reasoning(probe: _Probe, key: str) -> bool:
    history = {"role": "assistant", "content": "Hello", key: WORD}
    keep = {name: True for name in probe.variables if name.startswith(("preserve", "keep"))}
    prompt = probe.render(keep, history=history)
    return prompt is not None and WORD in prompt


def _reasons_by_default(probe: _Probe, switch: TemplateSwitch | None) -> bool:
    prompt = probe.render()
    if switch is None or switch.off is None or prompt is None:
        return True
    if switch.system_off:
        return not probe.ends_closed(prompt)
    if prompt == probe.render(switch.on):
        return True
    return prompt != probe.render(switch.off) and not probe.ends_closed(prompt)


def _has_tools_variable(history_format: HistoryFormat) -> bool:
    return history_format.tools is not None and history_format.tools.variable == "functions"


def _detect_tools(probe: _Probe) -> bool:
    """Whether a template prints the tools of a request. If it fails with the test tool, assume that it prints tools."""
    if "tools" not in probe.variables:
        return False
    rendered = probe.render({"tools": [PROBE_TOOL]})
    return rendered is None or PROBE_NAME in rendered
