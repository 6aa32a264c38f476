"""Messages as the page has them, and an answer that grows. Knows no widget and no source."""

from __future__ import annotations

import time
from typing import Any, assert_never
from uuid import uuid4

import msgspec

from pico_jupyter.sources.calls import FinishPiece, Piece, ProgressPiece, ReasoningPiece, TextPiece, UsagePiece

# A growing answer is shown so often at most.
UPDATE_SECONDS = 0.1


class Answer:
    """An answer that Python asked for."""

    def __init__(self, model: str) -> None:
        self.content = ""
        self._asked = self._shown = time.monotonic()
        self._first = 0.0
        self._facts = new_message("assistant", model=model, status="streaming", writer="kernel")

    def __repr__(self) -> str:
        return f"<Answer {self._facts['status']} [{len(self.content)} characters]>"

    def message(self) -> dict[str, Any]:
        """The message as it is now."""
        return {**self._facts, "content": self.content, "changed": _now()}

    def take(self, piece: Piece) -> bool:
        """Add a piece. True when it is time to show the message again."""
        now = time.monotonic()
        match piece:
            case TextPiece():
                self._stamp(now)
                self.content += piece.text
            case ReasoningPiece():
                self._stamp(now)
                self._facts["reasoning"] = self._facts.get("reasoning", "") + piece.text
                self._facts["thinkingMs"] = _milliseconds(now - self._first)
            case FinishPiece():
                self._facts["finish"] = piece.reason
            case UsagePiece():
                self._facts["stats"] = msgspec.to_builtins(piece.stats)
            case ProgressPiece():
                pass
            case _:
                assert_never(piece)
        is_due = now - self._shown >= UPDATE_SECONDS
        self._shown = now if is_due else self._shown
        return is_due

    def end(self, status: str, error: str = "") -> None:
        """Nothing more comes."""
        self._facts["status"] = status
        self._facts.pop("writer", None)
        if error:
            self._facts["error"] = error

    def _stamp(self, now: float) -> None:
        self._first = self._first or now
        self._facts["firstMs"] = _milliseconds(self._first - self._asked)
        self._facts["decodeMs"] = _milliseconds(now - self._first)


def new_message(role: str, **facts: Any) -> dict[str, Any]:
    """A message as the page has them; `facts` win."""
    now = _now()
    fresh = {"id": uuid4().hex[:10], "role": role, "content": "", "status": "done", "created": now, "changed": now}
    return {**fresh, **facts}


def _now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
