"""ParserNeedles: the texts for which the parser of an answer searches."""

from __future__ import annotations

from collections.abc import Sequence

from pico_jupyter.engine.formats.output_format import OutputFormat


class ParserNeedles:
    """The needles of an answer in `output_format`. `stops` end the answer, and `calls` begin a call.

    `content` and `reasoning` are the needles in these parts of the answer, and `content_starts` the first characters of
    those in `content`. `reasoning_ends` end the reasoning, and `message_ends` a message. `tags` are needles of markup.
    """

    def __init__(self, output_format: OutputFormat, stops: Sequence[str], calls: Sequence[str]) -> None:
        messages, markers = output_format.messages, output_format.markers
        self.stops = tuple(stop for stop in stops if stop)
        self.calls = tuple(calls)
        self.message_ends = (*messages.ends, *messages.starts) if messages else ()
        self.tags = (*self.calls, *markers, *self.message_ends)
        if output_format.reasoning_anywhere:
            self.tags = (*self.tags, output_format.reasoning_open or "")
        self.content = (*self.stops, *self.tags)
        self.content_starts = frozenset(needle[0] for needle in self.content)
        self.reasoning_ends = (*(self.message_ends or (output_format.reasoning_close or "",)), *markers)
        self.reasoning = (*self.reasoning_ends, *self.calls)

    def ignore_calls(self) -> None:
        """Stop searching for calls."""
        self.content = tuple(needle for needle in self.content if needle in self.stops or needle not in self.calls)
        self.reasoning = self.reasoning_ends
