"""CallCollector: collects text until it is a complete tool call, or cannot become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pico_jupyter.engine.formats.call_formats import Body, CallFormat
from pico_jupyter.engine.text.call_reader import CallProgress, ParsedToolCall, read_calls
from pico_jupyter.engine.text.call_values import Incomplete, NotACall
from pico_jupyter.engine.text.matching import first_match
from pico_jupyter.engine.text.string_mask import StringMask

_MAX_REJECTED = 64


class CallCollector:
    """Collects the tool calls of one answer in `formats`. `tools` is the JSON array of the request.

    `needles` are the texts at which a call begins. `text` is the collected text, from its needle on;
    `outside_strings` is the same text without its strings, if the format is JSON.
    """

    def __init__(self, formats: Sequence[CallFormat], tools: Sequence[Mapping[str, Any]]) -> None:
        self.needles = tuple(dict.fromkeys(needle for call in formats for needle in call.needles))
        self.text = ""
        self.outside_strings = ""
        self._mask = StringMask()
        self._rejected = 0
        self._tagged = tuple(call for call in formats if call.needles)
        self._is_json = all(call.body in (Body.OBJECTS, Body.JSON) for call in self._tagged)
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

    def collect(self, text: str, *, final: bool) -> tuple[list[ParsedToolCall], str] | None:
        """Add text. Returns the calls and the text after them, or None if more text is needed.

        `final`: no text follows. Raises NotACall if the collected text is not a call. The text is kept until pop().
        """
        if self.is_exhausted:
            self.text += text
            raise NotACall
        overlap = max(map(len, self._awaited), default=0)
        recent = self.text[max(0, len(self.text) - overlap) :] + text
        self.text += text
        self.outside_strings += self._mask.hide(text) if self._is_json else text
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
        self.outside_strings, self._mask = "", StringMask()
        return text

    def reject(self) -> tuple[str, str]:
        """Remove the collected text. Returns its needle (without a needle, its first character) and the rest."""
        self._rejected += 1
        text = self.pop()
        length = max((len(needle) for needle in self.needles if text.startswith(needle)), default=1)
        return text[:length], text[length:]

    def reject_before(self, end: int) -> str:
        """Return and remove the collected text. Each needle before `end` counts as one rejected call."""
        text, at = self.pop(), 0
        while self._rejected < _MAX_REJECTED and (found := first_match(text[at:end], self.needles)):
            at += found[0] + len(found[1])
            self._rejected += 1
        return text

    @property
    def is_exhausted(self) -> bool:
        """Whether the limit of rejected calls is reached. There is a limit because each one is parsed twice."""
        return self._rejected >= _MAX_REJECTED

    def _candidates(self) -> Sequence[CallFormat]:
        tagged = [call for call in self._tagged if self.text.startswith(call.needles)]
        return tagged or self._bare
