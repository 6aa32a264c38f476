"""Decides where reasoning is in an answer, and writes it as <think> tags in the text."""

from __future__ import annotations

from typing import assert_never

from pico_jupyter.client import Choice
from pico_jupyter.dialects.dialect_settings import DialectSettings, ReasoningOutput
from pico_jupyter.dialects.request_fields import GenerationFields, ReasoningField
from pico_jupyter.types import FinishReason

OPEN_TAG = "<think>"
CLOSE_TAG = "</think>"

# Whether a reasoning_format of Groq or llama.cpp means separate reasoning. With "auto", the settings decide.
_FORMATS = {"parsed": True, "deepseek": True, "raw": False, "none": False}


def read_reasoning_output(
    fields: GenerationFields, settings: DialectSettings, *, asked: bool = False
) -> ReasoningOutput:
    """Return where the answer's reasoning is. `asked`: the setting "auto" means separate.

    Fields that leave reasoning out have precedence, then separate_reasoning, reasoning_split, reasoning_format and
    include_reasoning.
    """
    if _is_hidden(fields):
        return "hidden"
    by_format = _FORMATS.get(fields.reasoning_format or "")
    for is_separate in (fields.separate_reasoning, fields.reasoning_split, by_format, fields.include_reasoning):
        if is_separate is not None:
            return "separate" if is_separate else "inline"
    match settings.reasoning_output:
        case "separate" | "inline":
            return settings.reasoning_output
        case "auto":
            return "separate" if asked else "inline"
        case _:
            assert_never(settings.reasoning_output)


def _is_hidden(fields: GenerationFields) -> bool:
    is_excluded = isinstance(fields.reasoning, ReasoningField) and fields.reasoning.exclude is True
    return is_excluded or fields.include_reasoning is False or fields.reasoning_format == "hidden"


class InlineReasoning:
    """Writes the reasoning of one choice between tags. Each returned string becomes a separate delta.

    litellm recognizes a tag only if it is a whole delta. Some chat templates end the prompt with the opening tag, so
    the model does not write it, but clients need it.
    """

    __slots__ = ("_is_open", "_is_separator_due")

    def __init__(self) -> None:
        self._is_open = False
        self._is_separator_due = False

    def __repr__(self) -> str:
        return f"<InlineReasoning {'open' if self._is_open else 'closed'}>"

    def reasoning(self, text: str) -> list[str]:
        if self._is_open:
            return [text]
        self._is_open = True
        return [OPEN_TAG, text if text.startswith("\n") else "\n" + text]

    def text(self, text: str) -> list[str]:
        closing = self.close()
        if self._is_separator_due and text:
            self._is_separator_due = False
            text = text if text.startswith("\n") else "\n\n" + text
        return [*closing, text]

    def close(self) -> list[str]:
        """Return the closing tag, if reasoning is open. Called before other content."""
        if not self._is_open:
            return []
        self._is_open = False
        self._is_separator_due = True
        return [CLOSE_TAG]

    def finish(self, reason: FinishReason) -> list[str]:
        """Return the closing tag, if reasoning is open. Reasoning that the token limit cut stays open."""
        return [] if reason == "length" else self.close()


def fold_inline(choice: Choice) -> str:
    """Return a whole answer's reasoning and text as one string, equal to the joined deltas of a stream."""
    inline = InlineReasoning()
    pieces = inline.reasoning(choice.reasoning) if choice.reasoning else []
    pieces += inline.text(choice.text) if choice.text else []
    pieces += inline.close() if choice.tool_calls else inline.finish(choice.finish_reason)
    return "".join(pieces)
