"""Markup: the strings with which models structure their answers. Knows no tokenizer and no stream."""

from __future__ import annotations

import msgspec


class Markup(msgspec.Struct, frozen=True):
    """The markup of one model.

    `tool_close` "" means that a call reaches to the end of the answer. `markers` carry no meaning and are dropped.
    """

    reasoning_open: str | None = None
    reasoning_close: str | None = None
    tool_open: str | None = None
    tool_close: str = ""
    markers: tuple[str, ...] = ()


class ToolCallText(msgspec.Struct, frozen=True):
    """A tool call as the model wrote it: `arguments` is JSON text."""

    name: str
    arguments: str


# Reasoning tags that are ordinary text for some tokenizers; their templates name them.
TEXT_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
)

# The harmony format (gpt-oss): the analysis channel is the reasoning, the headers of the others are only markup.
HARMONY_TAGS = ("<|channel|>analysis<|message|>", "<|end|>")
HARMONY_MARKERS = ("<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>")
