"""Reads `tools` and `tool_choice`. The chat template receives the tools as JSON text."""

from __future__ import annotations

from collections.abc import Sequence

from pico_jupyter.dialects.request_bodies import JsonObject, json_text
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import AllowedTools, ForcedTool, ToolChoice, ToolReference
from pico_jupyter.errors import InvalidRequest

NO_TOOLS = "[]"


def read_tools(raw: JsonObject) -> str:
    """Return the tools of a decoded body as JSON text, including fields that are not declared."""
    return json_text(raw.get("tools") or [], "tools")


def read_chosen_tools(choice: ToolChoice | None, raw: JsonObject) -> str:
    """Return the tools that `tool_choice` allows as JSON text. Raises InvalidRequest if it forces a call."""
    if choice == "none":
        return NO_TOOLS
    if choice is not None and raw.get("tools") is None:
        raise invalid("tool_choice", "'tool_choice' is only allowed when 'tools' are specified.")
    match choice:
        case None | "auto":
            return read_tools(raw)
        case ForcedTool():
            # Reports a tool that does not exist.
            _find_tools([ToolReference(function=choice.function)], raw)
            raise _forces_a_call()
        case AllowedTools():
            subset = choice.allowed_tools or choice
            if (subset.mode or "auto") != "auto":
                raise _forces_a_call()
            return json_text(_find_tools(subset.tools or (), raw), "tools")
        case _:
            raise _forces_a_call()


def _find_tools(references: Sequence[ToolReference], raw: JsonObject) -> list[JsonObject]:
    by_name = {tool["function"]["name"]: tool for tool in reversed(raw["tools"])}
    names = ["" if reference.function is None else reference.function.name or "" for reference in references]
    for name in names:
        if name not in by_name:
            raise invalid("tool_choice", f"Invalid value for 'tool_choice': there is no tool '{name[:64]}' in 'tools'.")
    return [by_name[name] for name in names]


def _forces_a_call() -> InvalidRequest:
    return invalid(
        "tool_choice",
        "'tool_choice' that forces a call is not supported yet; use 'auto' or 'none'.",
        "unsupported_value",
    )
