"""Builds the grammars of structured answers and of tool calls, in llguidance's Lark syntax.

The grammar of tool calls describes the format in which the model writes calls. The parser can read every text that
the grammar accepts. The result are calls of the given tools, with arguments that match their JSON schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import llguidance
import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat, fits_pattern
from pico_jupyter.engine.formats.output_format import MessageFormat
from pico_jupyter.engine.structure.argument_grammar import ArgumentGrammar
from pico_jupyter.engine.structure.grammar_check import check_grammar
from pico_jupyter.engine.structure.lark import (
    SPACE,
    LarkRules,
    Literal,
    json_expression,
    pattern_expression,
    text_literal,
    token_literal,
)
from pico_jupyter.engine.structure.schema_members import grammar_schema
from pico_jupyter.engine.structure.tool_arguments import NotForcible, ToolSchema, tool_schema
from pico_jupyter.types import Structure

__all__ = [
    "Literal",
    "NotForcible",
    "answer_grammar",
    "call_grammar",
    "check_grammar",
    "message_call_grammar",
    "token_literal",
]

# The deepest object of the structure json_object, in levels.
_MAX_NESTING = 12
# A part of a pattern, such as [ARGS], that is used only if it is a token of the vocabulary.
_TOKEN_IN_PATTERN = regex.compile(r"\[[A-Z_]+\]")


def answer_grammar(structure: Structure, prefix: str, literal: Literal) -> str:
    """The grammar of an answer. `prefix` is text before the answer, such as a header of a message, or "".

    Raises ValueError if the value of the structure must be JSON but is not.
    """
    if structure.kind == "grammar" and not prefix:
        return structure.value
    return LarkRules().grammar(" ".join([*([literal(prefix)] if prefix else []), f"({_answer(structure)})"]))


def _answer(structure: Structure) -> str:
    match structure.kind:
        case "json_object":
            return json_expression(_nested_object(_MAX_NESTING))
        case "json_schema":
            return json_expression(grammar_schema(json.loads(structure.value)))
        case "regex":
            expression = llguidance.regex_to_lark(structure.value, "").replace("\n", r"\n")
            return f"/{expression}/" if expression else '""'
        case "choice":
            return " | ".join(text_literal(choice) for choice in json.loads(structure.value))
        case "grammar":
            return f"%lark {{\n{structure.value}\n}}"
        case _:
            assert_never(structure.kind)


def _nested_object(depth: int) -> dict[str, Any]:
    """A schema of objects with at most `depth` levels of objects and arrays. Small models open brackets without end."""
    scalar = {"type": ["string", "number", "boolean", "null"]}
    levels: dict[str, Any] = {"0": scalar}
    for level in range(1, depth):
        inner = {"$ref": f"#/$defs/{level - 1}"}
        levels[str(level)] = {
            "anyOf": [scalar, {"type": "array", "items": inner}, {"type": "object", "additionalProperties": inner}]
        }
    return {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{depth - 1}"}, "$defs": levels}


def call_grammar(
    call_format: CallFormat, tools: Sequence[Mapping[str, Any]], literal: Literal, *, several: bool, opened: bool
) -> str:
    """The grammar of a call of one of the tools in the format of the model. With `several`, of one or more calls.

    `tools` is the JSON array of a request. `opened`: the model has already written the text that opens the section of
    the calls, or without a section the text that opens the first call. Raises NotForcible.
    """
    return _CallGrammar(call_format, list(map(tool_schema, tools)), literal).grammar(
        several=several, opened=opened and not call_format.guards
    )


def message_call_grammar(
    messages: MessageFormat, tools: Sequence[Mapping[str, Any]], literal: Literal, *, several: bool, opened: bool
) -> str:
    """The grammar of calls that are messages with a recipient: a header, the arguments as JSON, and an end.

    `opened`: the model has already written the header up to the name of the tool. Raises NotForcible.
    """
    if not messages.call_headers:
        raise NotForcible("the model's format of messages holds its tool calls in the text")
    schemas = list(map(tool_schema, tools))
    rules = LarkRules()
    start = literal(messages.starts[0])
    call = rules.rule(_messages(messages, schemas, literal, opened=False), "call")
    first = rules.rule(_messages(messages, schemas, literal, opened=True), "call") if opened else f"({start})? {call}"
    return rules.grammar(f"{first} ({start} {call})*" if several else first)


def _messages(messages: MessageFormat, tools: Sequence[ToolSchema], literal: Literal, *, opened: bool) -> str:
    """One message that calls one of the tools. `opened`: its header is already written up to the name of the tool."""
    headers = messages.call_headers
    if opened:
        headers = tuple(dict.fromkeys(header[header.index("{name}") :] for header in headers))
    end = [literal(messages.call_end)] if messages.call_end else []
    alternatives = []
    for tool in tools:
        _check_name(tool.name)
        arguments = json_expression(grammar_schema(tool.schema))
        for header in headers:
            head = pattern_expression(header, literal, {"name": tool.name}, {})
            alternatives.append(" ".join([head, SPACE, arguments, SPACE, *end]))
    return " | ".join(alternatives)


def _check_name(name: str) -> None:
    if not fits_pattern(name):
        raise NotForcible(f"the name of the tool {name!r} has characters that the model's format of calls cannot hold")


class _CallGrammar:
    """Writes the grammar of calls in one format."""

    def __init__(self, call_format: CallFormat, tools: Sequence[ToolSchema], literal: Literal) -> None:
        self._format = call_format
        self._tools = tools
        self._literal = literal
        self._rules = LarkRules()
        self._patterns = [pattern for pattern in call_format.writes or call_format.calls[:1] if self._is_known(pattern)]
        # If the vocabulary lacks the tokens of all patterns, the model uses an older format: JSON objects.
        self._writes_objects = call_format.body is Body.OBJECTS or bool(call_format.calls and not self._patterns)
        self._is_list = call_format.is_list or (self._writes_objects and call_format.body is not Body.OBJECTS)

    def grammar(self, *, several: bool, opened: bool) -> str:
        several = several and not self._format.is_single
        each = self._format.section_per_call and not self._is_list
        in_call = opened and not self._format.sections
        body = self._body(several=several and not each, opened=in_call)
        start = ("" if in_call else SPACE) + f" ({' | '.join(self._sections(body, opened=opened))})"
        if several and each:
            start += f" ({SPACE} ({' | '.join(self._sections(body, opened=False))}))*"
        return self._rules.grammar(start)

    def _is_known(self, pattern: str) -> bool:
        """Whether the vocabulary has the tokens that a pattern names in brackets."""
        return all("<[" in self._literal(token) for token in _TOKEN_IN_PATTERN.findall(pattern))

    def _sections(self, body: str, *, opened: bool) -> list[str]:
        """The section of the calls, for each of its pairs of opening and closing text."""
        return list(dict.fromkeys(self._section(body, *texts, opened) for texts in self._format.sections)) or [body]

    def _section(self, body: str, opening: str, closing: str, opened: bool) -> str:
        start = f"{self._literal(opening)} {SPACE}"
        if opened:
            start = ""
        elif self._format.opening_optional:
            start = f"({start})?"
        # If only the opening text is a special token of the vocabulary, the model does not write the closing text.
        is_written = closing and ("<[" in self._literal(closing) or "<[" not in self._literal(opening))
        return f"{start} {body}" + (f" {SPACE} {self._literal(closing)}" if is_written else "")

    def _body(self, *, several: bool, opened: bool) -> str:
        """The calls of a section. `opened`: the text that opens the first call is already written."""
        first, call = self._calls(opened=opened), self._calls(opened=False)
        if self._is_list:
            return f'"[" {SPACE} {call} ' + (f'({SPACE} "," {SPACE} {call})* ' if several else "") + f'{SPACE} "]"'
        between = r'"\n"' if self._format.body is Body.PYTHON else SPACE
        return f"{first} ({between} {call})*" if several else first

    def _calls(self, *, opened: bool) -> str:
        return self._rules.rule(" | ".join(self._call(tool, opened=opened) for tool in self._tools), "call")

    def _call(self, tool: ToolSchema, *, opened: bool) -> str:
        """A call of one tool."""
        if self._writes_objects:
            if self._format.guards:  # The parser recognizes the call by the name of the tool.
                _check_name(tool.name)
            return json_expression(self._object(tool))
        arguments = ArgumentGrammar(self._rules, self._literal, self._format, tool)
        if self._format.body is Body.PYTHON:
            if not all(part.isidentifier() for part in tool.name.split(".")):
                raise NotForcible(f"the tool {tool.name!r} is not a valid Python name, which the model's format needs")
            return f'{text_literal(tool.name + "(")} {arguments.keywords()} ")"'
        _check_name(tool.name)
        return " | ".join(self._head_and_arguments(pattern, tool, arguments, opened) for pattern in self._patterns)

    def _head_and_arguments(self, pattern: str, tool: ToolSchema, arguments: ArgumentGrammar, opened: bool) -> str:
        written = pattern[len(pattern.partition("{")[0].rstrip()) :] if opened else pattern
        call_id = {"id": self._rules.terminal(f"/{self._format.id_text}/")}
        head = pattern_expression(written, self._literal, {"name": tool.name}, call_id)
        # A code fence is closed only if the pattern opens one.
        closings = [text for text in self._format.call_closings if text != "```" or text in pattern]
        return f" {SPACE} ".join([head, self._arguments(tool, arguments), *map(self._literal, closings)])

    def _arguments(self, tool: ToolSchema, arguments: ArgumentGrammar) -> str:
        match self._format.body:
            case Body.JSON:
                return json_expression(grammar_schema(tool.schema))
            case Body.UNQUOTED:
                return arguments.arguments()
            case _:
                return arguments.parameters()

    def _object(self, tool: ToolSchema) -> dict[str, Any]:
        """The JSON schema of an object that holds the name and the arguments of a call."""
        named = bool(self._format.name_key)
        key = self._format.arguments_key if named else tool.name
        number = {self._format.id_key: {"type": "string", "pattern": f"^{self._format.id_text}$"}}
        pointer = key.replace("~", "~0").replace("/", "~1")
        properties: dict[str, Any] = {
            **(number if self._format.id_key else {}),
            **({self._format.name_key: {"const": tool.name}} if named else {}),
            key: grammar_schema(tool.schema, f"#/properties/{pointer}"),
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
