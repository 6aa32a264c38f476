"""CallWriter: adds the tool calls of an answer to its deltas, complete or in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pico_jupyter.engine.formats.call_formats import CallFormat
from pico_jupyter.engine.text.call_parts import CallParts
from pico_jupyter.engine.text.call_progress import ParsedToolCall
from pico_jupyter.engine.text.delta_buffer import DeltaBuffer
from pico_jupyter.types import ToolCall


class CallWriter:
    """Adds calls to `output`. `new_call_id` returns the id of the next call.

    `certain_format`: a grammar allows only calls in this format, so their parts are added as they are generated.
    `tools` is the JSON array of the request. `has_calls` is true once a call or a part of one was added.
    """

    def __init__(
        self,
        output: DeltaBuffer,
        new_call_id: Callable[[], str],
        certain_format: CallFormat | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.has_calls = False
        self._output = output
        self._new_call_id = new_call_id
        self._parts = None if certain_format is None else CallParts(certain_format, tools)

    def __repr__(self) -> str:
        return f"<CallWriter [{'has calls' if self.has_calls else 'no calls'}]>"

    def add(self, calls: Sequence[ParsedToolCall]) -> None:
        """Add complete calls."""
        for call in calls:
            self._output.add_tool_call(ToolCall(self._new_call_id(), call.name, call.arguments))
            self.has_calls = True

    def add_part(self, arguments: str, name: str = "") -> None:
        """Add a part of a call. Only the first part of a call has a name."""
        self._output.add_call_part(arguments, self._new_call_id() if name else "", name)
        self.has_calls = True

    def read_parts(self, text: str) -> None:
        """Add the new parts of calls. `text` begins with the first call, and has all text from there on."""
        if self._parts is not None:
            for part in self._parts.read(text):
                self.add_part(part.arguments, part.name)

    def end_parts(self) -> int:
        """Reset read_parts() for the next text. Returns the number of calls that it has added."""
        if self._parts is None:
            return 0
        count = self._parts.count
        self._parts.reset()
        return count
