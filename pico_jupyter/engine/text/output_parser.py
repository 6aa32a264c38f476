"""OutputParser: turns the token ids of one choice into deltas, each as early as possible.

Invariants:
- The joined deltas do not depend on how the text is split into tokens.
- Text that may still become part of a tag, a stop string or a character is held back.

Stop strings are searched in visible text only: the stop string "\\n\\n" ends the answer but not the reasoning before
it, and the arguments of a tool call are data. Tags are searched in text and not in token ids, because some tokenizers
split them. A reasoning tag is recognized only at the start of the answer and after reasoning or a tool call, so that
an answer may mention the tag.

Some models forget the closing tag of the reasoning before a tool call. If the answer ends with a call in reasoning that
is not closed, the call is valid. Any other call in reasoning is text of the reasoning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import assert_never

from pico_jupyter.engine.formats.call_formats import CallFormat
from pico_jupyter.engine.text.call_collector import CallCollector
from pico_jupyter.engine.text.call_values import NotACall, tool_name
from pico_jupyter.engine.text.call_writer import CallWriter
from pico_jupyter.engine.text.delta_buffer import DeltaBuffer, OutputDelta
from pico_jupyter.engine.text.matching import first_match, partial_length
from pico_jupyter.engine.text.message_headers import MessageKind, may_be_header, read_header
from pico_jupyter.engine.text.output_phase import OutputPhase
from pico_jupyter.engine.text.parser_needles import ParserNeedles
from pico_jupyter.engine.text.text_space import WHITESPACE, LeadingSpace
from pico_jupyter.engine.text.tool_message import ToolMessage
from pico_jupyter.engine.text.visible_text import ParserTokenizer, VisibleText
from pico_jupyter.types import ReasoningDelta, TextDelta, TokenLogprob


class OutputParser:
    """Parses the tokens of choice `index`.

    `stop`: strings that end the answer. `reasoning_started`: the prompt ends inside a reasoning block. `tools`
    is the JSON array of the request; tool calls are parsed only if it is not empty. `calls` are their formats, by
    default those of the tokenizer. `new_call_id` returns the id of the next tool call. `continuation`: the answer
    continues a text (a raw prompt or an open message) and keeps its first space. `calls_are_certain`: a grammar
    allows only calls of the tools, in the first format, so their parts are returned as they are generated.
    `reasoning_tokens` counts the tokens of the reasoning and of its tags. `stop_string` ended the answer; it may be "".
    """

    def __init__(
        self,
        tokenizer: ParserTokenizer,
        *,
        stop: Sequence[str] = (),
        reasoning_started: bool = False,
        tools: str = "[]",
        calls: Sequence[CallFormat] | None = None,
        index: int = 0,
        new_call_id: Callable[[], str],
        continuation: bool = False,
        calls_are_certain: bool = False,
    ) -> None:
        output_format = tokenizer.output_format
        self._index = index
        request_tools = json.loads(tools)
        call_formats = output_format.calls if calls is None else calls
        self._tool_names = frozenset(map(tool_name, request_tools))
        self._collector = CallCollector(call_formats if request_tools else (), request_tools)
        self._needles = needles = ParserNeedles(output_format, stop, self._collector.needles)
        self._open = output_format.reasoning_open or ""
        self._close = output_format.reasoning_close or ""
        self._markers = output_format.markers
        self._messages = output_format.messages
        self._needle_starts = needles.content_starts
        strips_space = tokenizer.strips_leading_space and not continuation
        self._visible = VisibleText(tokenizer, (*needles.tags, self._open, self._close), strips_space=strips_space)
        # `_held` is text that may become a tag or a stop string. `_space` is whitespace before it that may be dropped.
        self._held = ""
        self._space = LeadingSpace()
        self._is_call_in_reasoning = False
        # The closing tags that the model may write once more after a call.
        self._strays: Sequence[str] = ()
        self.stop_string = ""
        self._readers: dict[OutputPhase, Callable[[str], str]] = {
            OutputPhase.HEADER: self._read_header,
            OutputPhase.BEFORE_CONTENT: self._read_before_content,
            OutputPhase.BEFORE_REASONING: self._read_before_reasoning,
            OutputPhase.REASONING: self._read_reasoning,
            OutputPhase.CONTENT: self._read_content,
            OutputPhase.CALL: self._read_call,
            OutputPhase.TOOL_MESSAGE: self._read_tool_message,
            OutputPhase.STOPPED: lambda _: "",
        }
        is_certain = calls_are_certain and bool(request_tools)
        self._output = DeltaBuffer(index, hidden=self._visible.special_texts, has_no_text=is_certain)
        certain_format = call_formats[0] if is_certain and call_formats else None
        self._calls = CallWriter(self._output, new_call_id, certain_format, request_tools)
        self._tool_message = ToolMessage(self._calls, needles.message_ends, has_parts=calls_are_certain)
        self._enter(self._first_phase(reasoning_started, continuation))
        self._token_has_reasoning, self._undecided_tokens, self.reasoning_tokens = False, 0, 0

    def __repr__(self) -> str:
        return f"<OutputParser {self._index} [{self._phase.name.lower()} | {len(self._held)} held]>"

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._phase is OutputPhase.STOPPED

    @property
    def has_tool_calls(self) -> bool:
        """Whether the answer has a tool call so far."""
        return self._calls.has_calls

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> list[OutputDelta]:
        """Parse one token. Returns the deltas that later tokens cannot change; an empty list after a stop string."""
        if self._phase is OutputPhase.STOPPED:
            return []
        if logprob is not None:
            self._output.add_logprob(logprob)
        self._token_has_reasoning = self._is_reasoning
        text = self._visible.decode(token_id, self._keeps_special)
        if text:
            self._read(text)
        self._count_reasoning()
        return self._output.pop()

    def flush(self) -> list[OutputDelta]:
        """Parse the text that was held back, at the end of the answer. Returns the last deltas."""
        if self._phase is not OutputPhase.STOPPED:
            self._read(self._visible.decode_end())
            self._finish()
        return self._output.pop_last()

    def _first_phase(self, reasoning_started: bool, continuation: bool) -> OutputPhase:
        if reasoning_started and self._close:
            return OutputPhase.REASONING if continuation else OutputPhase.BEFORE_REASONING
        if self._messages and not continuation:
            return OutputPhase.HEADER
        may_begin_otherwise = self._open or self._markers or self._collector.may_be_bare_call("")
        return OutputPhase.BEFORE_CONTENT if may_begin_otherwise else OutputPhase.CONTENT

    def _count_reasoning(self) -> None:
        # If a tag consists of several tokens, all of them are counted at the last one, which completes the tag.
        if self._is_reasoning or self._token_has_reasoning:
            self.reasoning_tokens += 1 + self._undecided_tokens
            self._undecided_tokens = 0
            self._output.assign_to_reasoning()
        elif self._phase in (OutputPhase.BEFORE_CONTENT, OutputPhase.HEADER):
            self._undecided_tokens += 1
        else:
            self._undecided_tokens = 0

    def _read(self, text: str) -> None:
        text = self._held + text
        self._held = ""
        # Each reader parses the text up to the next change of phase and returns the rest.
        while text:
            text = self._reader(text)

    def _read_header(self, text: str) -> str:
        assert self._messages is not None
        if not may_be_header(text, self._messages, self._tool_names):
            return self._reject_header(text)
        header, end, rest = text.lstrip(WHITESPACE).partition(self._messages.header_end)
        if not end:
            self._held = text
            return ""
        self._output.assign_to_reasoning()
        kind, recipient = read_header(header, self._messages, self._tool_names)
        match kind:
            case MessageKind.REASONING:
                self._token_has_reasoning = True
                self._enter(OutputPhase.BEFORE_REASONING)
            case MessageKind.CONTENT:
                self._enter_content()
            case MessageKind.CALL | MessageKind.IGNORED:
                self._tool_message.begin(recipient if self._tool_names else "")
                self._enter(OutputPhase.TOOL_MESSAGE)
            case _:
                assert_never(kind)
        return rest

    def _reject_header(self, text: str) -> str:
        """Parse `text` as an answer without a header."""
        assert self._messages is not None
        start = next((start for start in self._messages.starts if text.startswith(start)), "")
        self._set_phase(OutputPhase.CONTENT if start else OutputPhase.BEFORE_CONTENT)
        self._emit_trimmed(TextDelta, start)
        return text[len(start) :]

    def _read_tool_message(self, text: str) -> str:
        visible = self._tool_message.outside_strings(text)
        found = first_match(visible, self._needles.message_ends)
        end = found[0] if found else len(self._hold_back(visible, self._needles.message_ends))
        self._tool_message.add(text[:end])
        return self._end_tool_message(text[end:]) if found else ""

    def _end_tool_message(self, text: str) -> str:
        """End the message. `text` begins with the text that ended it; "" at the end of the answer."""
        found = first_match(text, self._needles.message_ends)
        rejected, unread = self._tool_message.end(found[1] if found else "")
        self._output.add_text(TextDelta, rejected)
        found = first_match(unread + text, self._needles.message_ends)
        return self._end_message(unread + text, found) if found else ""

    def _end_message(self, text: str, found: tuple[int, str]) -> str:
        """End the message at `found`. Returns the rest of the text, from the beginning of the next header on."""
        assert self._messages is not None
        at, needle = found
        self._set_phase(OutputPhase.HEADER)
        if self._messages.ends:
            self._space.reset(is_kept=True)
        return text[at:] if needle in self._messages.starts else text[at + len(needle) :]

    def _read_before_content(self, text: str) -> str:
        text = self._space.move_from(text)
        if self._open and text.startswith(self._open):
            self._token_has_reasoning = True
            self._enter(OutputPhase.BEFORE_REASONING)
            return text[len(self._open) :]
        # The prompt has already closed the reasoning, or the model writes a closing tag twice.
        for tag in (self._close, *self._markers, *self._strays):
            if tag and text.startswith(tag):
                self._space.reset_after_markup(follows_text=False)
                self._output.assign_to_reasoning()
                self._strays = self._collector.strays_after(tag) if self._strays else ()
                return text[len(tag) :]
        # A call without its usual tags may begin as they do.
        if self._may_be_tag(text) or partial_length(text, self._collector.needles) == len(text):
            self._held = text
            return ""
        space = self._space.kept(has_text=True)
        if not self._output.has_text and self._collector.may_be_bare_call(text):
            self._space.text = space
            self._enter_call(in_reasoning=False)
            return text
        self._enter(OutputPhase.CONTENT)
        return space + text

    def _may_be_tag(self, text: str) -> bool:
        return any(tag.startswith(text) for tag in (self._open, self._close, *self._markers, *self._strays))

    def _read_before_reasoning(self, text: str) -> str:
        text = self._space.move_from(text)
        for tag in (self._close, *self._markers):
            if text.startswith(tag):
                return self._close_reasoning(text, (0, tag))
        if self._open and text.startswith(self._open):
            return text[len(self._open) :]
        if self._may_be_tag(text):
            self._held = text
            return ""
        self._enter(OutputPhase.REASONING)
        self._space.text = "\n" if self._output.has_reasoning else ""
        return text

    def _read_reasoning(self, text: str) -> str:
        found = first_match(text, self._needles.reasoning)
        if found is None:
            self._emit_trimmed(ReasoningDelta, self._hold_back(text, self._needles.reasoning))
            return ""
        at, needle = found
        self._emit_trimmed(ReasoningDelta, text[:at])
        if needle in self._collector.needles:
            self._enter_call(in_reasoning=True)
            return text[at:]
        return self._close_reasoning(text, found)

    def _close_reasoning(self, text: str, found: tuple[int, str]) -> str:
        if self._messages:
            return self._end_message(text, found)
        self._enter_content()
        return text[found[0] + len(found[1]) :]

    def _read_content(self, text: str) -> str:
        # Most tokens contain no character that begins a needle.
        if self._needle_starts.isdisjoint(text):
            self._emit_content(text)
            return ""
        found = first_match(text, self._needles.content)
        if found is None:
            self._emit_content(self._hold_back(text, self._needles.content))
            return ""
        at, needle = found
        before, after = text[:at], text[at + len(needle) :]
        if needle in self._needles.stops:
            self._output.add_text(TextDelta, self._space.text + before)
            self.stop_string = needle
            self._enter(OutputPhase.STOPPED)
            return after
        self._emit_trimmed(TextDelta, before)
        if needle in self._collector.needles:
            self._enter_call(in_reasoning=False)
            return text[at:]
        if needle in self._needles.message_ends:
            return self._end_message(text, found)
        self._enter(OutputPhase.BEFORE_REASONING if needle == self._open else OutputPhase.BEFORE_CONTENT)
        return after

    def _enter_call(self, *, in_reasoning: bool) -> None:
        """Begin to collect a call. The whitespace before it stays in `_space`."""
        self._set_phase(OutputPhase.CALL)
        self._is_call_in_reasoning = in_reasoning

    def _read_call(self, text: str, *, final: bool = False) -> str:
        reasoning_ends = self._needles.reasoning_ends if self._is_call_in_reasoning else ()
        try:
            collected = self._collector.collect(text, final=final, reasoning_ends=reasoning_ends)
        except NotACall:
            return self._reject_call()
        if collected and self._is_call_in_reasoning and not self._may_end_reasoning(collected[1]):
            return self._reject_call()
        if self._is_call_in_reasoning and not (collected and final):
            return ""
        self._calls.read_parts(self._collector.text.removesuffix(collected[1] if collected else ""))
        if collected is None:
            return ""
        calls, rest = collected
        self._collector.pop()
        self._calls.add(calls[self._calls.end_parts() :])
        self._space.reset_after_markup(follows_text=self._output.has_text)
        self._set_phase(OutputPhase.BEFORE_CONTENT)
        self._strays = self._collector.strays
        return rest

    def _may_end_reasoning(self, rest: str) -> bool:
        """Whether calls in reasoning may count, because the answer ends with them and `rest` does not end reasoning."""
        if first_match(rest, self._needles.reasoning_ends):
            return False
        rest = rest.lstrip(WHITESPACE)
        tags = (*self._needles.reasoning, *self._collector.strays)
        return not self._output.has_reasoning or any(n.startswith(rest) or rest.startswith(n) for n in tags)

    def _reject_call(self) -> str:
        """Emit the opening of a rejected call as text. Returns the text after the opening."""
        if self._calls.end_parts():
            # max_tokens cut the last call. Its parts have already been sent.
            self._collector.pop()
            self._set_phase(OutputPhase.CONTENT)
            return ""
        opening, rest = self._collector.reject(self._needles.reasoning_ends)
        if self._collector.is_exhausted:
            self._needles.ignore_calls()
        is_reasoning = self._is_call_in_reasoning
        self._set_phase(OutputPhase.REASONING if is_reasoning else OutputPhase.CONTENT)
        self._emit_trimmed(ReasoningDelta if is_reasoning else TextDelta, opening)
        return rest

    def _finish(self) -> None:
        """Parse the text that was held back, now that no text can follow it."""
        while self._phase is OutputPhase.CALL:
            self._read(self._read_call("", final=True))
        held, self._held = self._held, ""
        match self._phase:
            case OutputPhase.BEFORE_CONTENT | OutputPhase.HEADER:
                self._output.add_text(TextDelta, self._space.kept(has_text=bool(held)) + held)
            case OutputPhase.CONTENT:
                self._output.add_text(TextDelta, self._space.text + held)
            case OutputPhase.REASONING | OutputPhase.BEFORE_REASONING:
                self._emit_trimmed(ReasoningDelta, held)
            case OutputPhase.TOOL_MESSAGE:
                self._tool_message.add(held)
                if rest := self._end_tool_message(""):
                    self._read(rest)
                    self._finish()
            case OutputPhase.STOPPED:
                pass
            case _:
                assert_never(self._phase)

    def _enter(self, phase: OutputPhase) -> None:
        self._set_phase(phase)
        self._space.reset(is_kept=True)
        self._strays = ()

    def _enter_content(self) -> None:
        """Begin a part of the answer after markup. A line break separates it from the text before."""
        self._enter(OutputPhase.BEFORE_CONTENT)
        self._space.reset_after_markup(follows_text=self._output.has_text)

    def _set_phase(self, phase: OutputPhase) -> None:
        self._phase = phase
        self._reader = self._readers[phase]
        self._is_reasoning = phase in (OutputPhase.REASONING, OutputPhase.BEFORE_REASONING)
        # In headers and calls, special tokens are part of the text.
        self._keeps_special = phase in (OutputPhase.HEADER, OutputPhase.CALL, OutputPhase.TOOL_MESSAGE)

    def _hold_back(self, text: str, needles: Sequence[str]) -> str:
        """Hold back the end of the text if it may be the beginning of a needle. Returns the text before it."""
        cut = len(text) - partial_length(text, needles)
        self._held = text[cut:]
        return text[:cut]

    def _emit_content(self, text: str) -> None:
        if self._collector.needles or self._messages:
            self._emit_trimmed(TextDelta, text)
        else:
            self._output.add_text(TextDelta, text)

    def _emit_trimmed(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        """Emit text without its trailing whitespace, which is held back because a tag may follow it."""
        self._output.add_text(kind, self._space.hold_from(text))
