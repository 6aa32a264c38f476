"""The settings of the server that the dialects depend on."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

ReasoningOutput: TypeAlias = Literal["separate", "inline"]


class DialectSettings(msgspec.Struct, frozen=True):
    """The settings of the HTTP API.

    `default_model` is the model of requests that name no model ("": they are refused). `openai_stream_default` is the
    meaning of an omitted `stream` on v1/chat/completions: "openai" is JSON, "pico" is a stream. `reasoning_output` is
    "separate" (own fields), "inline" (<think> tags in the text) or "auto" (separate if the request asks for it).
    `ollama_version` is the version in api/version: numeric and dotted, at least 0.6.4.
    """

    default_model: str = ""
    openai_stream_default: Literal["openai", "pico"] = "openai"
    reasoning_output: Literal["separate", "inline", "auto"] = "separate"
    ollama_version: str = "0.20.0"
