"""What api/* answers, field by field, as Ollama's clients read it. UNSET is left out."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

Nanoseconds: TypeAlias = Annotated[int, Meta(description="In nanoseconds. In the last object.")] | UnsetType
Count: TypeAlias = Annotated[int, Meta(description="In the last object.")] | UnsetType
Time: TypeAlias = Annotated[str, Meta(description="RFC 3339, in UTC.", extra_json_schema={"format": "date-time"})]
DoneReason: TypeAlias = Literal["stop", "length", "load", "unload"]


class OllamaTopLogprob(msgspec.Struct, frozen=True):
    """A token that could have stood in a place. `bytes` are its true bytes; `token` may be half a character."""

    token: str
    logprob: float
    bytes: list[int]


class OllamaLogprob(msgspec.Struct, frozen=True):
    """The token that stands in a place; the most likely ones, where the request asks for them."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[OllamaTopLogprob] | UnsetType = UNSET


class OllamaFunction(msgspec.Struct, frozen=True):
    """`arguments` is an object, not a string with one."""

    index: int
    name: str
    arguments: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class OllamaToolCall(msgspec.Struct, frozen=True):
    """A tool that the model calls."""

    id: str
    function: OllamaFunction


class OllamaAnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, or what it grows by. What is empty has no field, `content` excepted."""

    role: Literal["assistant"] = "assistant"
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaToolCall] | UnsetType = UNSET


class OllamaChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer of api/chat, or a line of a streamed one."""

    model: Annotated[str, Meta(description="The name as the request wrote it.")]
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
    """A whole answer of api/generate, or a line of a streamed one."""

    model: Annotated[str, Meta(description="The name as the request wrote it.")]
    created_at: Time
    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaToolCall] | UnsetType = UNSET
    logprobs: list[OllamaLogprob] | UnsetType = UNSET
    done: bool = False
    done_reason: DoneReason | UnsetType = UNSET
    context: Annotated[
        tuple[int, ...] | UnsetType, Meta(description="Token ids of prompt and answer. In the last object.")
    ] = UNSET
    total_duration: Nanoseconds = UNSET
    load_duration: Nanoseconds = UNSET
    prompt_eval_count: Count = UNSET
    prompt_eval_duration: Nanoseconds = UNSET
    eval_count: Count = UNSET
    eval_duration: Nanoseconds = UNSET


class OllamaModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of model it is."""

    parent_model: str = ""
    format: Literal["mlx"] = "mlx"
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaTag(msgspec.Struct, frozen=True):
    """One line of api/tags. `name` and `model` are equal: clients compare with either."""

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
    """`model_info` and `capabilities` are always there: clients crash without them."""

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
    """`version` is the Ollama version that clients check for features, `pico_jupyter` our own."""

    version: str
    pico_jupyter: str


class OllamaPullStatus(msgspec.Struct, frozen=True):
    """How a pull stands."""

    status: str


class OllamaError(msgspec.Struct, frozen=True):
    """A failure. In a stream it is the last line."""

    error: str
