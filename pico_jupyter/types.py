"""Defines the immutable values that packages exchange: requests, deltas, facts about models, and options."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pico_jupyter.template_switch import TemplateSwitch

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
# stop: end-of-sequence token or stop string. length: max_tokens or the context is used up.
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]
Capability: TypeAlias = Literal["completion", "thinking", "tools", "vision", "video", "insert", "embedding"]


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """Text inside a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image"):
    """An image inside a message, given by its bytes or by a URL.

    data: the file's bytes. Empty while only the URL is known; an engine requires them.
    url: http:, https: or jupyter:PATH (a file of the Jupyter server). Empty once `data` is set.
    param: the request field that holds the part, such as "messages[0].content[1]". Error messages name it.
    """

    param: str
    data: bytes = b""
    url: str = ""


class VideoPart(msgspec.Struct, frozen=True, tag="video"):
    """A video inside a message. The fields are those of ImagePart."""

    param: str
    data: bytes = b""
    url: str = ""


Part: TypeAlias = TextPart | ImagePart | VideoPart


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call of the model. `id` is unique in the conversation; `arguments` is JSON text, exactly as generated."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation.

    reasoning: reasoning text of an earlier assistant message. tool_calls: the calls of an assistant message.
    tool_call_id, name: for role "tool", the call that the message answers and the name of its tool.
    """

    role: Role
    content: tuple[Part, ...] = ()
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat"):
    """Messages for the model's chat template.

    tools: JSON array of tool definitions, passed to the template unchanged.
    template_kwargs: JSON object of further template variables, passed unchanged.
    context: token ids that precede the rendered prompt (Ollama's `context`).
    continue_final_message: do not close the last message, so that the model continues it.
    truncate: drop the oldest non-system messages when the prompt exceeds the context, instead of refusing the request.
    """

    messages: tuple[Message, ...]
    tools: str = "[]"
    template_kwargs: str = "{}"
    context: tuple[int, ...] = ()
    continue_final_message: bool = False
    truncate: bool = False


class RawPrompt(msgspec.Struct, frozen=True, tag="raw"):
    """Text that the model receives verbatim: no chat template, no BOS token."""

    text: str


class CompletionPrompt(msgspec.Struct, frozen=True, tag="completion"):
    """Text or tokens that the model continues, without a chat template. Tags in the answer are plain text.

    tokens: used instead of `text`. suffix: the text after the answer, for models with the capability "insert".
    special_tokens: the tokenizer adds its BOS token to the text.
    logprobs: the log-probabilities that `top_logprobs` requests include those of the prompt's tokens, which are then
    computed without the prefix cache. They are in the first TextDelta of each choice, which has no text.
    """

    text: str = ""
    tokens: tuple[int, ...] = ()
    suffix: str = ""
    special_tokens: bool = True
    logprobs: bool = False


Prompt: TypeAlias = ChatPrompt | RawPrompt | CompletionPrompt


class SamplingParams(msgspec.Struct, frozen=True):
    """Sampling parameters. For None, the value is from generation_config.json, or else the dialect's default.

    temperature: 0 or more; 0 always selects the most likely token. top_p, min_p: 0 to 1.
    top_k: 0 turns it off. seed: any 64-bit integer; None: a random seed.
    repetition_penalty: above 0; 1 turns it off. presence_penalty, frequency_penalty: -2 to 2; 0 turns them off.
    *_context_size: the number of latest tokens that the penalty considers.
    logit_bias: token id to a value from -100 to 100, added to the token's logit.
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


class Structure(msgspec.Struct, frozen=True):
    """What the text of an answer must be. A grammar enforces it.

    value: a JSON schema, a regular expression, a JSON array of texts, or a grammar in llguidance's Lark syntax; "" for
    any JSON object. param: the request field that holds it, for errors.
    """

    kind: Literal["json_object", "json_schema", "regex", "choice", "grammar"]
    value: str = ""
    param: str = "response_format"


class ToolChoice(msgspec.Struct, frozen=True):
    """Which tools of a request the model may or must call.

    required: at least one call. names: the tools that may be called; () for all. parallel: several calls are allowed.
    strict: the names of tools whose arguments must match their JSON schema; a required call always must.
    """

    required: bool = False
    names: tuple[str, ...] = ()
    parallel: bool = True
    strict: tuple[str, ...] = ()


class GenerationRequest(msgspec.Struct, frozen=True):
    """One request to generate, independent of the dialects.

    id: unique among running requests. model: the name as the client wrote it.
    fallback_sampling: the dialect's defaults, for parameters that neither `sampling` nor the model sets.
    reasoning: on or off; None: the model's default. reasoning_required: refuse a model that cannot reason.
    reasoning_effort: a level such as "low", for chat templates that have levels.
    max_tokens: limit on completion tokens, reasoning included; None: up to the end of the context; 0 is valid.
    max_context: limit on prompt plus completion tokens; None: the model's context length.
    stop: strings that end the answer and are not part of it. n: number of choices, 1 or more; choice i uses seed + i.
    top_logprobs: None: no log-probabilities; 0: those of sampled tokens; k: also the k most likely tokens.
    keep_alive: seconds that the model stays loaded afterwards (inf: forever); None: EngineOptions.keep_alive.
    return_context: return all token ids of prompt and completion in Finished.context.
    draft_model: a smaller model with the same vocabulary that proposes draft tokens; None: EngineOptions.draft_models.
    draft_tokens: draft tokens per step, used if n is 1; 0 turns drafting off; None: the engine's default.
    structure: what the text of the answer must be; None: any text. tool_choice: which tools may or must be called.
    max_reasoning_tokens: the reasoning is closed after this many tokens; None: no limit.
    sampled: for each choice, the tokens that an engine sampled before it ended. The answer continues after them, and
    their deltas are not sent again.
    low_priority: the request starts after all waiting requests without it.
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
    structure: Structure | None = None
    tool_choice: ToolChoice = ToolChoice()
    max_reasoning_tokens: int | None = None
    sampled: tuple[tuple[int, ...], ...] = ()
    low_priority: bool = False


class TopLogprob(msgspec.Struct, frozen=True):
    """A candidate token with its natural log-probability. U+FFFD in `token` replaces bytes of incomplete characters."""

    token: str
    logprob: float
    token_bytes: bytes


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token of an answer or a prompt. Fields as in TopLogprob. `top`: the most likely tokens, in descending order.

    The first token of a prompt follows nothing: its log-probability is 0 and `top` is empty.
    """

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
    """Durations in nanoseconds. total_ns is at least load_ns + prefill_ns + decode_ns: it includes waiting."""

    total_ns: int
    load_ns: int
    prefill_ns: int
    decode_ns: int


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """First delta of every stream: the request is queued. `reasoning`: whether the answer may contain reasoning."""

    model: str
    prompt_tokens: int
    reasoning: bool


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Sent about once a second before the first token. The unit is bytes in phase "load", else prompt tokens."""

    phase: Literal["load", "queue", "prefill"]
    done: int
    total: int


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """Visible text of choice `index`: whole characters, and never part of a stop string or of a tag."""

    text: str
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning"):
    """Reasoning text of choice `index`, without its tags. Its log-probabilities include those of the tags."""

    text: str
    index: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call"):
    """A complete tool call of choice `index`."""

    call: ToolCall
    index: int = 0


class ToolCallPart(msgspec.Struct, frozen=True, tag="tool_call_part"):
    """The next part of a tool call of choice `index`. `arguments` continues the call's JSON text.

    Only the first part of a call has `id` and `name`. The call is complete at the next delta of its choice that is not
    a later part of it.
    """

    arguments: str
    index: int = 0
    id: str = ""
    name: str = ""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Last delta of every successful stream. `context`: all token ids, if the request has `return_context`.
    `stop_strings`: for each choice, the stop string that ended it, or "".
    """

    finish_reasons: tuple[FinishReason, ...]
    usage: TokenUsage
    timings: Timings
    context: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()


Delta: TypeAlias = Accepted | Progress | TextDelta | ReasoningDelta | ToolCallDelta | ToolCallPart | Finished


class ModelInfo(msgspec.Struct, frozen=True):
    """Facts about a model, read from its files by the catalog.

    name: canonical name. path: its folder. repo: "org/name", or "" if unknown. source: where the catalog found it.
    size: bytes of all files. weights_size: bytes of the weights as stored.
    float32_size: bytes of the weights as float32; 0 unless they are 16-bit floats.
    modified: seconds since the epoch. digest: 64 hexadecimal digits that change with the model's files.
    family: the architecture, such as "qwen3". quantization: such as "4bit" or "bf16".
    context_length: tokens. embedding_length: hidden size; 0: unknown. block_count: layers; 0: unknown.
    reasoning_switch: how a request turns reasoning on and off; None without reasoning.
    reasoning_default: the model reasons if the request sets nothing.
    parameters: sampling defaults from generation_config.json. stop: the model's own stop strings.
    ignored: why values in the model's files are ignored, for `jupyter pico doctor`.
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
    reasoning_switch: TemplateSwitch | None
    reasoning_default: bool
    parameters: SamplingParams = SamplingParams()
    stop: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    template: str = ""
    license: str = ""


class EngineOptions(msgspec.Struct, frozen=True):
    """Configuration of the engine.

    model_dirs: folders that contain models. preferred_org: chosen if a model name exists in several organisations.
    keep_alive: seconds that an idle model stays loaded (inf: forever).
    max_batch_size: sequences that run at once. max_queue: requests that may wait; further ones raise QueueFull.
    queue_timeout: seconds that a request may wait; then it raises QueueFull.
    memory_budget: bytes for weights and caches of all models; 0: a share of the device's memory.
    prefill_step_size: prompt tokens that one prefill step processes at most.
    kv_bits: 4 or 8 quantizes KV caches; 0 does not. draft_models: a model's name to the name of its draft model.
    float32_on_cpu: without a GPU, compute 16-bit models in float32 if memory allows.
    max_image_pixels: limit for an image or a video frame. video_fps: frames sampled per second of video.
    max_video_frames: limit for one video. max_media_tokens: limit for all images and videos of a prompt together.
    generic_tools: describe tools in the system message of models whose chat template has no place for them.
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
    generic_tools: bool = True
