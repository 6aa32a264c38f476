"""ArgumentParts: turns arguments that are not JSON into JSON while the model generates them.

A parameter is returned once it is complete, and a parameter that can only be a string as its text arrives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.call_progress import CallProgress
from pico_jupyter.engine.text.call_values import Incomplete, parse_python_calls, schema_types, tool_parameters
from pico_jupyter.engine.text.matching import partial_length
from pico_jupyter.engine.text.nested_values import read_unquoted
from pico_jupyter.engine.text.parameter_reader import ParameterReader
from pico_jupyter.engine.text.text_cursor import TextCursor

# One parameter: a key, and a value up to the next comma or bracket that closes the arguments.
_ITEM = (
    r"[\s,]*+(?P<key>[^\s=:,(){}\[\]]++)\s*+[=:]\s*+"
    r"(?P<value>(?:(?P<string>%s)|[^,(){}\[\]]|(?P<nested>[\[{(](?:(?&string)|[^(){}\[\]]|(?&nested))*+[\])}]))++)"
    r"(?=\s*+[,)}])"
)
_PYTHON_STRING = r'"(?:[^"\\]|\\.)*+"'
_PYTHON_ITEM = regex.compile(_ITEM % (_PYTHON_STRING + '|"(*PRUNE)(*FAIL)'), regex.DOTALL)
_PYTHON_OPEN = regex.compile(
    r'[\s,]*+(?P<key>[^\s=,()]++)\s*+=\s*+"(?P<text>(?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*+)', regex.DOTALL
)
_END = regex.compile(r"\s*+[)}]")


class ArgumentParts:
    """The arguments of one call of the tool `name`, which begin at position `at` of the text."""

    def __init__(self, call_format: CallFormat, tools: Sequence[Mapping[str, Any]], name: str, at: int) -> None:
        self.at = at
        self.is_open = True
        self._format = call_format
        self._tools = tools
        self._properties = dict(map(tool_parameters, tools)).get(name, {})
        self._progress = CallProgress()
        self._read: list[str] = []
        # The JSON text of the open parameter that is already returned.
        self._sent = ""
        quote = regex.escape(call_format.quote)
        self._unquoted_item = regex.compile(_ITEM % rf"{quote}.*?{quote}|{quote}(*PRUNE)(*FAIL)", regex.DOTALL)
        self._unquoted_open = regex.compile(rf"[\s,]*+(?P<key>[^\s:,{{}}]++):{quote}(?P<text>.*+)", regex.DOTALL)

    def read(self, text: str) -> str:
        """The new part of the arguments. `text` is the whole text so far."""
        part = ""
        try:
            while (item := self._item(text)) is not None:
                part += self._new_part(*item)
                self._read.append(item[0])
                self._sent = ""
        except Incomplete:
            return part + self._open_string(text)
        self.is_open = False
        return part + ("}" if self._read else "{}")

    def _new_part(self, key: str, value: Any) -> str:
        """The part of a complete parameter that is not returned yet."""
        return self._head(key) * (not self._sent) + _json(value)[len(self._sent) :]

    def _head(self, key: str) -> str:
        return f"{', ' if self._read else '{'}{_json(key)}: "

    def _item(self, text: str) -> tuple[str, Any] | None:
        """The next parameter, or None at the end of the arguments. Raises Incomplete."""
        if self._format.body in (Body.PARAMETERS, Body.TAGS):
            reader = self._reader(text)
            item = reader.read_parameter(self._properties, self._read)
            self.at = reader.at
            return item
        if end := _END.match(text, self.at):
            self.at = end.end()
            return None
        is_python = self._format.body is Body.PYTHON
        match = (_PYTHON_ITEM if is_python else self._unquoted_item).match(text, self.at)
        if match is None:
            raise Incomplete
        self.at = match.end()
        if is_python:
            [(_, arguments)] = parse_python_calls(f"[f({match['key']}={match['value']})]")
            [item] = arguments.items()
            return item
        return match["key"], read_unquoted(TextCursor(match["value"] + ",", final=True), self._format.quote)

    def _reader(self, text: str) -> ParameterReader:
        reader = ParameterReader(text, self._format, self._tools, final=False, progress=self._progress, stops=())
        reader.at = self.at
        return reader

    def _open_string(self, text: str) -> str:
        """The new part of the parameter that is not complete, if it is a string."""
        key, value = self._open_value(text)
        written = f'"{_json(value)[1:-1]}'
        if not value or len(written) <= len(self._sent):
            return ""
        part = self._head(key) * (not self._sent) + written[len(self._sent) :]
        self._sent = written
        return part

    def _open_value(self, text: str) -> tuple[str, str]:
        """The name of the open parameter, and the beginning of its value that no further text changes."""
        match self._format.body:
            case Body.PYTHON:
                match = _PYTHON_OPEN.match(text, self.at)
                return (match["key"], _python_text(match["text"])) if match else ("", "")
            case Body.UNQUOTED:
                match = self._unquoted_open.match(text, self.at)
                return (match["key"], _before(match["text"], (self._format.quote,))) if match else ("", "")
        reader = self._reader(text)
        with suppress(Incomplete):
            reader.read_parameter(self._properties, self._read)
        key, schema, start = reader.open_value or ("", None, 0)
        if schema_types(schema) != {"string"}:
            return "", ""
        value = _before(text[start:], reader.value_ends)
        # The last line break may be markup.
        return key, value if self._format.body is Body.TAGS else value.removeprefix("\n").removesuffix("\n")


def _before(text: str, ends: Sequence[str]) -> str:
    """The text before the first of `ends`, or before a part of one at its end."""
    starts = [at for end in ends if (at := text.find(end)) >= 0]
    return text[: min(starts, default=len(text) - partial_length(text, ends))]


def _python_text(text: str) -> str:
    [(_, arguments)] = parse_python_calls(f'[f(a="{text}")]')
    return str(arguments["a"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
