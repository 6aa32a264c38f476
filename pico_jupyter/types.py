"""The values that cross floors: requests, deltas, model facts. Knows no dialect, no engine and no transport."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]
Fit: TypeAlias = Literal["loaded", "fits", "later", "never"]
Capability: TypeAlias = Literal["completion", "thinking", "tools", "vision", "video"]


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """A stretch of text inside a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """A picture inside a message: the bytes of its file, or the URL (http:, https:, jupyter:) to fetch them from.

    `param` names the field that it stands in. An engine takes `data` only.
    """

    param: str
    data: bytes = b""
    url: str = ""


class VideoPart(msgspec.Struct, frozen=True, tag="video"):
    """A clip inside a message: the bytes of its file, or the URL (http:, https:, jupyter:) to fetch them from.

    `param` names the field that it stands in. An engine takes `data` only.
    """

    param: str
    data: bytes = b""
    url: str = ""


Part: TypeAlias = TextPart | ImagePart | VideoPart


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool by the model. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Role
    content: tuple[Part, ...] = ()
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """Messages for the model's chat template.

    `tools` and `template_kwargs` are JSON texts (an array, an object) that go to the template as they are.
    `context` are token ids put in front of the rendered prompt. With `continue_final_message` the last message is
    left open and the model goes on writing it. With `truncate` the oldest non-system messages that do not fit are
    dropped instead of refusing the request.
    """

    messages: tuple[Message, ...]
    tools: str = "[]"
    template_kwargs: str = "{}"
    context: tuple[int, ...] = ()
    continue_final_message: bool = False
    truncate: bool = False


class RawPrompt(msgspec.Struct, frozen=True, tag="raw"):
    """Text that goes to the model verbatim: no template, no BOS token."""

    text: str


Prompt: TypeAlias = ChatPrompt | RawPrompt


class SamplingParams(msgspec.Struct, frozen=True):
    """How to draw tokens. None means: not given, so the model's generation_config.json and then the dialect decide.

    Ranges are checked by the dialects. `top_k` 0 is off; the context sizes are counts of the latest tokens that a
    penalty looks at; `logit_bias` maps token ids to -100..100.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    repetition_context_size: int | None = None
    presence_penalty: float | None = None
    presence_context_size: int | None = None
    frequency_penalty: float | None = None
    frequency_context_size: int | None = None
    logit_bias: dict[int, float] | None = None


class GenerationRequest(msgspec.Struct, frozen=True):
    """One request to generate, in no dialect.

    `model` is the name as the caller wrote it. `reasoning` None leaves the model's own default; with
    `reasoning_required` a model that cannot reason refuses. `reasoning_effort` is the literal level for templates that
    take one. `max_tokens` counts visible and reasoning tokens (None: as many as the context holds; 0 is legal).
    `max_context` caps prompt plus completion tokens. `top_logprobs` None: no log-probabilities; 0: of the chosen tokens
    only. `n` completions are drawn, the i-th with seed + i. `keep_alive` is in seconds (inf: forever; None: the
    server's default). With `return_context`, Finished carries the token ids of prompt and completion. `draft_model`
    names a smaller model with the same tokens that proposes `draft_tokens` tokens a step (None: as the server is
    configured).
    """

    id: str
    model: str
    prompt: Prompt
    sampling: SamplingParams = SamplingParams()
    fallback_sampling: SamplingParams = SamplingParams()
    reasoning: bool | None = None
    reasoning_required: bool = False
    reasoning_effort: str | None = None
    max_tokens: int | None = None
    max_context: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    top_logprobs: int | None = None
    keep_alive: float | None = None
    return_context: bool = False
    draft_model: str | None = None
    draft_tokens: int | None = None


class TopLogprob(msgspec.Struct, frozen=True):
    """A candidate token at one position; `token_bytes` are its true bytes, `token` may hold U+FFFD."""

    token: str
    logprob: float
    token_bytes: bytes


class TokenLogprob(msgspec.Struct, frozen=True):
    """The chosen token at one position and the most likely ones, in falling order."""

    token: str
    logprob: float
    token_bytes: bytes
    top: tuple[TopLogprob, ...] = ()


class TokenUsage(msgspec.Struct, frozen=True):
    """Token counts. prompt_tokens includes cached_tokens; completion_tokens includes reasoning_tokens."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Timings(msgspec.Struct, frozen=True):
    """Where the time went, in nanoseconds; total_ns >= load_ns + prefill_ns + decode_ns."""

    total_ns: int
    load_ns: int
    prefill_ns: int
    decode_ns: int


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """First of every stream: the model is resolved, the prompt rendered and fitting, the request queued.

    `reasoning` tells whether the model may reason in this answer.
    """

    model: str
    prompt_tokens: int
    reasoning: bool


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """A sign of life before the first token, about once a second: bytes loaded, or prompt tokens prefilled."""

    phase: Literal["load", "queue", "prefill"]
    done: int
    total: int


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """Visible text of choice `index`; whole characters only, never a part of a stop string or of a tag."""

    text: str
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning"):
    """Reasoning text of choice `index`, without its tags."""

    text: str
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call"):
    """A whole tool call of choice `index`."""

    call: ToolCall
    index: int = 0


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Last of every successful stream. `finish_reasons` has one entry for each of the n choices."""

    finish_reasons: tuple[FinishReason, ...]
    usage: TokenUsage
    timings: Timings
    context: tuple[int, ...] = ()


Delta: TypeAlias = Accepted | Progress | TextDelta | ReasoningDelta | ToolCallDelta | Finished


class ModelInfo(msgspec.Struct, frozen=True):
    """What a model's files say about it. Decided once, by the catalog.

    `name` is canonical; `repo` is "org/name" or ""; sizes are bytes: of all files, of the weights as they are stored,
    and as float32 (0 where they are not 16-bit floats). `modified` is seconds since the epoch; `digest` is 64 hex
    digits; `quantization` is like "4bit" or "bf16". `reasoning_switch` tells whether the template has a
    reasoning switch and `reasoning_default` what it does when none is given. `parameters` are the model's own sampling
    defaults (generation_config.json).
    """

    name: str
    path: str
    repo: str
    source: Literal["builtin", "folder", "hub"]
    size: int
    weights_size: int
    float32_size: int
    modified: float
    digest: str
    family: str
    parameter_count: int
    quantization: str
    context_length: int
    embedding_length: int
    block_count: int
    capabilities: tuple[Capability, ...]
    reasoning_switch: bool
    reasoning_default: bool
    parameters: SamplingParams = SamplingParams()
    stop: tuple[str, ...] = ()
    template: str = ""
    license: str = ""


class ResidentModel(msgspec.Struct, frozen=True):
    """A loaded model. `size` are its resident bytes; `expires_at` is seconds since the epoch, None for never."""

    info: ModelInfo
    size: int
    expires_at: float | None
    active: int


class ModelNeed(msgspec.Struct, frozen=True):
    """What a model takes: `size` bytes of weights, once they are loaded. Its conversations' caches come on top.

    `fit`: it is "loaded"; it "fits", where idle models and kept prefixes leave for it; it fits "later", when running
    requests are done; it fits "never".
    """

    model: str
    size: int
    fit: Fit


class ModelLoading(msgspec.Struct, frozen=True):
    """A model on its way into memory: `done` of the `total` bytes of its weights are there."""

    model: str
    done: int
    total: int


class MemoryReport(msgspec.Struct, frozen=True):
    """How the memory for models stands, in bytes.

    `budget` is for all weights and caches, `used` of it are taken, and a model that is loaded now may have `available`:
    idle models and kept prefixes leave for it. `is_starting`: the engine is, and will load what was asked for. `needs`
    has every model of the catalog.
    """

    budget: int
    used: int
    available: int
    is_starting: bool
    loading: ModelLoading | None
    needs: tuple[ModelNeed, ...]


class ModelLoaded(msgspec.Struct, frozen=True, tag="model_loaded"):
    """A model came into memory in `seconds`. `model` is its name in the catalog, `size` its resident bytes."""

    model: str
    size: int
    seconds: float


class ModelUnloaded(msgspec.Struct, frozen=True, tag="model_unloaded"):
    """A model left memory. `model` is its name in the catalog, `reason` a word or two, as in the log."""

    model: str
    reason: str


ModelEvent: TypeAlias = ModelLoaded | ModelUnloaded


class EngineStatistics(msgspec.Struct, frozen=True, tag="statistics"):
    """How the engine stands: sequences that run, requests that wait for their turn, bytes of weights and caches,
    the bytes of them that are kept prefixes only, how often a sequence was preempted since the engine started, how many
    tokens it has decoded, those of aborted answers too, and when the latest (seconds since the epoch; 0: none yet).
    """

    running: int = 0
    waiting: int = 0
    resident_bytes: int = 0
    prefix_cache_bytes: int = 0
    preemptions: int = 0
    decoded_tokens: int = 0
    decoded_at: float = 0.0


EngineEvent: TypeAlias = ModelLoaded | ModelUnloaded | EngineStatistics


class EngineOptions(msgspec.Struct, frozen=True):
    """What the server's configuration says to the engine.

    `model_dirs` are folders with models below; `preferred_org` wins when two organisations use one model name.
    `keep_alive` is in seconds (inf: for ever). `max_batch_size` sequences run at once, `max_queue` requests wait.
    `memory_budget` is in bytes for all resident models and their caches (0: a share of the device's memory).
    `prefill_step_size` is in tokens, at most. A request that waits for its turn longer than `queue_timeout` seconds is
    refused. `kv_bits` quantises KV caches (0: not). `float32_on_cpu` computes 16-bit models in float32 where there is
    no GPU and the memory suffices. `draft_models` maps a model's name to that of the model that drafts for it.
    A picture, or a frame of a clip, may have `max_image_pixels` pixels; of a clip `video_fps` frames a second are
    looked at, `max_video_frames` at most. All media of one prompt may take `max_media_tokens` tokens.
    """

    model_dirs: tuple[str, ...] = ()
    preferred_org: str = "mlx-community"
    keep_alive: float = 300.0
    max_batch_size: int = 32
    max_queue: int = 128
    memory_budget: int = 0
    prefill_step_size: int = 2048
    queue_timeout: float = 600.0
    kv_bits: int = 0
    float32_on_cpu: bool = True
    draft_models: dict[str, str] = {}
    max_image_pixels: int = 64 << 20
    max_video_frames: int = 64
    video_fps: float = 2.0
    max_media_tokens: int = 16384
