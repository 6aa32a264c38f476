"""Keeps responses in memory, so that clients can read them and continue their conversations.

A response is removed if it was not used for some time. If the responses of one user need more bytes than allowed, the
least recently used ones are removed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from jupyter_server.base.handlers import JupyterHandler

from pico_jupyter.errors import NotFound
from pico_jupyter.server.credentials import owner_of

MAX_ECHOED_ID = 80


class StoredResponse(msgspec.Struct, frozen=True):
    """A response and its input items, both as JSON. `previous`: the id of the response before it."""

    body: bytes
    input: bytes
    previous: str | None = None

    @property
    def size(self) -> int:
        """The bytes that the response needs."""
        return len(self.body) + len(self.input)

    def input_items(self) -> list[dict[str, Any]]:
        """Return the input items."""
        return msgspec.json.decode(self.input, type=list[dict[str, Any]])

    def output_items(self) -> list[dict[str, Any]]:
        """Return the output items."""
        return msgspec.json.decode(self.body, type=_Output).output


class _Output(msgspec.Struct):
    output: list[dict[str, Any]]


class _Kept(msgspec.Struct):
    stored: StoredResponse
    used_at: float
    item_ids: tuple[str, ...]


class UserResponses:
    """The responses of one user. Implements ResponseHistory, and may be used from several threads.

    max_bytes: limit for all responses together. max_seconds: limit since the latest use of a response.
    """

    def __init__(self, max_bytes: int, max_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._now = now
        self._size = 0
        # In the order of their latest use.
        self._kept: dict[str, _Kept] = {}
        self._owners: dict[str, str] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<UserResponses [{len(self._kept)} responses, {self._size} bytes]>"

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._kept)

    def add(self, response_id: str, stored: StoredResponse) -> None:
        """Store a response, unless it alone needs more bytes than allowed."""
        if stored.size > self._max_bytes:
            return
        item_ids = tuple(item["id"] for item in (*stored.input_items(), *stored.output_items()))
        with self._lock:
            self._expire()
            self._kept[response_id] = _Kept(stored, self._now(), item_ids)
            self._owners |= dict.fromkeys(item_ids, response_id)
            self._size += stored.size
            while self._size > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def find(self, response_id: str) -> StoredResponse:
        """Return a response, and count it as used now. Raises NotFound."""
        with self._lock:
            self._expire()
            kept = self._kept.pop(response_id, None)
            if kept is None:
                raise NotFound(f"Response with id '{response_id[:MAX_ECHOED_ID]}' not found.")
            kept.used_at = self._now()
            self._kept[response_id] = kept
            return kept.stored

    def remove(self, response_id: str) -> None:
        """Remove a response. Raises NotFound."""
        with self._lock:
            self.find(response_id)
            self._drop(response_id)

    def conversation(self, response_id: str) -> list[dict[str, Any]]:
        """Return the items of a response and of all responses before it. Raises NotFound."""
        return [*self.input_items(response_id), *self.find(response_id).output_items()]

    def input_items(self, response_id: str) -> list[dict[str, Any]]:
        """Return all items that a response answers, including those of earlier responses. Raises NotFound."""
        stored = self.find(response_id)
        parts = [stored.input_items()]
        while stored.previous is not None:
            stored = self.find(stored.previous)
            parts += [stored.output_items(), stored.input_items()]
        return [item for part in reversed(parts) for item in part]

    def find_items(self, item_ids: set[str]) -> dict[str, dict[str, Any]]:
        """Return the stored ones of these items, by their ids."""
        with self._lock:
            self._expire()
            owners = {self._owners[item_id] for item_id in item_ids if item_id in self._owners}
            responses = [self.find(owner) for owner in owners]
        items = [item for stored in responses for item in (*stored.input_items(), *stored.output_items())]
        return {item["id"]: item for item in items if item["id"] in item_ids}

    def _expire(self) -> None:
        oldest = self._now() - self._max_seconds
        while self._kept:
            response_id, kept = next(iter(self._kept.items()))
            if kept.used_at >= oldest:
                return
            self._drop(response_id)

    def _drop(self, response_id: str) -> None:
        kept = self._kept.pop(response_id)
        self._size -= kept.stored.size
        for item_id in kept.item_ids:
            if self._owners.get(item_id) == response_id:
                del self._owners[item_id]


class ResponseStore:
    """The responses of all users. The limits are those of each user: see UserResponses."""

    def __init__(self, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._users: dict[str, UserResponses] = {}

    def __repr__(self) -> str:
        return f"<ResponseStore [{len(self._users)} users]>"

    def of(self, handler: JupyterHandler) -> UserResponses:
        """Return the responses of the user who sent the request of `handler`."""
        self._users = {name: responses for name, responses in self._users.items() if len(responses)}
        return self._users.setdefault(owner_of(handler), UserResponses(self._max_bytes, self._max_seconds))
