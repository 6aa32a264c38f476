"""Makes ids for new tool calls, and maps ids of past calls to the form that a chat template accepts.

New ids have nine letters and digits, the only form that the templates of Mistral accept. Other templates accept any id.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from pico_jupyter.types import Message, ToolCall

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 9
_NINE = re.compile(r"[A-Za-z0-9]{9}")


def make_call_id() -> str:
    """A random id for a new tool call."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def map_call_ids(messages: Sequence[Message], history_id: str) -> list[Message]:
    """Convert the ids of calls and of their results to the form `history_id` (see CallFormat).

    If `history_id` is "", existing ids are kept. A call without an id gets a new one. A result without an id gets the
    id of the first call of its tool that has no result yet. So does a result with an unknown id, if it directly follows
    calls whose ids no result has. Equal conversations get equal ids.
    """
    mapping = _CallIds(history_id, {message.tool_call_id for message in messages})
    return [mapping.map_message(message) for message in messages]


@dataclass(slots=True)
class _CallIds:
    pattern: str
    claimed: set[str | None]
    count: int = 0
    known: dict[str, str] = field(default_factory=dict)
    unanswered: list[ToolCall] = field(default_factory=list)
    unclaimed: list[ToolCall] = field(default_factory=list)

    def map_message(self, message: Message) -> Message:
        if message.role != "tool":
            self.unclaimed = []
        if message.tool_calls:
            return replace(message, tool_calls=tuple(map(self._map_call, message.tool_calls)))
        if message.role == "tool":
            return replace(message, tool_call_id=self._map_result(message))
        return message

    def _map_call(self, call: ToolCall) -> ToolCall:
        mapped = replace(call, id=self._new_id(call))
        self.count += 1
        self.unanswered.append(mapped)
        if call.id:
            self.known[call.id] = mapped.id
        if call.id not in self.claimed:
            self.unclaimed.append(mapped)
        return mapped

    def _new_id(self, call: ToolCall) -> str:
        index = str(self.count)
        if not self.pattern:
            return call.id or _nine(index)
        return self.pattern.replace("{nine}", _nine(call.id or index)).format(name=call.name, index=index)

    def _map_result(self, message: Message) -> str | None:
        given = message.tool_call_id
        if given in self.known:
            found = self.known[given]
        else:
            calls = self.unclaimed if given else self.unanswered
            same = (call.id for call in calls if message.name in (None, "", call.name))
            found = next(same, (_nine(given) if self.pattern else given) if given else "")
        self.unanswered = [call for call in self.unanswered if call.id != found]
        self.unclaimed = [call for call in self.unclaimed if call.id != found]
        return found or (_nine("") if self.pattern else given)


def _nine(text: str) -> str:
    """The text itself if it is a valid id of nine characters, else an id derived from it."""
    if _NINE.fullmatch(text):
        return text
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    letters = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)
