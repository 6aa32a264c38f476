"""Answer: collects the pieces of an answer, and renders it as safe Markdown for notebooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from pico_jupyter.notebook.answer_schema import AnswerSchema
from pico_jupyter.notebook.markdown import fold, printable, safe_markdown
from pico_jupyter.sources.calls import (
    AnswerRequest,
    FinishPiece,
    Piece,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    Usage,
    UsagePiece,
)

# "" while the model generates. "stopped" (by the caller) and "failed" (an error) mean that the answer is incomplete.
FinishReason: TypeAlias = Literal["", "stop", "length", "tool_calls", "stopped", "failed"]

_INCOMPLETE = {
    "": "the model is still generating the answer, which ends so far in",
    "length": "the answer reached its token limit before its JSON was complete (max_tokens), and ends in",
    "stopped": "the answer was stopped before its JSON was complete, and ends in",
    "failed": "the answer is incomplete because of an error, and ends in",
}
REMARKS = {
    "length": "*The answer ends here because it reached its token limit.*",
    "stopped": "*Stopped.*",
    "failed": "*The answer is incomplete because of an error.*",
}


@dataclass(slots=True, repr=False)
class Answer:
    """An answer of a model.

    `request` is the request that it answers. `text` is the visible answer, and `reasoning` the model's reasoning.
    `finish_reason` is "stop", "length" (a limit was reached), "tool_calls", "stopped", "failed", or "" while the model
    generates. `usage` has the token counts, which arrive with the last piece. `schema` is the structure of the text, if
    the request has one.
    """

    request: AnswerRequest
    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason = ""
    usage: Usage = field(default_factory=Usage)
    schema: AnswerSchema | None = None
    _parsed: Any = field(default=None, init=False, compare=False)

    def __repr__(self) -> str:
        return f"<Answer of {self.model}: {self.text!r}>"

    def __str__(self) -> str:
        return self.text

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.request.model

    @property
    def parsed(self) -> Any:
        """The answer as an instance of `schema`, or as JSON values if that is a dict. None without a schema.

        Raises ValueError if the answer is incomplete, or if it does not match the schema.
        """
        if self.schema is not None and self._parsed is None:
            self._parsed = self._parse(self.schema)
        return self._parsed

    def _parse(self, schema: AnswerSchema) -> Any:
        if self.finish_reason not in ("stop", "tool_calls"):
            raise ValueError(f"{_INCOMPLETE[self.finish_reason]}: {self.text[-100:]!r}")
        try:
            return schema.parse(self.text)
        except ValueError as error:
            raise ValueError(f"the answer does not match the schema: {error}") from error

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation up to this answer, which is the last message. It can be passed to chat() as `history`."""
        system = [{"role": "system", "content": self.request.system}] if self.request.system else []
        turns = [_without_empty_attachments(turn) for turn in msgspec.to_builtins(self.request.messages)]
        return [*system, *turns, {"role": "assistant", "content": self.text}]

    @property
    def has_begun(self) -> bool:
        """Whether the model has generated anything, or finished without text."""
        return bool(self.text or self.reasoning or self.finish_reason not in ("", "failed", "stopped"))

    def add(self, piece: Piece) -> None:
        """Add a piece to the answer."""
        match piece:
            case TextPiece():
                self.text += piece.text
            case ReasoningPiece():
                self.reasoning += piece.text
            case FinishPiece():
                self.finish_reason = piece.reason  # type: ignore[assignment]  # a str in the Struct
            case UsagePiece():
                self.usage = piece.stats
            case ProgressPiece():
                pass
            case _:
                assert_never(piece)

    def end(self, reason: Literal["stopped", "failed"]) -> None:
        """Record why the answer ends early. A complete answer keeps its reason."""
        self.finish_reason = self.finish_reason or reason

    def to_markdown(self) -> str:
        """Return Markdown that is safe to render: reasoning folded, HTML escaped, images replaced by links."""
        reasoning = fold(self.reasoning, is_open=not self.text and not self.finish_reason)
        remark = REMARKS.get(self.finish_reason, "")
        return "\n\n".join(part for part in (reasoning, safe_markdown(self.text), remark) if part)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return the representations that front ends display."""
        return {"text/markdown": self.to_markdown(), "text/plain": printable(self.text)}


def _without_empty_attachments(turn: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in turn.items() if key != "attachments" or value}
