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


class TopLogprobObject(msgspec.Struct, frozen=True):
    """A token that could have stood in a place. `bytes` are its true bytes; `token` may be half a character."""

    token: str
    logprob: float
    bytes: list[int]


class LogprobObject(msgspec.Struct, frozen=True):
    """The token that stands in a place, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprobObject]


class ChoiceLogprobs(msgspec.Struct, frozen=True):
    """How likely the tokens of a text were."""

    content: list[LogprobObject]
    refusal: None = None


class FunctionObject(msgspec.Struct, frozen=True):
    """A call: the function, and its arguments as JSON text, as the model wrote it."""

    name: str
    arguments: str


class ToolCallObject(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model calls."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionObject


class ToolCallChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the model calls, whole."""

    index: int
    id: str
    type: Literal["function"] = "function"
    function: FunctionObject


class MessageObject(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. What it has none of has no field; `content` is null where there are calls alone."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: Annotated[str | UnsetType, Meta(description="Its thinking.")] = UNSET
    reasoning: Annotated[str | UnsetType, Meta(description="The same: clients read either.")] = UNSET
    tool_calls: list[ToolCallObject] | UnsetType = UNSET


class ChoiceObject(msgspec.Struct, frozen=True):
    """One of the answers."""

    index: int
    message: MessageObject
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class DeltaObject(msgspec.Struct, frozen=True):
    """What an answer grows by: one kind of content at a time."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: Annotated[str | UnsetType, Meta(description="Its thinking.")] = UNSET
    reasoning: Annotated[str | UnsetType, Meta(description="The same: clients read either.")] = UNSET
    tool_calls: list[ToolCallChunk] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    """One of the answers, and what it grows by."""

    index: int
    delta: DeltaObject
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Of the prompt's tokens, those that were found computed."""

    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """Of the answer's tokens, those of its thinking."""

    reasoning_tokens: int


class UsageObject(msgspec.Struct, frozen=True):
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
    choices: list[ChoiceObject]
    usage: UsageObject


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed answer. The stream ends with the event [DONE]."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: Annotated[int, Meta(description="Seconds since the epoch.")]
    model: Annotated[str, Meta(description="The name as the request wrote it.")]
    system_fingerprint: str = FINGERPRINT
    choices: list[ChunkChoice]
    usage: Annotated[
        UsageObject | UnsetType | None, Meta(description="In the last chunk, where the request asks for it.")
    ] = UNSET


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model on this machine. `max_model_len` are the tokens of its context."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Meta(description="When its files changed: seconds since the epoch.")]
    owned_by: str = "pico_jupyter"
    max_model_len: int


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models on this machine."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ErrorObject(msgspec.Struct, frozen=True):
    """What went wrong: in words, by kind, in which field, and as a word for programs."""

    message: str
    type: ErrorKind
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """A failure. In a stream it is the event before the last one."""

    error: ErrorObject
