"""CallCollector: collects the text of a tool call until it is a call or cannot become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pico_jupyter.engine.formats.call_formats import CallFormat
from pico_jupyter.engine.text.call_reader import CallProgress, ParsedToolCall, read_calls
from pico_jupyter.engine.text.call_values import Incomplete, NotACall


class CallCollector:
    """Collects the tool calls of one answer in `formats`. `tools` is the JSON array of the request.

    `needles` are the texts at which a call begins. `text` is the collected text, from its needle on.
    """

    def __init__(self, formats: Sequence[CallFormat], tools: Sequence[Mapping[str, Any]]) -> None:
        self.needles = tuple(dict.fromkeys(needle for call in formats for needle in call.needles))
        self.text = ""
        self._tagged = tuple(call for call in formats if call.needles)
        self._bare = tuple(call for call in formats if call.guards)
        self._tools = tools
        # The call is read again only when one of these texts has followed; () for any text.
        self._awaited: tuple[str, ...] = ()
        self._progress: dict[str, CallProgress] = {}

    def may_be_bare_call(self, text: str) -> bool:
        """Whether an answer that begins with `text` may be a call that no tag opens."""
        for call in self._bare:
            try:
                read_calls(text, call, self._tools, final=False)
            except NotACall:
                continue
            except Incomplete:
                pass
            return True
        return False

    def collect(self, text: str, *, final: bool) -> tuple[list[ParsedToolCall], str] | None:
        """Add text. Returns the calls and the text after them; None as long as more text decides.

        `final`: no text follows. Raises NotACall; the collected text remains until pop().
        """
        overlap = max(map(len, self._awaited), default=0)
        recent = self.text[max(0, len(self.text) - overlap) :] + text
        self.text += text
        if self._awaited and not final and not any(awaited in recent for awaited in self._awaited):
            return None
        incomplete = False
        self._awaited = ()
        for call in self._candidates():
            try:
                progress = self._progress.setdefault(call.title, CallProgress())
                calls, end = read_calls(self.text, call, self._tools, final=final, progress=progress)
            except NotACall:
                continue
            except Incomplete as error:
                incomplete, self._awaited = True, error.awaited
                continue
            return calls, self.text[end:]
        if incomplete:
            return None
        raise NotACall

    def pop(self) -> str:
        """Return and remove the collected text."""
        text, self.text, self._awaited, self._progress = self.text, "", (), {}
        return text

    def opening_length(self, text: str) -> int:
        """The length of the needle at the start of `text`; 1 without a needle."""
        return max((len(needle) for needle in self.needles if text.startswith(needle)), default=1)

    def _candidates(self) -> Sequence[CallFormat]:
        tagged = [call for call in self._tagged if self.text.startswith(call.needles)]
        return tagged or self._bare
