"""What is known about the calls in a growing text."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from pico_jupyter.engine.text.bracket_scan import BracketScan


class ParsedToolCall(msgspec.Struct, frozen=True):
    """A tool call as the model wrote it. `arguments` is the JSON text of an object."""

    name: str
    arguments: str


@dataclass(slots=True)
class CallProgress:
    """What is known about a growing text: its calls up to the position `at`, and the brackets of its values.

    `fences` are the positions at which a code block around calls begins or ends.
    """

    calls: list[ParsedToolCall] = field(default_factory=list)
    at: int = 0
    scans: dict[int, BracketScan] = field(default_factory=dict)
    fences: set[int] = field(default_factory=set)
