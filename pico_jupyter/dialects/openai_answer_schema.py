"""Declares the answers of v1/*, in the form that the OpenAI SDKs expect. UNSET fields are omitted; None is null."""

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
    """A candidate token. `bytes` are its exact bytes; `token` may be an incomplete character."""

    token: str
    logprob: float
    bytes: list[int]


class OpenAILogprob(msgspec.Struct, frozen=True):
    """A token of the answer, and the likeliest candidates for its position."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[OpenAITopLogprob]


class OpenAIChoiceLogprobs(msgspec.Struct, frozen=True):
    """The log-probabilities of the tokens of an answer. `content` has those of the message's content."""

    content: list[OpenAILogprob]
    refusal: None = None
    reasoning_content: Annotated[
        list[OpenAILogprob] | UnsetType, Meta(description="Those of the reasoning and its tags, if they are separate.")
    ] = UNSET


class OpenAIFunction(msgspec.Struct, frozen=True):
    """A called function. `arguments` are JSON text as the model wrote it."""

    name: str
    arguments: str


class OpenAIToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call."""

    id: str
    type: Literal["function"] = "function"
    function: OpenAIFunction


class OpenAIFunctionPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a called function. `arguments` continues the JSON text."""

    name: str | UnsetType = UNSET
    arguments: str


class OpenAIToolCallChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call in a stream, or a piece of one. Only the first piece has `id`, `type` and the function's name."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: OpenAIFunctionPiece


class OpenAIAnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. Empty parts are omitted; `content` is null if there are only tool calls."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: Annotated[str | UnsetType, Meta(description="The answer's reasoning.")] = UNSET
    reasoning: Annotated[str | UnsetType, Meta(description="The same. Some clients read this field.")] = UNSET
    tool_calls: list[OpenAIToolCall] | UnsetType = UNSET


class OpenAIChoice(msgspec.Struct, frozen=True):
    """One of the `n` answers."""

    index: int
    message: OpenAIAnswerMessage
    logprobs: OpenAIChoiceLogprobs | None
    finish_reason: FinishReason


class OpenAIDelta(msgspec.Struct, frozen=True):
    """The next piece of an answer, with one kind of content."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: Annotated[str | UnsetType, Meta(description="The answer's reasoning.")] = UNSET
    reasoning: Annotated[str | UnsetType, Meta(description="The same. Some clients read this field.")] = UNSET
    tool_calls: list[OpenAIToolCallChunk] | UnsetType = UNSET


class OpenAIChunkChoice(msgspec.Struct, frozen=True):
    """The next piece of one of the `n` answers."""

    index: int
    delta: OpenAIDelta
    logprobs: OpenAIChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Details of prompt_tokens: how many were in the prefix cache."""

    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Details of completion_tokens: how many belong to the reasoning."""

    reasoning_tokens: int


class OpenAIUsage(msgspec.Struct, frozen=True):
    """Token counts. prompt_tokens include cached tokens, completion_tokens include reasoning."""

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
    model: Annotated[str, Meta(description="The name in the request.")]
    system_fingerprint: str = FINGERPRINT
    choices: list[OpenAIChoice]
    usage: OpenAIUsage


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed answer. The stream ends with the event [DONE]."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: Annotated[int, Meta(description="Seconds since the epoch.")]
    model: Annotated[str, Meta(description="The name in the request.")]
    system_fingerprint: str = FINGERPRINT
    choices: list[OpenAIChunkChoice]
    usage: Annotated[
        OpenAIUsage | UnsetType | None, Meta(description="In the last chunk, if the request asks for it.")
    ] = UNSET


class OpenAIModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this machine. `max_model_len` is the size of its context in tokens.

    source: part of this package, in a folder of the settings, or downloaded from the hub. Only the last can be deleted.
    """

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Meta(description="When the model's files were last changed, in seconds since the epoch.")]
    owned_by: str = "pico_jupyter"
    max_model_len: int
    source: Literal["builtin", "folder", "hub"]


class OpenAIModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models on this machine."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


class ModelUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The answered requests of a model and their tokens. `prompt_tokens` includes `cached_tokens`."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of the user who asks. `since`: start of the server, in seconds since the epoch."""

    object: Literal["list"] = "list"
    since: int
    data: list[ModelUsage]


class OpenAIErrorDetail(msgspec.Struct, frozen=True):
    """An error: its message, its type, the invalid field, and a code for programs."""

    message: str
    type: ErrorKind
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct, frozen=True):
    """An error. In a stream it is the event before [DONE]."""

    error: OpenAIErrorDetail
