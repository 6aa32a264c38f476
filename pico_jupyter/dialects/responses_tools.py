"""Declares the tools of v1/responses, and turns them into functions that the model sees.

Clients send tools of several kinds, but chat templates accept only functions. A tool in a namespace becomes a function
whose name begins with the namespace. A custom tool becomes a function with one parameter, a text. The answer reports a
call of such a function as a call of the client's tool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, assert_never

import msgspec

from pico_jupyter.dialects.request_bodies import JsonObject
from pico_jupyter.dialects.request_fields import (
    AllowedTools,
    ForcedTool,
    FunctionName,
    Name,
    RequestStruct,
    ToolChoiceField,
    ToolReference,
    about,
)
from pico_jupyter.dialects.tools import NO_TOOLS, OfferedTools, read_chosen_tools

# The only parameter of a function that stands for a custom tool.
CUSTOM_INPUT = "input"
HOSTED_TOOLS = (
    *("apply_patch", "code_interpreter", "computer", "computer_use", "computer_use_preview", "file_search"),
    *("image_generation", "local_shell", "mcp", "programmatic_tool_calling", "shell", "tool_search"),
)


class ResponsesFunction(RequestStruct, frozen=True, tag_field="type", tag="function"):
    """A function that the model may call."""

    ignored = frozenset({"allowed_callers", "async", "defer_loading", "output_schema"})
    name: Name
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, about("A JSON schema.")] = None
    strict: Annotated[bool | None, about("Whether the arguments of every call match the schema.")] = None


class ResponsesTextInput(RequestStruct, frozen=True, tag_field="type", tag="text"):
    """Any text, which is the default."""


class ResponsesGrammarInput(RequestStruct, frozen=True, tag_field="type", tag="grammar"):
    """Text that follows a grammar. The model sees the grammar. It is not enforced."""

    definition: str
    syntax: Literal["lark", "regex"]


class ResponsesCustomTool(RequestStruct, frozen=True, tag_field="type", tag="custom"):
    """A tool whose input is text instead of JSON."""

    ignored = frozenset({"allowed_callers", "async", "defer_loading"})
    name: Name
    description: str | None = None
    format: ResponsesTextInput | ResponsesGrammarInput | None = None


class ResponsesNamespace(RequestStruct, frozen=True, tag_field="type", tag="namespace"):
    """A group of tools, such as those of one MCP server. Calls have its name as `namespace`."""

    name: Name
    tools: list[ResponsesFunction | ResponsesCustomTool]
    description: str | None = None


class ResponsesWebSearch(RequestStruct, frozen=True, tag_field="type", tag="web_search"):
    """Accepted, because clients offer it by default, and left out: this server does not search the web."""


class ResponsesDatedWebSearch(ResponsesWebSearch, frozen=True, tag="web_search_2025_08_26"):
    """The same as `web_search`."""


class ResponsesOldWebSearch(ResponsesWebSearch, frozen=True, tag="web_search_preview"):
    """The same as `web_search`."""


class ResponsesOldDatedWebSearch(ResponsesWebSearch, frozen=True, tag="web_search_preview_2025_03_11"):
    """The same as `web_search`."""


ShownTool: TypeAlias = ResponsesFunction | ResponsesCustomTool | ResponsesNamespace
ResponsesTool: TypeAlias = (
    ShownTool | ResponsesWebSearch | ResponsesDatedWebSearch | ResponsesOldWebSearch | ResponsesOldDatedWebSearch
)


class ResponsesToolReference(RequestStruct, frozen=True):
    """Refers to a tool in `tools` by its name."""

    type: str = "function"
    name: str | None = None
    namespace: str | None = None


class ResponsesFunctionChoice(RequestStruct, frozen=True, tag_field="type", tag="function"):
    """Requires one call of one function."""

    name: Name
    namespace: str | None = None


class ResponsesCustomChoice(ResponsesFunctionChoice, frozen=True, tag="custom"):
    """Requires one call of one custom tool."""


class ResponsesAllowedTools(RequestStruct, frozen=True, tag_field="type", tag="allowed_tools"):
    """Restricts the tools that the model sees and may call."""

    tools: list[ResponsesToolReference]
    mode: Annotated[Literal["auto", "required"], about("required: the answer has at least one call.")]


ResponsesToolChoice: TypeAlias = (
    Literal["none", "auto", "required"] | ResponsesFunctionChoice | ResponsesCustomChoice | ResponsesAllowedTools
)


class CalledTool(msgspec.Struct, frozen=True):
    """The tool that a function of the model stands for."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


class ResponsesTools(msgspec.Struct, frozen=True):
    """The tools of a request. `shown` are those that the model sees, as the client sent them. `names` maps the names
    of the model's functions to tools.
    """

    offered: OfferedTools = NO_TOOLS
    shown: tuple[ShownTool, ...] = ()
    names: dict[str, CalledTool] = {}


def qualified_name(namespace: str | None, name: str) -> str:
    """Return the name of the model's function for a tool, such as "mcp__files__read"."""
    return f"{namespace.rstrip('_')}__{name}" if namespace else name


def read_responses_tools(
    tools: Sequence[ResponsesTool] | None, choice: ResponsesToolChoice | None, *, parallel: bool
) -> ResponsesTools:
    """Return the tools of a request, restricted by its `tool_choice`. Raises InvalidRequest for a wrong choice."""
    shown = tuple(tool for tool in tools or () if not isinstance(tool, ResponsesWebSearch))
    found = dict(_functions(shown))
    functions = [function for function, _ in found.values()]
    # The SDKs send "auto" without tools too.
    raw: JsonObject = {"tools": functions if tools is not None or choice == "auto" else None}
    offered = read_chosen_tools(_translate(choice), raw, parallel=parallel)
    return ResponsesTools(offered, shown, {name: called for name, (_, called) in found.items()})


def _functions(tools: Sequence[ShownTool]) -> Iterator[tuple[str, tuple[JsonObject, CalledTool]]]:
    """Yield for each tool the name of the model's function, the function, and the tool that it stands for."""
    for tool in tools:
        namespace, members = (tool.name, tool.tools) if isinstance(tool, ResponsesNamespace) else (None, [tool])
        for member in members:
            name = qualified_name(namespace, member.name)
            is_custom = isinstance(member, ResponsesCustomTool)
            yield name, (_function(member, name), CalledTool(member.name, namespace, is_custom))


def _function(tool: ResponsesFunction | ResponsesCustomTool, name: str) -> JsonObject:
    members: Mapping[str, object]
    match tool:
        case ResponsesFunction():
            members = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
        case ResponsesCustomTool():
            parameters = {
                "type": "object",
                "properties": {CUSTOM_INPUT: {"type": "string"}},
                "required": [CUSTOM_INPUT],
            }
            members = {"description": _describe_custom(tool), "parameters": parameters}
        case _:
            assert_never(tool)
    given = {key: value for key, value in members.items() if value is not None}
    return {"type": "function", "function": {"name": name, **given}}


def _describe_custom(tool: ResponsesCustomTool) -> str | None:
    if not isinstance(tool.format, ResponsesGrammarInput):
        return tool.description
    grammar = f"The input follows this {tool.format.syntax} grammar:\n{tool.format.definition}"
    return f"{tool.description}\n{grammar}" if tool.description else grammar


def _translate(choice: ResponsesToolChoice | None) -> ToolChoiceField | None:
    match choice:
        case None | "none" | "auto" | "required":
            return choice
        case ResponsesFunctionChoice():
            return ForcedTool(function=FunctionName(name=qualified_name(choice.namespace, choice.name)))
        case ResponsesAllowedTools(tools=tools, mode=mode):
            references = [_reference(tool) for tool in tools if not tool.type.startswith("web_search")]
            return AllowedTools(tools=references, mode=mode)
        case _:
            assert_never(choice)


def _reference(tool: ResponsesToolReference) -> ToolReference:
    return ToolReference(function=FunctionName(name=qualified_name(tool.namespace, tool.name or tool.type)))
