"""OutputParser: token ids of one answer in, deltas out, as early as they are certain. Knows no model and no mlx.

Invariants:
- Joined over the stream, the deltas do not depend on how the text is split into tokens.
- Nothing leaves that may still become part of a tag, of a stop string, or of a character.
- Every log-probability leaves exactly once and in order, with the first text that leaves after its token.

Stop strings are looked for in visible text only: a stop like "\\n\\n" ends the answer and not the reasoning before it,
and the arguments of a tool call are data. Tags are looked for in text, because some tokenizers split them. Reasoning
opens only where an answer begins, or goes on after reasoning or a tool call, so that an answer may speak of the tag.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol, assert_never

from pico_jupyter.engine.text.markup import Markup, ToolCallText
from pico_jupyter.types import ReasoningDelta, TextDelta, TokenLogprob, ToolCall, ToolCallDelta

Output = TextDelta | ReasoningDelta | ToolCallDelta

WHITESPACE = " \t\r\n"


class Vocabulary(Protocol):
    """What the parser needs of a tokenizer."""

    @property
    def markup(self) -> Markup:
        """The strings that structure the model's answers."""
        ...

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Tokens whose text is not part of an answer."""
        ...

    @property
    def strips_leading_space(self) -> bool:
        """Whether the first space of a text belongs to the tokenizer."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of a token."""
        ...

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> list[ToolCallText]:
        """The tool calls written in a text. Raises ValueError where there is none."""
        ...


class Phase(Enum):
    """Where in the answer the parser is."""

    BEFORE_CONTENT = auto()
    BEFORE_REASONING = auto()
    REASONING = auto()
    CONTENT = auto()
    TOOL_CALL = auto()
    STOPPED = auto()


class OutputParser:
    """Parses the answer of choice `index`.

    `reasoning_started`: the prompt ends inside a reasoning block. `tools` is the JSON array that went to the template;
    tool calls are parsed only when it is not empty. `continuation`: the answer goes on in the middle of a text (a raw
    prompt, a message left open), so its first space is its own.
    """

    def __init__(
        self,
        tokenizer: Vocabulary,
        *,
        stop: Sequence[str] = (),
        reasoning_started: bool = False,
        tools: str = "[]",
        index: int = 0,
        new_call_id: Callable[[], str],
        continuation: bool = False,
    ) -> None:
        markup = tokenizer.markup
        self._tokenizer = tokenizer
        self._index = index
        self._new_call_id = new_call_id
        self._tools: list[dict[str, Any]] = json.loads(tools)

        self._stops = tuple(s for s in stop if s)
        self._open = markup.reasoning_open or ""
        self._close = markup.reasoning_close or ""
        self._markers = markup.markers
        self._tool_open = (markup.tool_open or "") if self._tools else ""
        self._tool_close = markup.tool_close
        calls = (self._tool_open, self._tool_close) if self._tool_open else ()
        self._needles = tuple(n for n in (*self._stops, self._tool_open, *self._markers) if n)
        self._needle_starts = frozenset(n[0] for n in self._needles)
        self._tags = tuple(n for n in (self._open, self._close, *self._markers, *calls) if n)

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = tokenizer.strips_leading_space and not continuation
        self._seen_specials: set[str] = set()
        # Text that waits: `_held` may become a tag or a stop string, `_space` before it may have to be dropped.
        self._held = ""
        self._space = ""
        self._keeps_space = True
        self._call_parts: list[str] = []
        self._phase = self._first_phase(reasoning_started)

        self._deltas: list[Output] = []
        self._logprobs: list[TokenLogprob] = []
        self._undecided_tokens = 0
        self._touched_reasoning = False
        self.reasoning_tokens = 0
        self.has_tool_calls = False

    def __repr__(self) -> str:
        return f"<OutputParser {self._index} [{self._phase.name.lower()} | {len(self._held)} held]>"

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._phase is Phase.STOPPED

    def push(self, token_id: int, logprob: TokenLogprob | None = None) -> list[Output]:
        """Read one token and return what has become certain. Behind a stop string, nothing."""
        if self._phase is Phase.STOPPED:
            return []
        if logprob is not None:
            self._logprobs.append(logprob)
        self._touched_reasoning = self._is_reasoning
        text = self._decoder.decode(self._visible_bytes(token_id))
        if text:
            self._read(text)
        self._count_reasoning()
        return self._take()

    def flush(self) -> list[Output]:
        """Return what was held back, at the end of the answer."""
        if self._phase is not Phase.STOPPED:
            self._read(self._decoder.decode(b"", final=True))
            self._finish()
        deltas = self._take()
        if self._logprobs:
            deltas.append(TextDelta("", self._index, tuple(self._logprobs)))
            self._logprobs = []
        return deltas

    def _first_phase(self, reasoning_started: bool) -> Phase:
        if reasoning_started and self._close:
            return Phase.BEFORE_REASONING
        return Phase.BEFORE_CONTENT if self._open or self._markers else Phase.CONTENT

    @property
    def _is_reasoning(self) -> bool:
        return self._phase is Phase.REASONING or self._phase is Phase.BEFORE_REASONING

    def _count_reasoning(self) -> None:
        # A tag may come in several tokens: whether they were reasoning is known when the last one is read.
        if self._touched_reasoning or self._is_reasoning:
            self.reasoning_tokens += 1 + self._undecided_tokens
            self._undecided_tokens = 0
        elif self._phase is Phase.BEFORE_CONTENT:
            self._undecided_tokens += 1
        else:
            self._undecided_tokens = 0

    def _visible_bytes(self, token_id: int) -> bytes:
        data = self._tokenizer.token_bytes(token_id)
        if token_id not in self._tokenizer.special_token_ids:
            return data
        text = data.decode("utf-8", "replace")
        if text and any(text in tag for tag in self._tags):
            self._seen_specials.add(text)
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
        """Read text up to where the phase changes, or all of it; return the rest."""
        match self._phase:
            case Phase.CONTENT:
                return self._read_content(text)
            case Phase.REASONING:
                return self._read_reasoning(text)
            case Phase.BEFORE_CONTENT:
                return self._read_before_content(text)
            case Phase.BEFORE_REASONING:
                return self._read_before_reasoning(text)
            case Phase.TOOL_CALL:
                return self._read_tool_call(text)
            case Phase.STOPPED:
                return ""
            case _:
                assert_never(self._phase)

    def _read_before_content(self, text: str) -> str:
        text = self._set_space_aside(text)
        if self._open and text.startswith(self._open):
            self._touched_reasoning = True
            self._enter(Phase.BEFORE_REASONING, keeps_space=False)
            return text[len(self._open) :]
        # A closing tag without an opening one is left over from a block that the prompt has closed.
        for tag in (self._close, *self._markers):
            if tag and text.startswith(tag):
                self._enter(Phase.BEFORE_CONTENT, keeps_space=False)
                return text[len(tag) :]
        if any(tag.startswith(text) for tag in (self._open, self._close, *self._markers)):
            self._held = text
            return ""
        text = (self._space if self._keeps_space else "") + text
        self._enter(Phase.CONTENT)
        return text

    def _read_before_reasoning(self, text: str) -> str:
        text = self._set_space_aside(text)
        if text.startswith(self._close):
            self._enter(Phase.BEFORE_CONTENT, keeps_space=False)
            return text[len(self._close) :]
        if self._open and text.startswith(self._open):
            return text[len(self._open) :]
        if self._close.startswith(text) or self._open.startswith(text):
            self._held = text
            return ""
        self._enter(Phase.REASONING)
        return text

    def _read_reasoning(self, text: str) -> str:
        at = text.find(self._close)
        if at >= 0:
            self._emit_before_space(ReasoningDelta, text[:at])
            self._enter(Phase.BEFORE_CONTENT, keeps_space=False)
            return text[at + len(self._close) :]
        self._emit_before_space(ReasoningDelta, self._hold_back(text, (self._close,)))
        return ""

    def _read_content(self, text: str) -> str:
        # Most tokens hold no character with which a needle begins.
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
            self._emit(TextDelta, self._space + before)
            self._enter(Phase.STOPPED)
        elif needle == self._tool_open:
            self._emit_before_space(TextDelta, before)
            self._phase = Phase.TOOL_CALL
        else:
            self._emit_before_space(TextDelta, before)
            self._enter(Phase.BEFORE_CONTENT, keeps_space=False)
        return after

    def _read_tool_call(self, text: str) -> str:
        at = text.find(self._tool_close) if self._tool_close else -1
        if at < 0:
            self._call_parts.append(self._hold_back(text, (self._tool_close,)) if self._tool_close else text)
            return ""
        self._call_parts.append(text[:at])
        self._end_tool_call(self._tool_close)
        return text[at + len(self._tool_close) :]

    def _end_tool_call(self, closer: str) -> None:
        text = "".join(self._call_parts)
        self._call_parts = []
        try:
            calls = self._tokenizer.parse_tool_calls(text, self._tools)
        except ValueError:
            self._emit(TextDelta, self._space + self._tool_open + text + closer)
            self._enter(Phase.BEFORE_CONTENT)
            return
        for call in calls:
            self._deltas.append(ToolCallDelta(ToolCall(self._new_call_id(), call.name, call.arguments), self._index))
        self.has_tool_calls = True
        self._enter(Phase.BEFORE_CONTENT, keeps_space=False)

    def _finish(self) -> None:
        held, self._held = self._held, ""
        if self._phase is Phase.BEFORE_CONTENT:
            held = (self._space if self._keeps_space else "") + held
            self._enter(Phase.CONTENT)
            while held:
                held = self._advance(held)
            held, self._held = self._held, ""
        match self._phase:
            case Phase.CONTENT:
                self._emit(TextDelta, self._space + held)
            case Phase.REASONING | Phase.BEFORE_REASONING:
                self._emit_before_space(ReasoningDelta, held)
            case Phase.TOOL_CALL:
                self._call_parts.append(held)
                self._end_tool_call("")
            case Phase.BEFORE_CONTENT | Phase.STOPPED:
                pass
            case _:
                assert_never(self._phase)

    def _enter(self, phase: Phase, *, keeps_space: bool = True) -> None:
        self._phase = phase
        self._space = ""
        self._keeps_space = keeps_space

    def _set_space_aside(self, text: str) -> str:
        rest = text.lstrip(WHITESPACE)
        self._space += text[: len(text) - len(rest)]
        return rest

    def _hold_back(self, text: str, needles: Sequence[str]) -> str:
        cut = len(text) - partial_length(text, needles)
        self._held = text[cut:]
        return text[:cut]

    def _emit_content(self, text: str) -> None:
        if self._tool_open:
            self._emit_before_space(TextDelta, text)
        else:
            self._emit(TextDelta, text)

    def _emit_before_space(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        """Emit text and hold its trailing whitespace back."""
        body = text.rstrip(WHITESPACE)
        if body:
            self._emit(kind, self._space + body)
            self._space = text[len(body) :]
        else:
            self._space += text

    def _emit(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        for special in self._seen_specials:
            text = text.replace(special, "")
        if not text:
            return
        last = self._deltas[-1] if self._deltas else None
        if isinstance(last, kind):
            self._deltas[-1] = kind(last.text + text, self._index)
        else:
            self._deltas.append(kind(text, self._index))

    def _take(self) -> list[Output]:
        deltas, self._deltas = self._deltas, []
        if not self._logprobs:
            return deltas
        for position, delta in enumerate(deltas):
            if not isinstance(delta, ToolCallDelta):
                deltas[position] = type(delta)(delta.text, self._index, tuple(self._logprobs))
                self._logprobs = []
                break
        return deltas


def first_match(text: str, needles: Sequence[str]) -> tuple[int, str] | None:
    """The needle that is complete first in a text, and where it begins; of two that end together the longer one.

    Reading the text character by character finds the same one, so the answer does not depend on how it is split.
    """
    best: tuple[int, str] | None = None
    best_end = len(text) + 1
    for needle in needles:
        at = text.find(needle, 0, best_end)
        if at < 0:
            continue
        end = at + len(needle)
        if best is None or end < best_end or at < best[0]:
            best, best_end = (at, needle), end
    return best


def partial_length(text: str, needles: Sequence[str]) -> int:
    """The length of the longest end of a text that is the beginning of a needle, and not the whole needle."""
    longest = 0
    for needle in needles:
        at = text.find(needle[0], max(0, len(text) - len(needle) + 1))
        while at >= 0 and not needle.startswith(text[at:]):
            at = text.find(needle[0], at + 1)
        if at >= 0:
            longest = max(longest, len(text) - at)
    return longest
