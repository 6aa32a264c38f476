"""CallCollector: collects text until it is a complete tool call, or cannot become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pico_jupyter.engine.formats.call_formats import CallFormat
from pico_jupyter.engine.text.call_progress import CallProgress, ParsedToolCall
from pico_jupyter.engine.text.call_reader import read_calls
from pico_jupyter.engine.text.call_values import Incomplete, NotACall
from pico_jupyter.engine.text.matching import first_match
from pico_jupyter.engine.text.text_space import WHITESPACE

_MAX_REJECTED = 64
_FENCE = "```"


class CallCollector:
    """Collects the tool calls of one answer in `formats`. `tools` is the JSON array of the request.

    `needles` are the texts at which a call begins, and `closings` those at which it ends. `strays` are texts that the
    model may write after a call and that are no content. `text` is the collected text, from its needle on.
    """

    def __init__(self, formats: Sequence[CallFormat], tools: Sequence[Mapping[str, Any]]) -> None:
        self._tagged = tuple(call for call in formats if call.needles)
        self.needles = tuple(dict.fromkeys(needle for call in self._tagged for needle in call.needles))
        self.closings = tuple(dict.fromkeys(closing for call in self._tagged for closing in call.last_closings))
        self.strays = self.closings
        self.text = ""
        self._rejected = 0
        # The complete calls at the start of the text, and the position after them.
        self._calls: list[ParsedToolCall] = []
        self._end = 0
        self._bare = tuple(call for call in formats if call.guards)
        self._tools = tools
        # The collected text is parsed again only after one of these texts has arrived; (): after any text.
        self._awaited: tuple[str, ...] = ()
        self._progress: dict[str, CallProgress] = {}

    def may_be_bare_call(self, text: str) -> bool:
        """Whether an answer that begins with `text` may be a call without an opening tag."""
        for call in self._bare:
            try:
                read_calls(text, call, self._tools, final=False)
            except NotACall:
                continue
            except Incomplete:
                pass
            return True
        return False

    def collect(
        self, text: str, *, final: bool, reasoning_ends: Sequence[str] = ()
    ) -> tuple[list[ParsedToolCall], str] | None:
        """Add text. Returns the calls and the text after them, or None if more text is needed.

        `final`: no text follows. `reasoning_ends` end the reasoning in which the calls stand; () outside reasoning. The
        calls of reasoning include all that follow directly. Raises NotACall if the collected text is not a call. The
        text is kept until pop().
        """
        if self.is_exhausted:
            self.text += text
            raise NotACall
        overlap = max(map(len, self._awaited), default=0)
        recent = self.text[max(0, len(self.text) - overlap) :] + text
        self.text += text
        if self._awaited and not final and not any(awaited in recent for awaited in self._awaited):
            return None
        while not self._calls or (reasoning_ends and self._begins_call()):
            try:
                calls = self._read_next(final, reasoning_ends)
            except NotACall:
                if self._calls:
                    break
                raise
            if calls is None:
                return None
            self._calls += calls
        return self._calls, self.text[self._end :]

    def _begins_call(self) -> bool:
        return self.text[self._end :].lstrip(WHITESPACE).startswith(self.needles)

    def _read_next(self, final: bool, reasoning_ends: Sequence[str]) -> list[ParsedToolCall] | None:
        """The calls after the known ones. None if more text is needed."""
        is_incomplete = False
        self._awaited = ()
        text = self.text[self._end :].lstrip(WHITESPACE) if self._calls else self.text
        for call in self._candidates(text):
            try:
                progress = self._progress.setdefault(call.title, CallProgress())
                calls, length = read_calls(
                    text, call, self._tools, final=final, progress=progress, stops=reasoning_ends
                )
            except NotACall:
                continue
            except Incomplete as error:
                is_incomplete, self._awaited = True, error.awaited
                continue
            if len(progress.fences) % 2:
                self.strays = (*self.closings, _FENCE)
            self._end, self._progress = len(self.text) - len(text) + length, {}
            return calls
        if is_incomplete:
            return None
        raise NotACall

    def strays_after(self, text: str) -> tuple[str, ...]:
        """The strays that may follow the stray `text`. A code block ends once."""
        if text == _FENCE:
            self.strays = self.closings
        return self.strays

    def pop(self) -> str:
        """Return and remove the collected text."""
        text, self.text, self._awaited, self._progress = self.text, "", (), {}
        self._calls, self._end = [], 0
        return text

    def reject(self, reasoning_ends: Sequence[str]) -> tuple[str, str]:
        """Remove the collected text. Returns the part of it that is no call, and the rest, which must be parsed again.

        The part is the complete calls in reasoning, up to the end of the reasoning. Without complete calls, it is the
        needle at the start, or one character.
        """
        end, text = self._end, self.pop()
        if found := first_match(text[:end], reasoning_ends):
            end = found[0]
        if not end:
            end = max((len(needle) for needle in self.needles if text.startswith(needle)), default=1)
        # Text without a needle does not count. Whether it is collected at all depends on how the answer is split.
        self._rejected += sum(text.count(needle, 0, end) for needle in self.needles)
        return text[:end], text[end:]

    @property
    def is_exhausted(self) -> bool:
        """Whether the limit of rejected calls is reached. There is a limit because each one is parsed twice."""
        return self._rejected >= _MAX_REJECTED

    def _candidates(self, text: str) -> Sequence[CallFormat]:
        tagged = [call for call in self._tagged if text.startswith(call.needles)]
        return tagged or self._bare
