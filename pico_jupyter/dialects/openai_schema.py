"""What v1/* answers, field by field, as the OpenAI SDKs read it. UNSET is left out; None is written as null."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

FINGERPRINT = "fp_pico_jupyter"


class TopLogprobObject(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]


class LogprobObject(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprobObject]


class ChoiceLogprobs(msgspec.Struct, frozen=True):
    content: list[LogprobObject]
    refusal: None = None


class FunctionObject(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class ToolCallObject(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str = "function"
    function: FunctionObject


class ToolCallChunk(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    id: str
    type: str = "function"
    function: FunctionObject


class MessageObject(msgspec.Struct, frozen=True, kw_only=True):
    role: str = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallObject] | UnsetType = UNSET


class ChoiceObject(msgspec.Struct, frozen=True):
    index: int
    message: MessageObject
    logprobs: ChoiceLogprobs | None
    finish_reason: str


class DeltaObject(msgspec.Struct, frozen=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallChunk] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int
    delta: DeltaObject
    logprobs: ChoiceLogprobs | None = None
    finish_reason: str | None = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int


class UsageObject(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: str = "chat.completion"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[ChoiceObject]
    usage: UsageObject


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str = FINGERPRINT
    choices: list[ChunkChoice]
    usage: UsageObject | UnsetType | None = UNSET


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str = "pico_jupyter"
    max_model_len: int


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[ModelObject]


class ErrorObject(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    error: ErrorObject
