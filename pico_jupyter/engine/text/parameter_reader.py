"""ParameterReader: reads the parameters of a call that stand between tags, in the format of a CallFormat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import regex

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.bracket_scan import JSON_QUOTES, BracketScan
from pico_jupyter.engine.text.call_progress import CallProgress
from pico_jupyter.engine.text.call_values import Incomplete, NotACall, convert_text, schema_types, tool_parameters
from pico_jupyter.engine.text.nested_values import read_tag, read_tags
from pico_jupyter.engine.text.text_cursor import TextCursor


class ParameterReader(TextCursor):
    """Reads the parameters at position `at` of a text. The arguments are those of read_calls()."""

    def __init__(
        self,
        text: str,
        call_format: CallFormat,
        tools: Sequence[Mapping[str, Any]],
        *,
        final: bool,
        progress: CallProgress,
        stops: Sequence[str],
    ) -> None:
        super().__init__(text, final)
        self.open_value: tuple[str, Any, int] | None = None
        self._format = call_format
        self._stops = stops
        self._progress = progress
        self._closings = tuple(closing for _, closing in call_format.sections if closing)
        # A call may be followed by the end of its section, or by the next call or section.
        starts = (pattern.partition("{")[0] for pattern in call_format.calls)
        openings = (opening for opening, _ in call_format.sections)
        self._ends = (*self._closings, *(start for start in (*openings, *starts) if start))
        self._schemas = {name: parameters for name, parameters in map(tool_parameters, tools) if name}
        # A value may end at these texts.
        ends = (call_format.quote or call_format.parameter_closing, call_format.parameter.partition("{")[0])
        self.value_ends = (*filter(None, ends), *call_format.call_closings, *self._ends)

    def _read_tagged(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        start = self.at
        try:
            if self._format.body is Body.TAGS:
                closing = self._format.call_closings[0]
                arguments = read_tags(self, self._format.quote, properties, closing)
            else:
                arguments = self._read_parameters(properties)
            self._check_reasoning(self.text[start : self.at])
            return arguments
        except Incomplete:
            # The arguments are incomplete until one of these tags follows.
            raise Incomplete(*self._format.call_closings, *self._ends) from None

    def _check_reasoning(self, text: str) -> None:
        """Raise NotACall if the text of the parameters contains the end of the reasoning and a call after it."""
        stops, needles = ("|".join(map(regex.escape, texts)) for texts in (self._stops, self._format.needles))
        if stops and regex.search(rf"(?:{stops})\s*+(?:{needles})", text):
            raise NotACall("a call follows the reasoning")

    def _bracket_end(self, start: int, closings: Sequence[str], quotes: Sequence[str]) -> tuple[int, str]:
        scan = self._progress.scans.get(start)
        if scan is None:
            scan = self._progress.scans[start] = BracketScan(start, quotes, self._stops)
        return scan.end(self.text, [closing for closing in closings if closing])

    def _read_parameters(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        while (parameter := self.read_parameter(properties, arguments)) is not None:
            arguments[parameter[0]] = parameter[1]
        return arguments

    def read_parameter(self, properties: Mapping[str, Any], read: Collection[str]) -> tuple[str, Any] | None:
        """The name and value of the next parameter, or None at the end of the arguments.

        `properties` are the schemas of all parameters, and `read` the names of those before it. While Incomplete is
        raised in a value, `open_value` is its name, its schema and its start.
        """
        self.open_value = None
        self.skip_space()
        match = self._format.parameter_pattern.match(self.text, self.at, partial=True)
        if match is None or (match.partial and self.final):
            return None
        if match.partial:
            raise Incomplete
        groups = match.groupdict()
        if self._format.body is Body.TAGS and groups["key"].startswith("/"):
            return None
        self.at = match.end()
        key = groups["key"]
        schema = {"type": "string"} if groups.get("type") in ("true", "string") else properties.get(key)
        self.open_value = (key, schema, self.at)
        # These may follow if the closing tag of this parameter is missing.
        following = properties.keys() - set(read) - {key}
        if self._format.body is Body.TAGS:
            closing = self._format.call_closings[0]
            return key, read_tag(self, self._format.quote, key, schema=schema, closing=closing, siblings=following)
        value = self._read_value(schema, following)
        return key, convert_text(value.removeprefix("\n").removesuffix("\n"), schema)

    def _read_value(self, schema: Any, following: Collection[str]) -> str:
        """Read the value of a parameter.

        Without a closing tag, it ends before one of the parameters `following`, or at the end of the call.
        """
        start = self.at
        begin = start if "string" in schema_types(schema) else self._value_end(start)
        end = self._find_closing(begin)
        if end is None or self._opens_a_parameter(begin, end):
            without = self._end_without_closing(begin, len(self.text) if end is None else end, following)
            if without is not None:
                end = self.at = without
        if end is None:
            raise Incomplete
        return self.text[start:end]

    def _find_closing(self, at: int) -> int | None:
        """The position of the closing tag before the next parameter or the end of the call.

        None if the complete answer has no such tag.
        """
        closing = self._format.parameter_closing
        while (at := self.text.find(closing, at)) >= 0:
            self.at = at + len(closing)
            if self._ends_parameter():
                return at
            at += 1
        if not self.final:
            raise Incomplete(closing)
        return None

    def _opens_a_parameter(self, begin: int, end: int) -> bool:
        """Whether a parameter begins between `begin` and `end`, and does not end there."""
        opened = sum(1 for _ in self._format.parameter_pattern.finditer(self.text, begin, end))
        return opened > self.text.count(self._format.parameter_closing, begin, end)

    def _end_without_closing(self, begin: int, end: int, following: Collection[str]) -> int | None:
        """The end of a parameter whose closing tag is missing: the next parameter, or the end of the call.

        A single closing tag of a call counts only at the end of the answer or before another call. Elsewhere it may be
        part of a value.
        """
        for match in self._format.parameter_pattern.finditer(self.text, begin, end):
            if match["key"] in following:
                end = match.start()
                break
        else:
            match = None
        closings = "|".join(map(regex.escape, (*self._format.call_closings, *self._closings)))
        for ends in regex.finditer(rf"(?:(?P<tag>{closings})\s*+)++", self.text, pos=begin, endpos=end):
            is_last = ends.end() == len(self.text) or self.text.startswith(self._format.needles, ends.end())
            if is_last or len(ends.captures("tag")) > 1:
                return int(ends.start())
        return int(match.start()) if match else None

    def _value_end(self, start: int) -> int:
        """The end of the JSON object or list at `start`, or `start` itself. Strings in it may contain closing tags."""
        self.skip_space()
        at, self.at = self.at, start
        if self.text[at : at + 1] not in ("{", "["):
            return start
        try:
            return self._bracket_end(at, (), JSON_QUOTES)[0]
        except NotACall:
            return start
        except Incomplete:
            if not self.final:
                raise
            return start

    def _ends_parameter(self) -> bool:
        ends = (self._format.parameter.partition("{")[0], *self._format.call_closings, *self._ends, "```")
        return self.begins_any(ends)
