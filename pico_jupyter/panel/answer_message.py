"""AnswerMessage: collects an answer, and converts it to a message for the panel's page, with its timing."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import msgspec

from pico_jupyter.notebook.answer import Answer
from pico_jupyter.notebook.timing import AnswerTiming
from pico_jupyter.sources.calls import AnswerRequest, FinishPiece, Piece, ReasoningPiece, TextPiece, UsagePiece

# The shortest time between two updates of a growing answer on the page.
UPDATE_SECONDS = 0.1


class AnswerMessage:
    """The answer to a question that Python code asked with ChatPanel.ask()."""

    def __init__(self, request: AnswerRequest) -> None:
        self._answer = Answer(request)
        self._timing = AnswerTiming()
        self._shown = time.monotonic()
        self._fields = new_message("assistant", model=request.model, status="streaming", writer="kernel")

    def __repr__(self) -> str:
        return f"<AnswerMessage {self._fields['status']} [{len(self.text)} characters]>"

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return self._answer.text

    def message(self) -> dict[str, Any]:
        """Return the current state of the answer as a message."""
        reasoning = {"reasoning": self._answer.reasoning} if self._answer.reasoning else {}
        return {**self._fields, **reasoning, "content": self.text, "changed": _now()}

    def add(self, piece: Piece) -> bool:
        """Add a piece of the answer. Returns whether the page should be updated now."""
        self._answer.add(piece)
        if isinstance(piece, TextPiece | ReasoningPiece):
            self._timing.stamp()
            decode = _milliseconds(self._timing.decode)
            self._fields |= {"firstMs": _milliseconds(self._timing.first), "decodeMs": decode}
            if isinstance(piece, ReasoningPiece):
                self._fields["thinkingMs"] = decode
        elif isinstance(piece, FinishPiece):
            self._fields["finish"] = piece.reason
        elif isinstance(piece, UsagePiece):
            self._fields["stats"] = msgspec.to_builtins(piece.stats)
        now = time.monotonic()
        is_due = now - self._shown >= UPDATE_SECONDS
        self._shown = now if is_due else self._shown
        return is_due

    def end(self, status: str, error: str = "") -> None:
        """End the answer with `status`: "done", "stopped", or "failed" with `error`."""
        self._fields["status"] = status
        self._fields.pop("writer", None)
        if error:
            self._fields["error"] = error


def new_message(role: str, **fields: Any) -> dict[str, Any]:
    """Return a message in the page's format. `fields` replace the defaults."""
    now = _now()
    defaults = {"id": uuid4().hex[:10], "role": role, "content": "", "status": "done", "created": now, "changed": now}
    return {**defaults, **fields}


def _now() -> int:
    """Return the milliseconds since the epoch."""
    return int(time.time() * 1000)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
