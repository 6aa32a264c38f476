"""Reads the request fields that switch reasoning on or off, and writes reasoning as <think> tags in the text."""

from __future__ import annotations

from typing import assert_never

import msgspec

from pico_jupyter.client import Choice
from pico_jupyter.dialects.dialect_settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.request_bodies import JsonObject, json_text
from pico_jupyter.dialects.request_errors import wrong_value
from pico_jupyter.dialects.request_fields import (
    EFFORTS_OFF,
    EFFORTS_ON,
    GenerationFields,
    ReasoningField,
    TemplateArguments,
    ThinkLevel,
)
from pico_jupyter.types import FinishReason

OPEN_TAG = "<think>"
CLOSE_TAG = "</think>"

# These values only switch reasoning. Chat templates have no levels of these names.
_PLAIN_SWITCHES = ("none", "off", "on")


class ReasoningSwitch(msgspec.Struct, frozen=True):
    """The reasoning switch of a request.

    on: whether the model reasons; None: not given. effort: the level for chat templates that have levels. required: the
    request turns `think` on, which is an error on Ollama's endpoints if the model cannot reason.
    """

    on: bool | None = None
    effort: str | None = None
    required: bool = False


def read_reasoning(fields: GenerationFields) -> ReasoningSwitch:
    """Check think, chat_template_kwargs, reasoning and reasoning_effort. Return the first that is given."""
    switches = (
        _read_think(fields.think),
        _read_template_switch(fields.chat_template_kwargs),
        _read_reasoning_field(fields.reasoning),
        _read_effort(fields.reasoning_effort, "reasoning_effort"),
    )
    return next((switch for switch in switches if switch is not None), ReasoningSwitch())


def read_template_kwargs(raw: JsonObject) -> str:
    """Return the decoded body's chat_template_kwargs as JSON text, without the members that switch reasoning."""
    kwargs: JsonObject = raw.get("chat_template_kwargs") or {}
    switches = ["enable_thinking"]
    if isinstance(kwargs.get("thinking"), bool):
        switches.append("thinking")
    rest = {key: value for key, value in kwargs.items() if key not in switches}
    return json_text(rest, "chat_template_kwargs")


def read_reasoning_output(
    fields: GenerationFields, settings: DialectSettings, *, asked: bool = False
) -> ReasoningOutput:
    """Return whether reasoning is in separate fields or inline. `asked`: the setting "auto" means separate."""
    override = fields.include_reasoning if fields.separate_reasoning is None else fields.separate_reasoning
    if override is not None:
        return "separate" if override else "inline"
    match settings.reasoning_output:
        case "separate" | "inline":
            return settings.reasoning_output
        case "auto":
            return "separate" if asked else "inline"
        case _:
            assert_never(settings.reasoning_output)


class InlineReasoning:
    """Writes the reasoning of one choice between tags. Each returned string becomes a separate delta.

    litellm recognizes a tag only if it is a whole delta. Some chat templates end the prompt with the opening tag, so
    the model does not write it, but clients need it.
    """

    __slots__ = ("_is_open", "_is_separator_due")

    def __init__(self) -> None:
        self._is_open = False
        self._is_separator_due = False

    def __repr__(self) -> str:
        return f"<InlineReasoning {'open' if self._is_open else 'closed'}>"

    def reasoning(self, text: str) -> list[str]:
        if self._is_open:
            return [text]
        self._is_open = True
        return [OPEN_TAG, text if text.startswith("\n") else "\n" + text]

    def text(self, text: str) -> list[str]:
        closing = self.close()
        if self._is_separator_due and text:
            self._is_separator_due = False
            text = text if text.startswith("\n") else "\n\n" + text
        return [*closing, text]

    def close(self) -> list[str]:
        """Return the closing tag, if reasoning is open. Called before other content."""
        if not self._is_open:
            return []
        self._is_open = False
        self._is_separator_due = True
        return [CLOSE_TAG]

    def finish(self, reason: FinishReason) -> list[str]:
        """Return the closing tag, if reasoning is open. Reasoning that the token limit cut stays open."""
        return [] if reason == "length" else self.close()


def fold_inline(choice: Choice) -> str:
    """Return a whole answer's reasoning and text as one string, equal to the joined deltas of a stream."""
    inline = InlineReasoning()
    pieces = inline.reasoning(choice.reasoning) if choice.reasoning else []
    pieces += inline.text(choice.text) if choice.text else []
    pieces += inline.close() if choice.tool_calls else inline.finish(choice.finish_reason)
    return "".join(pieces)


def _read_think(think: bool | ThinkLevel | None) -> ReasoningSwitch | None:
    if think is None:
        return None
    if isinstance(think, bool):
        return ReasoningSwitch(think, effort="medium" if think else None, required=think)
    # reasoning_effort "low" turns reasoning off, but Ollama's think "low" turns it on.
    return ReasoningSwitch(on=True, effort=think, required=True)


def _read_template_switch(kwargs: TemplateArguments | None) -> ReasoningSwitch | None:
    if kwargs is None:
        return None
    value = kwargs.enable_thinking
    if value is None:
        # Templates of DeepSeek and Granite call the switch `thinking`. Only a boolean is a switch.
        value = kwargs.thinking if isinstance(kwargs.thinking, bool) else None
    if isinstance(value, str):
        word = value.strip().lower()
        if word not in ("true", "false"):
            raise wrong_value("chat_template_kwargs.enable_thinking", value, ("true", "false"))
        value = word == "true"
    return None if value is None else _switch(value)


def _read_reasoning_field(value: ReasoningField | str | None) -> ReasoningSwitch | None:
    if not isinstance(value, ReasoningField):
        return _read_effort(value, "reasoning")
    by_effort = _read_effort(value.effort, "reasoning.effort")
    if by_effort is not None or value.enabled is None:
        return by_effort
    return _switch(value.enabled)


def _read_effort(value: str | None, param: str) -> ReasoningSwitch | None:
    effort = (value or "").strip().lower()
    if not effort:
        return None
    if effort not in EFFORTS_OFF + EFFORTS_ON:
        raise wrong_value(param, effort, EFFORTS_OFF + EFFORTS_ON)
    is_on = effort in EFFORTS_ON
    return _switch(is_on) if effort in _PLAIN_SWITCHES else ReasoningSwitch(on=is_on, effort=effort)


def _switch(on: bool) -> ReasoningSwitch:
    return ReasoningSwitch(on=on, effort="medium" if on else None)
