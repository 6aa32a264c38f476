"""What v1/* answers, field by field, as the OpenAI SDKs read it. UNSET is left out; None is written as null."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pico_jupyter.types import FinishReason

FINGERPRINT = "fp_pico_jupyter"

ErrorKind: TypeAlias = Literal[
    "authentication_error", "permission_error", "not_found_error", "invalid_request_error", "server_error"
]


class OpenAITopLogprob(msgspec.Struct, frozen=True):
    """A token that could have stood in a place. `bytes` are its true bytes; `token` may be half a character."""

    token: str
    logprob: float
    bytes: list[int]


class OpenAILogprob(msgspec.Struct, frozen=True):
    """The token that stands in a place, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[OpenAITopLogprob]


class OpenAIChoiceLogprobs(msgspec.Struct, frozen=True):
    """How likely the tokens of a text were."""

    content: list[OpenAILogprob]
    refusal: None = None


class OpenAIFunction(msgspec.Struct, frozen=True):
    """A call: the function, and its arguments as JSON text, as the model wrote it."""

    name: str
    arguments: str


class OpenAIToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model calls."""

    id: str
    type: Literal["function"] = "function"
    function: OpenAIFunction


class OpenAIToolCallChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model calls, whole."""

    index: int
    id: str
    type: Literal["function"] = "function"
    function: OpenAIFunction


class OpenAIAnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. What it has none of has no field; `content` is null where there are calls alone."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: Annotated[str | UnsetType, Meta(description="Its thinking.")] = UNSET
    reasoning: Annotated[str | UnsetType, Meta(description="The same: clients read either.")] = UNSET
    tool_calls: list[OpenAIToolCall] | UnsetType = UNSET


class OpenAIChoice(msgspec.Struct, frozen=True):
    """One of the answers."""

    index: int
    message: OpenAIAnswerMessage
    logprobs: OpenAIChoiceLogprobs | None
    finish_reason: FinishReason


class OpenAIDelta(msgspec.Struct, frozen=True):
    """What an answer grows by: one kind of content at a time."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: Annotated[str | UnsetType, Meta(description="Its thinking.")] = UNSET
    reasoning: Annotated[str | UnsetType, Meta(description="The same: clients read either.")] = UNSET
    tool_calls: list[OpenAIToolCallChunk] | UnsetType = UNSET


class OpenAIChunkChoice(msgspec.Struct, frozen=True):
    """One of the answers, and what it grows by."""

    index: int
    delta: OpenAIDelta
    logprobs: OpenAIChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Of the prompt's tokens, those that were found computed."""

    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Of the answer's tokens, those of its thinking."""

    reasoning_tokens: int


class OpenAIUsage(msgspec.Struct, frozen=True):
    """Counts of tokens. The prompt's include the cached ones, the answer's those of its thinking."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: Annotated[int, Meta(description="Seconds since the epoch.")]
    model: Annotated[str, Meta(description="The name as the request wrote it.")]
    system_fingerprint: str = FINGERPRINT
    choices: list[OpenAIChoice]
    usage: OpenAIUsage


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed answer. The stream ends with the event [DONE]."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: Annotated[int, Meta(description="Seconds since the epoch.")]
    model: Annotated[str, Meta(description="The name as the request wrote it.")]
    system_fingerprint: str = FINGERPRINT
    choices: list[OpenAIChunkChoice]
    usage: Annotated[
        OpenAIUsage | UnsetType | None, Meta(description="In the last chunk, where the request asks for it.")
    ] = UNSET


class OpenAIModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this machine. `max_model_len` are the tokens of its context."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Meta(description="When its files changed: seconds since the epoch.")]
    owned_by: str = "pico_jupyter"
    max_model_len: int


class OpenAIModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models on this machine."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


class OpenAIErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong: in words, by kind, in which field, and as a word for programs."""

    message: str
    type: ErrorKind
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct, frozen=True):
    """A failure. In a stream it is the event before the last one."""

    error: OpenAIErrorDetail
