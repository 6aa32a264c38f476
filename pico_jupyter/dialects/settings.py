"""What the server's configuration says to the dialects. Knows no traitlets."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

ReasoningOutput: TypeAlias = Literal["separate", "inline"]


class DialectSettings(msgspec.Struct, frozen=True):
    """The choices of the server's owner about the wire.

    `default_model` answers requests that name none ("": they are refused). `openai_stream_default` says what an omitted
    `stream` means on v1/chat/completions: "openai" is JSON, "pico" is a stream. `reasoning_output` is "separate" (own
    fields), "inline" (<think> tags in the content) or "auto" (separate where the request asks for it).
    `ollama_version` is what api/version claims: numeric and dotted, at least 0.6.4.
    """

    default_model: str = ""
    openai_stream_default: Literal["openai", "pico"] = "openai"
    reasoning_output: Literal["separate", "inline", "auto"] = "separate"
    ollama_version: str = "0.20.0"
