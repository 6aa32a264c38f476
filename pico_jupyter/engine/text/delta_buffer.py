"""DeltaBuffer: holds the deltas that the parser has not returned yet.

Invariants:
- Each log-probability is returned once and in order, with the first text that follows its token.
- The log-probabilities of reasoning, of its tags, and of whitespace removed after them are in a ReasoningDelta, whose
  text is empty if no reasoning follows. All others are in a TextDelta.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from itertools import takewhile

from pico_jupyter.types import ReasoningDelta, TextDelta, TokenLogprob, ToolCall, ToolCallDelta, ToolCallPart

OutputDelta = TextDelta | ReasoningDelta | ToolCallDelta | ToolCallPart


class DeltaBuffer:
    """Deltas of choice `index`. Strings in `hidden` are removed from all text.

    With `has_no_text`, the answer consists of calls, and what looks like text is the markup of a call that was cut.

    `has_text` and `has_reasoning` are true once text of the answer or reasoning was added.
    """

    def __init__(self, index: int, hidden: AbstractSet[str] = frozenset(), *, has_no_text: bool = False) -> None:
        self._hidden = hidden
        self._has_no_text = has_no_text
        self.has_text = False
        self.has_reasoning = False
        self._index = index
        self._deltas: list[OutputDelta] = []
        self._logprobs: list[TokenLogprob] = []
        self._reasoning_logprobs: list[TokenLogprob] = []
        self._is_after_markup = False

    def add_logprob(self, logprob: TokenLogprob) -> None:
        """Add the log-probability of the next token."""
        self._logprobs.append(logprob)

    def assign_to_reasoning(self) -> None:
        """Assign the tokens that are not returned yet to the reasoning, except those with text of the answer.

        The parser calls this after a token of reasoning, of its tags or of a header.
        """
        self._is_after_markup = True
        kept = 0
        if any(isinstance(delta, TextDelta) for delta in self._deltas):
            kept = len(self._logprobs) if isinstance(self._deltas[0], TextDelta) else 1
        self._assign(len(self._logprobs) - kept)

    def _assign(self, count: int) -> None:
        self._reasoning_logprobs += self._logprobs[:count]
        del self._logprobs[:count]

    def add_text(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        """Append text to the last delta if that has the same kind, else add a new delta."""
        for special in self._hidden:
            text = text.replace(special, "")
        if not text or (self._has_no_text and kind is TextDelta):
            return
        if kind is TextDelta:
            self.has_text = True
        else:
            self.has_reasoning = True
        last = self._deltas[-1] if self._deltas else None
        if isinstance(last, kind):
            self._deltas[-1] = kind(last.text + text, self._index)
        else:
            self._deltas.append(kind(text, self._index))

    def add_tool_call(self, call: ToolCall) -> None:
        """Append a complete tool call."""
        self._deltas.append(ToolCallDelta(call, self._index))

    def add_call_part(self, arguments: str, call_id: str, name: str) -> None:
        """Append a part of a tool call. The first part of a call has `call_id` and `name`."""
        self._deltas.append(ToolCallPart(arguments, self._index, call_id, name))

    def pop(self) -> list[OutputDelta]:
        """Return and remove all deltas. The first delta of each kind carries the log-probabilities of its kind."""
        deltas, self._deltas = self._deltas, []
        if deltas and (self._logprobs or self._reasoning_logprobs):
            self._attach(deltas, final=False)
        return deltas

    def pop_last(self) -> list[OutputDelta]:
        """Like pop(), at the end of the answer. Remaining log-probabilities are returned with an empty text."""
        deltas, self._deltas = self._deltas, []
        self._attach(deltas, final=True)
        return deltas

    def _attach(self, deltas: list[OutputDelta], *, final: bool) -> None:
        kinds = {type(delta) for delta in deltas}
        self._assign_removed_space(deltas, final=final)
        if self._reasoning_logprobs:
            if ReasoningDelta not in kinds:
                deltas.insert(0, ReasoningDelta("", self._index))
            self._reasoning_logprobs = _attach_to(ReasoningDelta, deltas, self._reasoning_logprobs)
        if self._logprobs:
            if final and TextDelta not in kinds:
                deltas.append(TextDelta("", self._index))
            self._logprobs = _attach_to(TextDelta, deltas, self._logprobs)

    def _assign_removed_space(self, deltas: list[OutputDelta], *, final: bool) -> None:
        """Assign tokens of whitespace after a tag to the reasoning, if the answer does not begin with whitespace."""
        text = next((delta.text for delta in deltas if isinstance(delta, TextDelta)), "")
        if not self._is_after_markup or not (text or final):
            return
        self._is_after_markup = False
        if not text[:1].isspace():
            self._assign(len(list(takewhile(lambda logprob: logprob.token.isspace(), self._logprobs))))


def _attach_to(
    kind: type[TextDelta] | type[ReasoningDelta], deltas: list[OutputDelta], logprobs: list[TokenLogprob]
) -> list[TokenLogprob]:
    """Attach `logprobs` to the first delta of `kind`. Returns those that no delta carries."""
    for position, delta in enumerate(deltas):
        if isinstance(delta, kind):
            deltas[position] = kind(delta.text, delta.index, tuple(logprobs))
            return []
    return logprobs
