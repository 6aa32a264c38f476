"""OutputParser: turns the token ids of one choice into deltas, each as early as possible.

Invariants:
- The joined deltas do not depend on how the text is split into tokens.
- Text that may still become part of a tag, a stop string or a character is held back.

Stop strings are searched in visible text only. For example, "\\n\\n" does not stop the model within its reasoning or
within a tool call. Tags are searched in text and not in token ids, because some tokenizers split them. A reasoning tag
is recognized only at the start of the answer and after reasoning or a tool call, so an answer may contain the tag.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol, assert_never

from pico_jupyter.engine.text.delta_buffer import DeltaBuffer, OutputDelta
from pico_jupyter.engine.text.matching import first_match, partial_length
from pico_jupyter.engine.text.output_format import OutputFormat, ParsedToolCall
from pico_jupyter.types import ReasoningDelta, TextDelta, TokenLogprob, ToolCall

WHITESPACE = " \t\r\n"


class ParserTokenizer(Protocol):
    """The part of a Tokenizer that the parser uses."""

    @property
    def output_format(self) -> OutputFormat:
        """The tags in the model's output."""

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Tokens whose text is not part of an answer."""

    @property
    def strips_leading_space(self) -> bool:
        """Whether decoding removes the first space of a text."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token."""

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> list[ParsedToolCall]:
        """The tool calls in a text. Raises ValueError if the text is not a tool call."""


class OutputPhase(Enum):
    """The part of the answer that the parser is reading."""

    BEFORE_CONTENT = auto()
    BEFORE_REASONING = auto()
    REASONING = auto()
    CONTENT = auto()
    TOOL_CALL = auto()
    STOPPED = auto()


class OutputParser:
    """Parses the tokens of choice `index`.

    `stop` are strings that end the answer. With `reasoning_started`, the prompt ends inside a reasoning block. `tools`
    is the JSON array that the template received; tool calls are parsed only if it is not empty. `new_call_id`
    returns the id of the next tool call. With `continuation`, the answer continues a text (a raw prompt or an open
    message) and keeps its first space.

    `reasoning_tokens` counts the tokens of reasoning, its tags included. `has_tool_calls` is true once a tool call was
    parsed.
    """

    def __init__(
        self,
        tokenizer: ParserTokenizer,
        *,
        stop: Sequence[str] = (),
        reasoning_started: bool = False,
        tools: str = "[]",
        index: int = 0,
        new_call_id: Callable[[], str],
        continuation: bool = False,
    ) -> None:
        output_format = tokenizer.output_format
        self._tokenizer = tokenizer
        self._special_token_ids = tokenizer.special_token_ids
        self._index = index
        self._new_call_id = new_call_id
        self._tools: list[dict[str, Any]] = json.loads(tools)

        self._stops = tuple(s for s in stop if s)
        self._open = output_format.reasoning_open or ""
        self._close = output_format.reasoning_close or ""
        self._markers = output_format.markers
        self._tool_open = (output_format.tool_open or "") if self._tools else ""
        self._tool_close = output_format.tool_close
        call_tags = (self._tool_open, self._tool_close) if self._tool_open else ()
        self._needles = tuple(n for n in (*self._stops, self._tool_open, *self._markers) if n)
        self._needle_starts = frozenset(n[0] for n in self._needles)
        self._tags = tuple(n for n in (self._open, self._close, *self._markers, *call_tags) if n)

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = tokenizer.strips_leading_space and not continuation
        # `_held` may become a tag or a stop string. `_space` is the whitespace before it, which may be dropped.
        self._held = ""
        self._space = ""
        self._call_parts: list[str] = []
        self._enter(self._first_phase(reasoning_started))
        self._output = DeltaBuffer(index)

        self._undecided_tokens = 0
        self._token_has_reasoning = False
        self.reasoning_tokens = 0
        self.has_tool_calls = False

    def __repr__(self) -> str:
        return f"<OutputParser {self._index} [{self._phase.name.lower()} | {len(self._held)} held]>"

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._phase is OutputPhase.STOPPED

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> list[OutputDelta]:
        """Parse one token. Returns the deltas that are certain now; after a stop string, an empty list."""
        if self._phase is OutputPhase.STOPPED:
            return []
        if logprob is not None:
            self._output.add_logprob(logprob)
        self._token_has_reasoning = self._is_reasoning
        text = self._decoder.decode(self._visible_bytes(token_id))
        if text:
            self._read(text)
        self._count_reasoning()
        return self._output.pop()

    def flush(self) -> list[OutputDelta]:
        """Parse the text that was held back, at the end of the answer. Returns the last deltas."""
        if self._phase is not OutputPhase.STOPPED:
            self._read(self._decoder.decode(b"", final=True))
            self._finish()
        return self._output.pop_last()

    def _first_phase(self, reasoning_started: bool) -> OutputPhase:
        if reasoning_started and self._close:
            return OutputPhase.BEFORE_REASONING
        return OutputPhase.BEFORE_CONTENT if self._open or self._markers else OutputPhase.CONTENT

    def _count_reasoning(self) -> None:
        # An opening tag may have several tokens. They are undecided, and not counted, until the last one is parsed.
        if self._is_reasoning or self._token_has_reasoning:
            self.reasoning_tokens += 1 + self._undecided_tokens
            self._undecided_tokens = 0
        elif self._phase is OutputPhase.BEFORE_CONTENT:
            self._undecided_tokens += 1
        else:
            self._undecided_tokens = 0

    def _visible_bytes(self, token_id: int) -> bytes:
        """The bytes of a token; b"" for a special token that is not part of a tag."""
        data = self._tokenizer.token_bytes(token_id)
        if token_id not in self._special_token_ids:
            return data
        text = data.decode("utf-8", "replace")
        if text and any(text in tag for tag in self._tags):
            self._output.hidden.add(text)
            return data
        return b""

    def _read(self, text: str) -> None:
        if self._strip_space and text:
            self._strip_space = False
            text = text.removeprefix(" ")
        text = self._held + text
        self._held = ""
        while text:
            text = self._advance(text)

    def _advance(self, text: str) -> str:
        """Parse the text up to the next change of phase. Returns the rest."""
        match self._phase:
            case OutputPhase.CONTENT:
                return self._read_content(text)
            case OutputPhase.REASONING:
                return self._read_reasoning(text)
            case OutputPhase.BEFORE_CONTENT:
                return self._read_before_content(text)
            case OutputPhase.BEFORE_REASONING:
                return self._read_before_reasoning(text)
            case OutputPhase.TOOL_CALL:
                return self._read_tool_call(text)
            case OutputPhase.STOPPED:
                return ""
            case _:
                assert_never(self._phase)

    def _read_before_content(self, text: str) -> str:
        text = self._move_leading_space(text)
        if self._open and text.startswith(self._open):
            self._token_has_reasoning = True
            self._enter(OutputPhase.BEFORE_REASONING, keeps_space=False)
            return text[len(self._open) :]
        # The prompt may have closed the reasoning already. A second closing tag is dropped, like a marker.
        for tag in (self._close, *self._markers):
            if tag and text.startswith(tag):
                self._enter(OutputPhase.BEFORE_CONTENT, keeps_space=False)
                return text[len(tag) :]
        if any(tag.startswith(text) for tag in (self._open, self._close, *self._markers)):
            self._held = text
            return ""
        text = (self._space if self._keeps_space else "") + text
        self._enter(OutputPhase.CONTENT)
        return text

    def _read_before_reasoning(self, text: str) -> str:
        text = self._move_leading_space(text)
        if text.startswith(self._close):
            self._enter(OutputPhase.BEFORE_CONTENT, keeps_space=False)
            return text[len(self._close) :]
        if self._open and text.startswith(self._open):
            return text[len(self._open) :]
        if self._close.startswith(text) or self._open.startswith(text):
            self._held = text
            return ""
        self._enter(OutputPhase.REASONING)
        return text

    def _read_reasoning(self, text: str) -> str:
        at = text.find(self._close)
        if at >= 0:
            self._emit_trimmed(ReasoningDelta, text[:at])
            self._enter(OutputPhase.BEFORE_CONTENT, keeps_space=False)
            return text[at + len(self._close) :]
        self._emit_trimmed(ReasoningDelta, self._hold_back(text, (self._close,)))
        return ""

    def _read_content(self, text: str) -> str:
        # Most tokens contain no character that begins a needle.
        if self._needle_starts.isdisjoint(text):
            self._emit_content(text)
            return ""
        found = first_match(text, self._needles)
        if found is None:
            self._emit_content(self._hold_back(text, self._needles))
            return ""
        at, needle = found
        before, after = text[:at], text[at + len(needle) :]
        if needle in self._stops:
            self._output.add_text(TextDelta, self._space + before)
            self._enter(OutputPhase.STOPPED)
        elif needle == self._tool_open:
            self._emit_trimmed(TextDelta, before)
            self._phase = OutputPhase.TOOL_CALL
        else:
            self._emit_trimmed(TextDelta, before)
            self._enter(OutputPhase.BEFORE_CONTENT, keeps_space=False)
        return after

    def _read_tool_call(self, text: str) -> str:
        at = text.find(self._tool_close) if self._tool_close else -1
        if at < 0:
            self._call_parts.append(self._hold_back(text, (self._tool_close,)) if self._tool_close else text)
            return ""
        self._call_parts.append(text[:at])
        self._end_tool_call(self._tool_close)
        return text[at + len(self._tool_close) :]

    def _end_tool_call(self, closing_tag: str) -> None:
        """Parse the collected text as tool calls. Other text becomes content, together with its tags."""
        text = "".join(self._call_parts)
        self._call_parts = []
        try:
            calls = self._tokenizer.parse_tool_calls(text, self._tools)
        except ValueError:
            self._output.add_text(TextDelta, self._space + self._tool_open + text + closing_tag)
            self._enter(OutputPhase.BEFORE_CONTENT)
            return
        for call in calls:
            self._output.add_tool_call(ToolCall(self._new_call_id(), call.name, call.arguments))
        self.has_tool_calls = True
        self._enter(OutputPhase.BEFORE_CONTENT, keeps_space=False)

    def _finish(self) -> None:
        """Parse the held text at the end of the answer."""
        held, self._held = self._held, ""
        if self._phase is OutputPhase.BEFORE_CONTENT:
            held = (self._space if self._keeps_space else "") + held
            self._enter(OutputPhase.CONTENT)
            while held:
                held = self._advance(held)
            held, self._held = self._held, ""
        match self._phase:
            case OutputPhase.CONTENT:
                self._output.add_text(TextDelta, self._space + held)
            case OutputPhase.REASONING | OutputPhase.BEFORE_REASONING:
                self._emit_trimmed(ReasoningDelta, held)
            case OutputPhase.TOOL_CALL:
                self._call_parts.append(held)
                self._end_tool_call("")
            case OutputPhase.BEFORE_CONTENT | OutputPhase.STOPPED:
                pass
            case _:
                assert_never(self._phase)

    def _enter(self, phase: OutputPhase, *, keeps_space: bool = True) -> None:
        """Start a phase. `keeps_space`: whitespace at the start of the next content is not dropped."""
        self._phase = phase
        self._is_reasoning = phase is OutputPhase.REASONING or phase is OutputPhase.BEFORE_REASONING
        self._space = ""
        self._keeps_space = keeps_space

    def _move_leading_space(self, text: str) -> str:
        """Move the text's leading whitespace to `_space`. Returns the rest."""
        rest = text.lstrip(WHITESPACE)
        self._space += text[: len(text) - len(rest)]
        return rest

    def _hold_back(self, text: str, needles: Sequence[str]) -> str:
        """Hold back the end of the text that may become a needle. Returns the text before it."""
        cut = len(text) - partial_length(text, needles)
        self._held = text[cut:]
        return text[:cut]

    def _emit_content(self, text: str) -> None:
        if self._tool_open:
            self._emit_trimmed(TextDelta, text)
        else:
            self._output.add_text(TextDelta, text)

    def _emit_trimmed(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        """Emit text and hold back its trailing whitespace, which a tag may follow."""
        body = text.rstrip(WHITESPACE)
        if body:
            self._output.add_text(kind, self._space + body)
            self._space = text[len(body) :]
        else:
            self._space += text
