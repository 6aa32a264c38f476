"""Declares the answers of v1/completions and of the endpoints about tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pico_jupyter.dialects.openai_answer_schema import FINGERPRINT, OpenAIUsage


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """The log-probabilities of the tokens of a text. Each list has one item for each token.

    The first token of a prompt has null, because nothing precedes it.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: Annotated[list[dict[str, float] | None], Meta(description="The token and the likeliest candidates.")]
    text_offset: Annotated[list[int], Meta(description="Where each token begins in the text, in characters.")]


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the texts: choice i of prompt k has the index k * n + i. In a stream, the next piece of a text."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: Annotated[Literal["stop", "length"] | None, Meta(description="null before the end of a stream.")] = (
        None
    )


class TextCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, or one event of a stream. The stream ends with the event [DONE]."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: Annotated[int, Meta(description="Seconds since the epoch.")]
    model: Annotated[str, Meta(description="The name in the request.")]
    system_fingerprint: str = FINGERPRINT
    choices: list[CompletionChoice]
    usage: Annotated[
        OpenAIUsage | UnsetType | None, Meta(description="In a stream: in the last event, if the request asks for it.")
    ] = UNSET


class TokenizeAnswer(msgspec.Struct, frozen=True):
    """The tokens of a prompt. `max_model_len` is the size of the model's context."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: Annotated[list[str] | None, Meta(description="The text of each token, if return_token_strs is true.")]


class DetokenizeAnswer(msgspec.Struct, frozen=True):
    """The text of tokens, special ones included."""

    prompt: str


class RenderAnswer(msgspec.Struct, frozen=True):
    """A prompt as the model reads it: the text that the chat template writes, and its tokens."""

    prompt: str
    token_ids: list[int]
    count: int
    max_model_len: int
