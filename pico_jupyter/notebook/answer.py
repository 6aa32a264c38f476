"""Answer: what a model wrote, as it grows and as notebooks show it. Knows no source and no front end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from pico_jupyter.notebook.markdown import fold, printable, safe_markdown
from pico_jupyter.sources.calls import (
    ChatCall,
    FinishPiece,
    Piece,
    ProgressPiece,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)

# "": it is still being written. "stopped": by its reader, "failed": by an error, so the text is a part only.
FinishReason: TypeAlias = Literal["", "stop", "length", "tool_calls", "stopped", "failed"]

REMARKS = {
    "length": "*The answer ends here because it reached its token limit.*",
    "stopped": "*Stopped.*",
    "failed": "*The answer broke off.*",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts: prompt_tokens include cached_tokens, completion_tokens include reasoning_tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0


@dataclass(slots=True, repr=False)
class Answer:
    """An answer. `reasoning` is the thinking, `model` who wrote it, `usage` comes with the end."""

    call: ChatCall
    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason = ""
    usage: Usage = field(default_factory=Usage)

    def __repr__(self) -> str:
        return f"<Answer of {self.model}: {self.text!r}>"

    def __str__(self) -> str:
        return self.text

    @property
    def model(self) -> str:
        """The model that wrote it."""
        return self.call.model

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole conversation, this answer last, as `history` and ChatPanel take it."""
        system = [{"role": "system", "content": self.call.system}] if self.call.system else []
        turns = [_message(turn) for turn in msgspec.to_builtins(self.call.messages)]
        return [*system, *turns, {"role": "assistant", "content": self.text}]

    @property
    def has_begun(self) -> bool:
        """Whether anything of it has come."""
        return bool(self.text or self.reasoning or self.finish_reason not in ("", "failed", "stopped"))

    def take(self, piece: Piece) -> None:
        """Add a piece."""
        match piece:
            case TextPiece():
                self.text += piece.text
            case ReasoningPiece():
                self.reasoning += piece.text
            case FinishPiece():
                self.finish_reason = piece.reason  # type: ignore[assignment]  # the wire's word is one of them
            case UsagePiece():
                stats = piece.stats
                self.usage = Usage(
                    stats.prompt_tokens, stats.completion_tokens, stats.reasoning_tokens, stats.cached_tokens
                )
            case ProgressPiece():
                pass
            case _:
                assert_never(piece)

    def end(self, reason: Literal["stopped", "failed"]) -> None:
        """Nothing more comes. The reason of an answer that was whole stays."""
        self.finish_reason = self.finish_reason or reason

    def to_markdown(self) -> str:
        """The answer as Markdown that is safe to render: the thinking folded, HTML as text, pictures as links."""
        thinking = fold(self.reasoning, is_open=not self.text and not self.finish_reason)
        remark = REMARKS.get(self.finish_reason, "")
        return "\n\n".join(part for part in (thinking, safe_markdown(self.text), remark) if part)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """What front ends show."""
        return {"text/markdown": self.to_markdown(), "text/plain": printable(self.text)}


def _message(turn: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in turn.items() if key != "attachments" or value}
