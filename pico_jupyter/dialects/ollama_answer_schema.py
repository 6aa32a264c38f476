"""Declares the answers of api/*, in the form that Ollama's clients expect. UNSET fields are omitted."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

Nanoseconds: TypeAlias = Annotated[int, Meta(description="In nanoseconds. Only in the last object.")] | UnsetType
Count: TypeAlias = Annotated[int, Meta(description="Only in the last object.")] | UnsetType
Time: TypeAlias = Annotated[str, Meta(description="RFC 3339, in UTC.", extra_json_schema={"format": "date-time"})]
DoneReason: TypeAlias = Literal["stop", "length", "load", "unload"]


class OllamaTopLogprob(msgspec.Struct, frozen=True):
    """A candidate token. `bytes` are its exact bytes; `token` may be an incomplete character."""

    token: str
    logprob: float
    bytes: list[int]


class OllamaLogprob(msgspec.Struct, frozen=True):
    """A token of the answer, and the likeliest candidates for its position if the request asks for them."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[OllamaTopLogprob] | UnsetType = UNSET


class OllamaFunction(msgspec.Struct, frozen=True):
    """A called function. `arguments` is an object, not JSON text."""

    index: int
    name: str
    arguments: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class OllamaToolCall(msgspec.Struct, frozen=True):
    """A tool call."""

    id: str
    function: OllamaFunction


class OllamaAnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, or its next piece. Empty fields are omitted, except `content`."""

    role: Literal["assistant"] = "assistant"
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaToolCall] | UnsetType = UNSET


class OllamaChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of api/chat, or one line of a stream."""

    model: Annotated[str, Meta(description="The name in the request.")]
    created_at: Time
    message: OllamaAnswerMessage
    logprobs: list[OllamaLogprob] | UnsetType = UNSET
    done: bool = False
    done_reason: DoneReason | UnsetType = UNSET
    total_duration: Nanoseconds = UNSET
    load_duration: Nanoseconds = UNSET
    prompt_eval_count: Count = UNSET
    prompt_eval_duration: Nanoseconds = UNSET
    eval_count: Count = UNSET
    eval_duration: Nanoseconds = UNSET


class OllamaGenerateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of api/generate, or one line of a stream."""

    model: Annotated[str, Meta(description="The name in the request.")]
    created_at: Time
    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaToolCall] | UnsetType = UNSET
    logprobs: list[OllamaLogprob] | UnsetType = UNSET
    done: bool = False
    done_reason: DoneReason | UnsetType = UNSET
    context: Annotated[
        tuple[int, ...] | UnsetType, Meta(description="Token ids of prompt and answer. Only in the last object.")
    ] = UNSET
    total_duration: Nanoseconds = UNSET
    load_duration: Nanoseconds = UNSET
    prompt_eval_count: Count = UNSET
    prompt_eval_duration: Nanoseconds = UNSET
    eval_count: Count = UNSET
    eval_duration: Nanoseconds = UNSET


class OllamaModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The format, family, size and quantisation of a model."""

    parent_model: str = ""
    format: Literal["mlx"] = "mlx"
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaTag(msgspec.Struct, frozen=True):
    """A model in api/tags. `name` and `model` are equal: some clients read only `name`, others only `model`."""

    name: str
    model: str
    modified_at: Time
    size: Annotated[int, Meta(description="Bytes on disk.")]
    digest: str
    details: OllamaModelDetails
    capabilities: list[str]


class OllamaTagList(msgspec.Struct, frozen=True):
    """The models on this machine."""

    models: list[OllamaTag]


class OllamaProcess(msgspec.Struct, frozen=True):
    """A model in memory."""

    name: str
    model: str
    size: Annotated[int, Meta(description="Bytes in memory.")]
    digest: str
    details: OllamaModelDetails
    expires_at: Time
    size_vram: int
    context_length: int


class OllamaProcessList(msgspec.Struct, frozen=True):
    """The models in memory."""

    models: list[OllamaProcess]


class OllamaShowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A description of a model. `model_info` and `capabilities` are always present: clients crash without them."""

    license: str
    modelfile: str
    parameters: str
    template: str
    system: str = ""
    details: OllamaModelDetails
    model_info: dict[str, str | int]
    capabilities: list[str]
    modified_at: Time


class OllamaVersion(msgspec.Struct, frozen=True):
    """`version` is an Ollama version, from which clients derive features. `pico_jupyter` is this package's version."""

    version: str
    pico_jupyter: str


class OllamaPullStatus(msgspec.Struct, frozen=True):
    """The progress of a pull. The last line of a stream has the status `success`."""

    status: str
    digest: Annotated[str | UnsetType, Meta(description="The same in all lines with bytes.")] = UNSET
    total: Annotated[int | UnsetType, Meta(description="Bytes of all files.")] = UNSET
    completed: Annotated[int | UnsetType, Meta(description="Bytes on this machine.")] = UNSET


class OllamaError(msgspec.Struct, frozen=True):
    """An error. In a stream it is the last line."""

    error: str
