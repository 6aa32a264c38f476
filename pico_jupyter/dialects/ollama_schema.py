"""What api/* answers, field by field, as Ollama's clients read it. UNSET is left out."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType


class TopLogprobObject(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]


class LogprobObject(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprobObject] | UnsetType = UNSET


class FunctionObject(msgspec.Struct, frozen=True):
    """`arguments` is an object, not a string with one."""

    index: int
    name: str
    arguments: Raw


class ToolCallObject(msgspec.Struct, frozen=True):
    id: str
    function: FunctionObject


class MessageObject(msgspec.Struct, frozen=True, kw_only=True):
    role: str = "assistant"
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[ToolCallObject] | UnsetType = UNSET


class ChatObject(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    created_at: str
    message: MessageObject
    logprobs: list[LogprobObject] | UnsetType = UNSET
    done: bool = False
    done_reason: str | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class GenerateObject(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[ToolCallObject] | UnsetType = UNSET
    logprobs: list[LogprobObject] | UnsetType = UNSET
    done: bool = False
    done_reason: str | UnsetType = UNSET
    context: tuple[int, ...] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class Details(msgspec.Struct, frozen=True, kw_only=True):
    parent_model: str = ""
    format: str = "mlx"
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class TagObject(msgspec.Struct, frozen=True):
    """One line of api/tags. `name` and `model` are equal: clients compare with either."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details
    capabilities: list[str]


class TagList(msgspec.Struct, frozen=True):
    models: list[TagObject]


class ProcessObject(msgspec.Struct, frozen=True):
    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int


class ProcessList(msgspec.Struct, frozen=True):
    models: list[ProcessObject]


class ShowObject(msgspec.Struct, frozen=True, kw_only=True):
    """`model_info` and `capabilities` are always there: clients crash without them."""

    license: str
    modelfile: str
    parameters: str
    template: str
    system: str = ""
    details: Details
    model_info: dict[str, str | int]
    capabilities: list[str]
    modified_at: str


class VersionObject(msgspec.Struct, frozen=True):
    """`version` is the Ollama version that clients check for features, `pico_jupyter` our own."""

    version: str
    pico_jupyter: str


class StatusObject(msgspec.Struct, frozen=True):
    status: str


class ErrorBody(msgspec.Struct, frozen=True):
    error: str
