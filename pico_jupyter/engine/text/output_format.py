"""OutputFormat: the strings with which a model marks reasoning and tool calls in its output.

A format is chosen by the tokenizer and the chat template of a model, never by the model's name.
"""

from __future__ import annotations

from typing import Any

import msgspec

# Reasoning tags that some tokenizers treat as ordinary text. For those, the chat template is searched.
TEXT_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
)

# The harmony format (gpt-oss): the analysis channel is the reasoning. The headers of other channels are removed.
HARMONY_TAGS = ("<|channel|>analysis<|message|>", "<|end|>")
HARMONY_MARKERS = ("<|start|>assistant", "<|channel|>final<|message|>", "<|channel|>commentary<|message|>")


class OutputFormat(msgspec.Struct, frozen=True):
    """How one model marks the parts of its output.

    The tags are None for a model without reasoning or without tool calls. With an empty `tool_close`, a tool call
    extends to the end of the output. `markers` are structural strings without content; the parser removes them.
    """

    reasoning_open: str | None = None
    reasoning_close: str | None = None
    tool_open: str | None = None
    tool_close: str = ""
    markers: tuple[str, ...] = ()


class ParsedToolCall(msgspec.Struct, frozen=True):
    """A tool call as the model wrote it. `arguments` is meant to be JSON, but may be invalid."""

    name: str
    arguments: str


def detect_output_format(wrapper: Any) -> OutputFormat:
    """Detect the format from a tokenizer's vocabulary and chat template. `wrapper` is mlx-lm's TokenizerWrapper."""
    reasoning_open, reasoning_close, markers = _reasoning_tags(wrapper)
    return OutputFormat(
        reasoning_open=reasoning_open,
        reasoning_close=reasoning_close,
        tool_open=wrapper.tool_call_start,
        tool_close=wrapper.tool_call_end or "",
        markers=(*wrapper.structural_markers, *markers),
    )


def _reasoning_tags(wrapper: Any) -> tuple[str | None, str | None, tuple[str, ...]]:
    """The opening tag, the closing tag, and the markers that belong to this kind of reasoning."""
    if wrapper.has_thinking:
        return wrapper.think_start, wrapper.think_end, ()
    vocabulary = wrapper.get_vocab()
    if "<|channel|>" in vocabulary and "<|message|>" in vocabulary:
        return *HARMONY_TAGS, HARMONY_MARKERS
    template = str(wrapper.chat_template or "")
    named = [tags for tags in TEXT_TAGS if tags[1] in template]
    return (*named[0], ()) if named else (None, None, ())
