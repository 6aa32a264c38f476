"""Reads `tools` and `tool_choice`. Knows no chat template: what stays goes to it as JSON text."""

from __future__ import annotations

from pico_jupyter.dialects.fields import Fields, json_text, refuse_type, refuse_value
from pico_jupyter.errors import InvalidRequest

NO_TOOLS = "[]"


def read_tools(fields: Fields) -> str:
    """The tools as JSON text."""
    return json_text([tool.values for tool in _checked_tools(fields)], fields.param("tools"))


def read_chosen_tools(fields: Fields) -> str:
    """The tools that `tool_choice` leaves, as JSON text."""
    tools = _checked_tools(fields)
    choice = fields.get("tool_choice")
    if choice == "none":
        return NO_TOOLS
    if choice is not None and not tools and "tools" not in fields:
        raise InvalidRequest(
            "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice", code="invalid_value"
        )
    if isinstance(choice, str) and choice not in ("auto", "required"):
        refuse_value("tool_choice", choice, ("none", "auto", "required"))
    if choice == "required":
        _refuse_forcing()
    if choice is not None and choice != "auto":
        tools = _restrict(tools, choice)
    return json_text([tool.values for tool in tools], fields.param("tools"))


def _checked_tools(fields: Fields) -> list[Fields]:
    tools = list(fields.each("tools"))
    for tool in tools:
        kind = tool.string("type")
        if kind not in (None, "function"):
            refuse_value(tool.param("type"), kind, ("function",))
        function = tool.fields("function")
        if function is None or not function.string("name"):
            param = f"{tool.param('function')}.name"
            raise InvalidRequest(
                f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
            )
        function.string("description")
        function.fields("parameters")
    return tools


def _restrict(tools: list[Fields], choice: object) -> list[Fields]:
    if not isinstance(choice, dict):
        refuse_type("tool_choice", "a string or an object", choice)
    fields = Fields(choice, "tool_choice")
    kind = fields.string("type") or ""
    if kind == "function":
        _find(tools, fields)
        _refuse_forcing()
    if kind != "allowed_tools":
        refuse_value("tool_choice.type", kind, ("function", "allowed_tools"))
    allowed = fields.fields("allowed_tools") or fields
    if (allowed.string("mode") or "auto") != "auto":
        _refuse_forcing()
    return [_find(tools, entry) for entry in allowed.each("tools")]


def _find(tools: list[Fields], choice: Fields) -> Fields:
    function = choice.fields("function")
    name = function.string("name") if function is not None else None
    for tool in tools:
        if name is not None and _name_of(tool) == name:
            return tool
    raise InvalidRequest(
        f"Invalid value for '{choice.path}': there is no tool '{(name or '')[:64]}' in 'tools'.",
        param="tool_choice",
        code="invalid_value",
    )


def _name_of(tool: Fields) -> str | None:
    function = tool.fields("function")
    return None if function is None else function.string("name")


def _refuse_forcing() -> None:
    raise InvalidRequest(
        "'tool_choice' that forces a call is not supported yet; use 'auto' or 'none'.",
        param="tool_choice",
        code="unsupported_value",
    )
