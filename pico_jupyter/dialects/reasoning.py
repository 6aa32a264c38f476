"""The reasoning switch in all its spellings, and where reasoning goes in the answer. The same in both dialects."""

from __future__ import annotations

from typing import assert_never

import msgspec

from pico_jupyter.client import Choice
from pico_jupyter.dialects.fields import Fields, as_fields, json_text, refuse_type, refuse_value
from pico_jupyter.dialects.settings import DialectSettings, ReasoningOutput
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import FinishReason

OPEN_TAG = "<think>"
CLOSE_TAG = "</think>"

EFFORTS_OFF = ("none", "off", "low", "minimal")
EFFORTS_ON = ("medium", "high", "on", "xhigh", "max", "ultra")
# Not literal levels: no chat template takes these words.
_PLAIN_SWITCHES = ("none", "off", "on")
THINK_LEVELS = ("high", "medium", "low", "max")


class ReasoningSwitch(msgspec.Struct, frozen=True):
    """What a request says about reasoning. `on` None: nothing; `effort` is the literal level, if one was given.

    `required`: a model that cannot reason has to refuse, where the dialect does so at all.
    """

    on: bool | None = None
    effort: str | None = None
    required: bool = False


def read_reasoning(fields: Fields) -> ReasoningSwitch:
    """The switch, by precedence: think, chat_template_kwargs, reasoning, reasoning_effort. All of them are checked."""
    spellings = (
        _read_think(fields),
        _read_template_switch(fields),
        _read_reasoning_field(fields),
        _read_effort(fields, "reasoning_effort"),
    )
    return next((switch for switch in spellings if switch is not None), ReasoningSwitch())


def read_template_kwargs(fields: Fields) -> str:
    """chat_template_kwargs as JSON text, without the members that are the switch."""
    kwargs = fields.fields("chat_template_kwargs")
    if kwargs is None:
        return "{}"
    switches = ["enable_thinking"]
    if isinstance(kwargs.get("thinking"), bool):
        switches.append("thinking")
    rest = {key: value for key, value in kwargs.values.items() if key not in switches}
    return json_text(rest, kwargs.path)


def read_reasoning_output(fields: Fields, settings: DialectSettings, *, asked: bool) -> ReasoningOutput:
    """Where reasoning goes. `asked`: the request uses a spelling that means separate output when nothing else does."""
    separate_reasoning = fields.boolean("separate_reasoning")
    include_reasoning = fields.boolean("include_reasoning")
    override = include_reasoning if separate_reasoning is None else separate_reasoning
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
    """Puts one choice's reasoning between tags. Each string that comes out is a delta of its own.

    Clients recognise a tag only when it is the whole of a delta, and only with its opening half, which some chat
    templates already put at the end of the prompt.
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
        """Before anything that is not reasoning."""
        if not self._is_open:
            return []
        self._is_open = False
        self._is_separator_due = True
        return [CLOSE_TAG]

    def finish(self, reason: FinishReason) -> list[str]:
        """Reasoning that was cut by the token limit stays open, as the model left it."""
        return [] if reason == "length" else self.close()


def fold_inline(choice: Choice) -> str:
    """The content of a whole answer: the same text that the deltas of a stream add up to."""
    inline = InlineReasoning()
    pieces = inline.reasoning(choice.reasoning) if choice.reasoning else []
    pieces += inline.text(choice.text) if choice.text else []
    pieces += inline.close() if choice.tool_calls else inline.finish(choice.finish_reason)
    return "".join(pieces)


def _read_think(fields: Fields) -> ReasoningSwitch | None:
    think = fields.get("think")
    if think is None:
        return None
    if isinstance(think, bool):
        return ReasoningSwitch(think, effort="medium" if think else None, required=think)
    if not isinstance(think, str):
        refuse_type(fields.param("think"), 'a boolean or one of "high", "medium", "low", "max"', think)
    if think not in THINK_LEVELS:
        raise InvalidRequest(
            f'invalid think value: "{think[:64]}" (must be "high", "medium", "low", "max", true, or false)',
            param=fields.param("think"),
            code="invalid_value",
        )
    # Only effort "low" means off; Ollama's think "low" is a level of on.
    return ReasoningSwitch(on=True, effort=think, required=True)


def _read_template_switch(fields: Fields) -> ReasoningSwitch | None:
    kwargs = fields.fields("chat_template_kwargs")
    if kwargs is None:
        return None
    value = kwargs.get("enable_thinking")
    if value is None:
        # DeepSeek and Granite templates call it so; anything but a boolean is theirs to read.
        thinking = kwargs.get("thinking")
        value = thinking if isinstance(thinking, bool) else None
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        value = value.strip().lower() == "true"
    if value is None:
        return None
    if not isinstance(value, bool):
        param = kwargs.param("enable_thinking")
        if isinstance(value, str):
            refuse_value(param, value, ("true", "false"))
        refuse_type(param, "a boolean", value)
    return ReasoningSwitch(on=value, effort="medium" if value else None)


def _read_reasoning_field(fields: Fields) -> ReasoningSwitch | None:
    value = fields.get("reasoning")
    if value is None or isinstance(value, str):
        return _read_effort(fields, "reasoning")
    if not isinstance(value, dict):
        refuse_type(fields.param("reasoning"), "an object or a string", value)
    reasoning = as_fields(value, fields.param("reasoning"))
    by_effort = _read_effort(reasoning, "effort")
    enabled = reasoning.boolean("enabled")
    if by_effort is not None or enabled is None:
        return by_effort
    return ReasoningSwitch(on=enabled, effort="medium" if enabled else None)


def _read_effort(fields: Fields, key: str) -> ReasoningSwitch | None:
    value = fields.string(key)
    effort = (value or "").strip().lower()
    if not effort:
        return None
    if effort not in EFFORTS_OFF + EFFORTS_ON:
        refuse_value(fields.param(key), effort, EFFORTS_OFF + EFFORTS_ON)
    is_on = effort in EFFORTS_ON
    level = effort if effort not in _PLAIN_SWITCHES else None
    return ReasoningSwitch(on=is_on, effort=level or ("medium" if is_on else None))
