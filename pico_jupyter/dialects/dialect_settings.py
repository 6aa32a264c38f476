"""Defines the server settings that the dialects use."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

# The place of the reasoning in an answer. hidden: the model reasons, but the answer does not contain the reasoning.
ReasoningOutput: TypeAlias = Literal["separate", "inline", "hidden"]


class DialectSettings(msgspec.Struct, frozen=True):
    """The settings of the HTTP API.

    default_model: the model for requests without one; "": such requests are refused.
    openai_stream_default: if v1/chat/completions gets no `stream`, "openai" answers with JSON, "pico" with a stream.
    reasoning_output: "separate" (own fields), "inline" (<think> tags in the text) or "auto" (separate in answers to
    Ollama requests that turn `think` on, otherwise inline).
    structured_outputs: "enforce" enforces all structures, "schema" all except strings in Ollama's `format`, and
    "ignore" no structure.
    ollama_version: the version in api/version, numeric and dotted, at least 0.6.4.
    """

    default_model: str = ""
    openai_stream_default: Literal["openai", "pico"] = "openai"
    reasoning_output: Literal["separate", "inline", "auto"] = "separate"
    structured_outputs: Literal["schema", "ignore", "enforce"] = "schema"
    ollama_version: str = "0.20.0"
