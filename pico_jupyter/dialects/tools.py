"""Reads `tools` and `tool_choice`. The chat template receives the tools as JSON text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from pico_jupyter.dialects.request_bodies import JsonObject, json_text
from pico_jupyter.dialects.request_errors import invalid, wrong_value
from pico_jupyter.dialects.request_fields import AllowedTools, ForcedTool, ToolChoiceField, ToolReference
from pico_jupyter.types import ToolChoice

_MODES = ("auto", "required")


class OfferedTools(msgspec.Struct, frozen=True):
    """The tools that the model sees, as JSON text, and how it may call them."""

    tools: str = "[]"
    choice: ToolChoice = ToolChoice()


NO_TOOLS = OfferedTools()


def read_tools(raw: JsonObject) -> OfferedTools:
    """Return all tools of a decoded body, including fields that are not declared. The model may call them."""
    return _offer(raw.get("tools") or [])


def read_chosen_tools(choice: ToolChoiceField | None, raw: JsonObject, *, parallel: bool) -> OfferedTools:
    """Return the tools that `tool_choice` allows. `parallel`: the answer may have several calls.

    Raises InvalidRequest if `tool_choice` names a tool that does not exist, or is given without tools.
    """
    if choice == "none":
        return OfferedTools(choice=ToolChoice(parallel=parallel))
    if choice is not None and (raw.get("tools") is None or (choice != "auto" and not raw["tools"])):
        raise invalid("tool_choice", "'tool_choice' is only allowed when 'tools' are specified.")
    match choice:
        case None | "auto":
            return _offer(raw.get("tools") or [], parallel=parallel)
        case "required":
            return _offer(raw["tools"], parallel=parallel, required=True)
        case ForcedTool():
            # One call of one tool, as OpenAI and vLLM answer.
            tools = _find_tools([ToolReference(function=choice.function)], raw)
            return _offer(tools, parallel=False, required=True, named=True)
        case AllowedTools():
            return _offer_subset(choice, raw, parallel=parallel)
        case _:
            assert_never(choice)


def _offer_subset(choice: AllowedTools, raw: JsonObject, *, parallel: bool) -> OfferedTools:
    subset = choice.allowed_tools or choice
    mode = subset.mode or "auto"
    if mode not in _MODES:
        raise wrong_value("tool_choice.mode", mode, _MODES)
    tools = _find_tools(subset.tools or (), raw)
    if mode == "required" and not tools:
        raise invalid("tool_choice", "'tool_choice' requires a call, but it allows no tool.")
    return _offer(tools, parallel=parallel, required=mode == "required", named=True)


def _offer(
    tools: Sequence[JsonObject], *, parallel: bool = True, required: bool = False, named: bool = False
) -> OfferedTools:
    functions = [tool["function"] for tool in tools]
    choice = ToolChoice(
        required=required,
        names=tuple(function["name"] for function in functions) if named else (),
        parallel=parallel,
        strict=tuple(function["name"] for function in functions if function.get("strict")),
    )
    return OfferedTools(json_text(tools, "tools"), choice)


def _find_tools(references: Sequence[ToolReference], raw: JsonObject) -> list[JsonObject]:
    by_name = {tool["function"]["name"]: tool for tool in reversed(raw["tools"])}
    names = ["" if reference.function is None else reference.function.name or "" for reference in references]
    for name in names:
        if name not in by_name:
            raise invalid("tool_choice", f"Invalid value for 'tool_choice': there is no tool '{name[:64]}' in 'tools'.")
    return [by_name[name] for name in names]
