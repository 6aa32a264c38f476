"""DeltaBuffer: collects the deltas that the parser has not returned yet.

Invariant: each log-probability is returned once and in order, with the first text that follows its token.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from pico_jupyter.types import ReasoningDelta, TextDelta, TokenLogprob, ToolCall, ToolCallDelta

OutputDelta = TextDelta | ReasoningDelta | ToolCallDelta


class DeltaBuffer:
    """Deltas of choice `index`. Strings in `hidden` are removed from all text.

    `has_text` and `has_reasoning` are true once text of the answer or reasoning was added.
    """

    def __init__(self, index: int, hidden: AbstractSet[str] = frozenset()) -> None:
        self._hidden = hidden
        self.has_text = False
        self.has_reasoning = False
        self._index = index
        self._deltas: list[OutputDelta] = []
        self._logprobs: list[TokenLogprob] = []

    def add_logprob(self, logprob: TokenLogprob) -> None:
        """Add the log-probability of the next token."""
        self._logprobs.append(logprob)

    def add_text(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        """Append text to the last delta if that has the same kind, else add a new delta."""
        for special in self._hidden:
            text = text.replace(special, "")
        if not text:
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

    def pop(self) -> list[OutputDelta]:
        """Return and remove all deltas. The first delta with text carries all log-probabilities added so far."""
        deltas, self._deltas = self._deltas, []
        if not self._logprobs:
            return deltas
        for position, delta in enumerate(deltas):
            if not isinstance(delta, ToolCallDelta):
                deltas[position] = type(delta)(delta.text, self._index, tuple(self._logprobs))
                self._logprobs = []
                break
        return deltas

    def pop_last(self) -> list[OutputDelta]:
        """Like pop(), at the end of the answer. Remaining log-probabilities are returned with an empty text."""
        deltas = self.pop()
        if self._logprobs:
            deltas.append(TextDelta("", self._index, tuple(self._logprobs)))
            self._logprobs = []
        return deltas
