"""Reads the fields that switch reasoning on or off. Every server spells this switch differently.

Order of precedence: think, chat_template_kwargs, enable_thinking, thinking, reasoning, reasoning_effort, the budgets,
options.think. The first field that says on or off decides. If it says on without a level, the first level that a
later field gives is used; without any, the template uses its own default. A switch that this server does not read is
recognized by its name and refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from pico_jupyter.dialects.request_bodies import JsonObject, json_text, known_names
from pico_jupyter.dialects.request_errors import invalid, wrong_value
from pico_jupyter.dialects.request_fields import (
    EFFORTS_OFF,
    EFFORTS_ON,
    GenerationFields,
    OllamaOptions,
    ReasoningField,
    RequestStruct,
    TemplateArguments,
    ThinkingField,
    ThinkingType,
    ThinkLevel,
)

# These values only switch reasoning. Chat templates have no levels of these names.
_PLAIN_SWITCHES = ("none", "off", "on")
# Values of chat_template_kwargs that only switch reasoning. Other values are variables of the template.
_TEMPLATE_WORDS = dict.fromkeys(("true", "on", "yes", "enabled"), True) | dict.fromkeys(
    ("false", "off", "no", "none", "disabled"), False
)
_TEMPLATE_SWITCHES = ("thinking", "think", "reasoning", "reasoning_effort", "thinking_budget")
_TEMPLATE_EFFORTS_OFF = ("none", "off", "disabled")
# For other types, the model itself decides whether it reasons.
_THINKING_TYPES = {"enabled": True, "disabled": False}
_BUDGETS = (
    "max_thinking_tokens",
    "thinking_budget",
    "thinking_token_budget",
    "thinking_budget_tokens",
    "reasoning_budget",
    "max_reasoning_tokens",
)
# The names of switches in lower case and without underscores and dashes, wherever a client sends them: as a field of
# another server, in another spelling, or in an object such as `extra_body`.
_SWITCH_NAME = re.compile(r"think|thought|reasoning|^(effort|budgettokens|promptmode|chattemplatekwargs)$")
# The objects that are searched for switches have at most this many levels.
_MAX_DEPTH = 6
# Switches by their names that no chat template reads.
_NO_TEMPLATE_NAMES = (
    *("enable_reasoning", "reasoning_enabled", "thinking_enabled", "enableThinking", "use_thinking"),
    *("no_think", "nothink", "no_thinking", "noThink", "noThinking", "disableThinking"),
    *("disable_thinking", "disable_reasoning", "thinkingLevel", "thinkingConfig", "reasoning_config", "budget_tokens"),
)


class ReasoningSwitch(msgspec.Struct, frozen=True):
    """The reasoning switch of a request.

    on: whether the model reasons; None: not given. effort: the level for chat templates that have levels. required: the
    request turns `think` on, which is an error on Ollama's endpoints if the model cannot reason.
    """

    on: bool | None = None
    effort: str | None = None
    required: bool = False


def read_reasoning(fields: GenerationFields) -> ReasoningSwitch:
    """Check all fields that switch reasoning, and combine them in the order of precedence. Raises InvalidRequest."""
    given = list(_switches(fields))
    decisive = next((switch for switch in given if switch.on is not None), None)
    if decisive is None:
        return ReasoningSwitch()
    if not decisive.on or decisive.effort:
        return decisive
    later = given[given.index(decisive) :]
    level = next((switch.effort for switch in later if switch.effort), None)
    return ReasoningSwitch(on=True, effort=level, required=decisive.required)


def read_reasoning_limit(fields: GenerationFields) -> int | None:
    """Return the number of tokens after which the reasoning is closed; None: no limit."""
    thinking, reasoning = fields.thinking, fields.reasoning
    given = (
        thinking.budget_tokens if isinstance(thinking, ThinkingField) else None,
        reasoning.max_tokens if isinstance(reasoning, ReasoningField) else None,
        *(getattr(fields, name) for name in _BUDGETS),
    )
    return next((tokens for tokens in given if tokens is not None and tokens >= 0), None)


def read_template_kwargs(raw: JsonObject) -> str:
    """Return the decoded body's chat_template_kwargs as JSON text, without the members that switch reasoning.

    A budget of reasoning tokens is added as `thinking_budget`, which some chat templates print.
    """
    kwargs: JsonObject = raw.get("chat_template_kwargs") or {}
    rest = {
        key: value for key, value in kwargs.items() if key != "enable_thinking" and _template_value(key, value) is None
    }
    budget = next((value for value in _raw_budgets(raw) if type(value) is int and value > 0), None)
    if budget is not None:
        rest.setdefault("thinking_budget", budget)
    return json_text(rest, "chat_template_kwargs")


def refuse_unknown_switches(raw: JsonObject, kind: type[RequestStruct]) -> None:
    """Raise InvalidRequest if a body, which was decoded into `kind`, has a switch that this server does not read."""
    for param in _unread_switches(raw, kind):
        text = f"'{param}' does not switch reasoning on this server. Use 'think': true or false, at the top level."
        raise invalid(param, text, "unsupported_value")


def _unread_switches(raw: JsonObject, kind: type[RequestStruct]) -> Iterator[str]:
    """Yield the paths of switches that are not read, those of null excepted."""
    kwargs = raw.get("chat_template_kwargs") or {}
    yield from (f"chat_template_kwargs.{name}" for name in _NO_TEMPLATE_NAMES if kwargs.get(name) is not None)
    for name, members in (("thinking", ThinkingField), ("reasoning", ReasoningField)):
        given = raw.get(name)
        found = given.items() if isinstance(given, dict) else ()
        yield from (f"{name}.{key}" for key, value in found if value is not None and key not in known_names(members))
    yield from _named_switches(raw, known_names(kind))
    yield from _named_switches(raw.get("options") or {}, known_names(OllamaOptions), "options.")


def _named_switches(members: JsonObject, known: frozenset[str] = frozenset(), path: str = "") -> Iterator[str]:
    for name, value in members.items():
        if name in known or value is None:
            continue
        if _SWITCH_NAME.search(name.lower().replace("_", "").replace("-", "")):
            yield path + name
        elif isinstance(value, dict) and path.count(".") < _MAX_DEPTH:
            yield from _named_switches(value, path=f"{path}{name}.")


def _switches(fields: GenerationFields) -> Iterator[ReasoningSwitch]:
    """Yield what each field says, in the order of precedence."""
    yield _read_think(fields.think)
    yield _read_template_switch(fields.chat_template_kwargs)
    yield ReasoningSwitch(_read_truth(fields.enable_thinking, "enable_thinking"))
    yield _read_thinking(fields.thinking)
    yield _read_reasoning_field(fields.reasoning)
    yield _read_effort(fields.reasoning_effort, "reasoning_effort")
    for name in _BUDGETS:
        yield _read_budget(getattr(fields, name))
    yield _read_think(fields.options.think if fields.options else None)


def _read_think(think: bool | ThinkLevel | None) -> ReasoningSwitch:
    if isinstance(think, bool) or think is None:
        return ReasoningSwitch(think, required=think is True)
    # reasoning_effort "low" turns reasoning off, but Ollama's think "low" turns it on.
    return ReasoningSwitch(on=True, effort=think, required=True)


def _read_template_switch(kwargs: TemplateArguments | None) -> ReasoningSwitch:
    if kwargs is None:
        return ReasoningSwitch()
    value = _read_truth(kwargs.enable_thinking, "chat_template_kwargs.enable_thinking")
    effort = kwargs.reasoning_effort
    is_effort = isinstance(effort, str) and effort != "" and _template_value("reasoning_effort", effort) is None
    for key in _TEMPLATE_SWITCHES:
        value = _template_value(key, getattr(kwargs, key)) if value is None else value
    return ReasoningSwitch(value, effort if is_effort and value is not False else None)


def _template_value(key: str, value: object) -> bool | None:
    """Whether a member of chat_template_kwargs switches reasoning on or off; None if it is only a template variable.

    Templates of DeepSeek and Granite call the switch `thinking`.
    """
    if isinstance(value, dict):
        value = value.get("type", value.get("effort"))
    word = value.strip().lower() if isinstance(value, str) else None
    match key:
        case "thinking" | "think" | "reasoning":
            return value if isinstance(value, bool) else _TEMPLATE_WORDS.get(word or "")
        case "reasoning_effort":
            return False if word in _TEMPLATE_EFFORTS_OFF else None
        case "thinking_budget":
            return False if word == "0" or (type(value) in (int, float) and value == 0) else None
        case _:
            return None


def _read_thinking(value: ThinkingField | bool | ThinkingType | None) -> ReasoningSwitch:
    if isinstance(value, bool) or value is None:
        return ReasoningSwitch(value)
    if isinstance(value, str):
        return ReasoningSwitch(_THINKING_TYPES.get(value))
    if value.type is not None:
        return ReasoningSwitch(_THINKING_TYPES.get(value.type))
    return _read_budget(value.budget_tokens) if value.enabled is None else ReasoningSwitch(value.enabled)


def _read_reasoning_field(value: ReasoningField | str | None) -> ReasoningSwitch:
    if not isinstance(value, ReasoningField):
        return _read_effort(value, "reasoning")
    by_effort = _read_effort(value.effort, "reasoning.effort")
    if by_effort.on is not None:
        return by_effort
    return _read_budget(value.max_tokens) if value.enabled is None else ReasoningSwitch(value.enabled)


def _read_effort(value: str | None, param: str) -> ReasoningSwitch:
    effort = (value or "").strip().lower()
    if not effort:
        return ReasoningSwitch()
    if effort not in EFFORTS_OFF + EFFORTS_ON:
        raise wrong_value(param, effort, EFFORTS_OFF + EFFORTS_ON)
    return ReasoningSwitch(effort in EFFORTS_ON, None if effort in _PLAIN_SWITCHES else effort)


def _read_budget(tokens: int | None) -> ReasoningSwitch:
    """A budget of 0 turns reasoning off. -1 means no limit and does not change the switch."""
    return ReasoningSwitch(None if tokens is None or tokens < 0 else tokens > 0)


def _raw_budgets(raw: JsonObject) -> Iterator[object]:
    for name, member in (("thinking", "budget_tokens"), ("reasoning", "max_tokens")):
        value = raw.get(name)
        yield value.get(member) if isinstance(value, dict) else None
    yield from (raw.get(name) for name in _BUDGETS)


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _read_truth(value: bool | str | None, param: str) -> bool | None:
    truth = _truth(value)
    if truth is None and value is not None:
        raise wrong_value(param, str(value), ("true", "false"))
    return truth
