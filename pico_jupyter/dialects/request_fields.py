"""Declares the request fields that several endpoints share. Bodies are decoded into these Structs.

The same Structs make the OpenAPI document, so a field's type, range and description are declared once. Constraints in
`extra_json_schema` are documented here and checked where the value is interpreted.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
FLOAT32_MAX = 3.4028234663852886e38
MAX_STOPS = 64
MAX_TOP_LOGPROBS = 20

EFFORTS_OFF = ("none", "off", "low", "minimal")
EFFORTS_ON = ("medium", "high", "on", "xhigh", "max", "ultra")

# Marks fields that clients send and that have no effect.
IGNORED_KEYWORD = "x-ignored"
_IGNORED: dict[str, Any] = {IGNORED_KEYWORD: True}
Ignored: TypeAlias = Annotated[Any, Meta(description="Accepted and ignored.", extra_json_schema=_IGNORED)]

NotNegative: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Seed: TypeAlias = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)]
TopK: TypeAlias = Annotated[int, Meta(ge=-1)]
MaxTokens: TypeAlias = Annotated[int, Meta(ge=-1, extra_json_schema={"not": {"const": 0}})]
# An integer option of Ollama. Fractions are accepted and truncated.
Whole: TypeAlias = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)] | Annotated[float, Meta(ge=INT64_MIN, lt=2.0**63)]
Float32: TypeAlias = Annotated[float, Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Temperature: TypeAlias = Annotated[float, Meta(ge=0, le=2)]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
RepetitionPenalty: TypeAlias = Annotated[float, Meta(gt=0, le=FLOAT32_MAX)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]
Stops: TypeAlias = Annotated[list[str], Meta(max_length=MAX_STOPS)]
TokenId: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
Bias: TypeAlias = Annotated[float, Meta(ge=-100, le=100)]
TopLogprobs: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]
ThinkLevel: TypeAlias = Literal["high", "medium", "low", "max"]
Effort: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": [*EFFORTS_OFF, *EFFORTS_ON]})]

_NAME_PATTERN = r"((hf|huggingface)\.co/)?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?(:[A-Za-z0-9_.-]*)?"
ModelName: TypeAlias = Annotated[
    str, Meta(min_length=1, extra_json_schema={"pattern": f"^{_NAME_PATTERN}$", "examples": ["pico-tiny"]})
]
ModelNameOrEmpty: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"pattern": f"^({_NAME_PATTERN})?$", "examples": ["pico-tiny"]})
]
Duration: TypeAlias = Annotated[
    str,
    Meta(
        extra_json_schema={
            "pattern": r"^([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)|"
            r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
            "maxLength": 64,
            "examples": ["5m", "1h30m", "-1"],
        }
    ),
]
MediaUrl: TypeAlias = Annotated[
    str,
    Meta(
        description="A data: URL in base64, an http: or https: URL, or jupyter: and the path of a file on the server.",
        extra_json_schema={
            "pattern": "^(?:[dD][aA][tT][aA]:|[hH][tT][tT][pP][sS]?://|[jJ][uU][pP][yY][tT][eE][rR]:)",
            "examples": ["data:image/png;base64,iVBORw0KGgo=", "jupyter:pictures/cat.png"],
        },
    ),
]


class RequestStruct(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all Structs that a request body is decoded into. Unknown fields are ignored."""


class TextPartFields(RequestStruct, frozen=True, tag_field="type", tag="text"):
    """A piece of text."""

    text: str


class InputTextPartFields(TextPartFields, frozen=True, tag="input_text"):
    """The same as `text`."""


class OutputTextPartFields(TextPartFields, frozen=True, tag="output_text"):
    """The same as `text`."""


class RefusalPartFields(RequestStruct, frozen=True, tag_field="type", tag="refusal"):
    """A refusal in an earlier answer, read as text."""

    refusal: str


class MediaSource(RequestStruct, frozen=True):
    """The location of an image or a video."""

    url: MediaUrl
    detail: Ignored = None


class ImagePartFields(RequestStruct, frozen=True, tag_field="type", tag="image_url"):
    """An image, or a video if the data: URL has a video type. For models with the capability vision."""

    image_url: MediaSource | MediaUrl


class InputImagePartFields(ImagePartFields, frozen=True, tag="input_image"):
    """The same as `image_url`."""


class InputVideoPartFields(RequestStruct, frozen=True, tag_field="type", tag="input_video"):
    """A video. The URL is in `video_url` or in `video`. For models with the capability video."""

    video_url: MediaSource | MediaUrl | None = None
    video: MediaSource | MediaUrl | None = None


class VideoPartFields(InputVideoPartFields, frozen=True, tag="video_url"):
    """The same as `input_video`."""


class InputAudioPartFields(RequestStruct, frozen=True, tag_field="type", tag="input_audio"):
    """Refused with status 400: no model accepts audio or files."""


class AudioPartFields(InputAudioPartFields, frozen=True, tag="audio_url"):
    """Refused as `input_audio` is."""


class FilePartFields(InputAudioPartFields, frozen=True, tag="file"):
    """Refused as `input_audio` is."""


class InputFilePartFields(InputAudioPartFields, frozen=True, tag="input_file"):
    """Refused as `input_audio` is."""


TextContent: TypeAlias = list[TextPartFields | InputTextPartFields | OutputTextPartFields | RefusalPartFields]
PartFields: TypeAlias = (
    TextPartFields
    | InputTextPartFields
    | OutputTextPartFields
    | RefusalPartFields
    | ImagePartFields
    | InputImagePartFields
    | VideoPartFields
    | InputVideoPartFields
    | InputAudioPartFields
    | AudioPartFields
    | FilePartFields
    | InputFilePartFields
)
Content: TypeAlias = list[PartFields]


class CalledFunction(RequestStruct, frozen=True):
    """The function of an earlier tool call."""

    name: Name
    arguments: Annotated[
        str | dict[str, Any] | None, Meta(description="JSON text or an object. Text that is not JSON is kept.")
    ] = None


class PastToolCall(RequestStruct, frozen=True):
    """A tool call in an earlier answer."""

    function: CalledFunction
    id: Annotated[str | None, Meta(description="The tool's result refers to it as tool_call_id.")] = None
    type: Ignored = None


class FunctionDefinition(RequestStruct, frozen=True):
    """A function that the model may call."""

    name: Name
    description: Annotated[str | None, Meta(description="Shown to the model.")] = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="A JSON schema, shown to the model.")] = None


class ToolDefinition(RequestStruct, frozen=True):
    """A tool that the model may call. The chat template receives the object unchanged."""

    function: FunctionDefinition
    type: Literal["function"] | None = None


class FunctionName(RequestStruct, frozen=True):
    """The name of a function in `tools`."""

    name: str | None = None


class ToolReference(RequestStruct, frozen=True):
    """A tool in `tools`, by its name."""

    function: FunctionName | None = None
    type: Ignored = None


class ForcedTool(RequestStruct, frozen=True, tag_field="type", tag="function"):
    """Forces a call of one tool. Refused with status 400: not supported yet."""

    function: FunctionName | None = None


class ToolSubset(RequestStruct, frozen=True):
    """Some of `tools`. The mode "required" is refused with status 400: not supported yet."""

    tools: list[ToolReference] | None = None
    mode: Annotated[str | None, Meta(description="auto, or omitted.", extra_json_schema={"enum": ["auto", ""]})] = None


class AllowedTools(ToolSubset, frozen=True, tag_field="type", tag="allowed_tools"):
    """Shows only some of `tools` to the model."""

    allowed_tools: Annotated[ToolSubset | None, Meta(description="Used instead of the fields beside it.")] = None


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | AllowedTools | ForcedTool


class ReasoningField(RequestStruct, frozen=True):
    """The reasoning switch as in OpenAI's Responses API and in OpenRouter's API."""

    effort: Annotated[
        Effort | None, Meta(description="none, off, low and minimal turn reasoning off; the others turn it on.")
    ] = None
    enabled: Annotated[bool | None, Meta(description="Used if effort is omitted.")] = None
    summary: Ignored = None


class TemplateArguments(RequestStruct, frozen=True):
    """Variables for the model's chat template. Members that are not listed are passed to it unchanged."""

    enable_thinking: Annotated[
        bool | Annotated[str, Meta(extra_json_schema={"enum": ["true", "false"]})] | None,
        Meta(description="The reasoning switch under the name that chat templates use."),
    ] = None
    thinking: Annotated[Any, Meta(description="A boolean is the reasoning switch if enable_thinking is omitted.")] = (
        None
    )


class OllamaOptions(RequestStruct, frozen=True):
    """Ollama's options, accepted by every endpoint that generates. Numbers out of range are clamped. A field outside
    options wins over the option of the same meaning. Unknown options are ignored and listed in the server's log.
    """

    num_ctx: Annotated[Whole | None, Meta(description="The most tokens of prompt and answer together.")] = None
    num_predict: Annotated[
        Whole | None, Meta(description="The most tokens of the answer, including reasoning; -1: as many as fit.")
    ] = None
    temperature: Annotated[Float32 | None, Meta(description="The randomness of sampling; 0: the likeliest token.")] = (
        None
    )
    top_k: Annotated[Whole | None, Meta(description="Sample from this many of the likeliest tokens; 0: all.")] = None
    top_p: Annotated[
        Float32 | None, Meta(description="Sample from the likeliest tokens whose probabilities add up to this.")
    ] = None
    min_p: Annotated[
        Float32 | None, Meta(description="Exclude tokens below this share of the likeliest token's probability.")
    ] = None
    seed: Annotated[Whole | None, Meta(description="The same seed samples the same tokens; -1: a random seed.")] = None
    stop: Annotated[Stops | str | None, Meta(description="Texts that end the answer and are not part of it.")] = None
    repeat_penalty: Annotated[
        Float32 | None, Meta(description="Divides the logits of repeated tokens; 1, 0 and less: off.")
    ] = None
    repeat_last_n: Annotated[
        Whole | None, Meta(description="Penalties apply to this many latest tokens; 0: penalties are off, -1: all.")
    ] = None
    presence_penalty: Annotated[
        Float32 | None, Meta(description="Subtracted from the logits of tokens that occurred.")
    ] = None
    frequency_penalty: Annotated[
        Float32 | None, Meta(description="Subtracted from a token's logit for each occurrence.")
    ] = None
    draft_num_predict: Annotated[
        Whole | None, Meta(description="Draft tokens for each step of the model; 0: no draft model.")
    ] = None
    num_batch: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    num_gpu: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    main_gpu: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    use_mmap: Annotated[bool | None, Meta(extra_json_schema=_IGNORED)] = None
    num_thread: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    num_keep: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    typical_p: Annotated[Float32 | None, Meta(extra_json_schema=_IGNORED)] = None
    # Clients still send these options, which Ollama removed.
    embedding_only: Ignored = None
    f16_kv: Ignored = None
    logits_all: Ignored = None
    low_vram: Ignored = None
    mirostat: Ignored = None
    mirostat_eta: Ignored = None
    mirostat_tau: Ignored = None
    num_gqa: Ignored = None
    numa: Ignored = None
    penalize_newline: Ignored = None
    tfs_z: Ignored = None
    use_mlock: Ignored = None
    vocab_only: Ignored = None


class GenerationFields(RequestStruct, frozen=True):
    """The fields that every endpoint that generates accepts."""

    model: Annotated[
        ModelNameOrEmpty | None,
        Meta(
            description="A name from the list of models; :latest behind it and its organization or hf.co/ before it "
            "are accepted. Omitted: the server's default_model."
        ),
    ] = None
    think: Annotated[
        bool | ThinkLevel | None, Meta(description="Ollama's reasoning switch. Wins over the other three.")
    ] = None
    chat_template_kwargs: Annotated[
        TemplateArguments | None, Meta(description="The second reasoning switch in order of precedence.")
    ] = None
    reasoning: Annotated[
        ReasoningField | Effort | None, Meta(description="The third reasoning switch in order of precedence.")
    ] = None
    reasoning_effort: Annotated[
        Effort | None, Meta(description="The last reasoning switch in order of precedence.")
    ] = None
    separate_reasoning: Annotated[
        bool | None, Meta(description="true: reasoning has its own fields. false: it is in the text in <think> tags.")
    ] = None
    include_reasoning: Annotated[bool | None, Meta(description="The same. Used if separate_reasoning is omitted.")] = (
        None
    )
    max_completion_tokens: Annotated[
        Positive | None, Meta(description="The most tokens of the answer, including reasoning.")
    ] = None
    max_tokens: Annotated[
        MaxTokens | None,
        Meta(description="The same. Used if max_completion_tokens is omitted; -1: as many as fit."),
    ] = None
    temperature: Annotated[
        Temperature | None,
        Meta(description="The randomness of sampling; 0: the likeliest token. Omitted: as in the model's files."),
    ] = None
    top_p: Annotated[
        Share | None,
        Meta(description="Sample from the likeliest tokens whose probabilities add up to this; 0: the likeliest."),
    ] = None
    top_k: Annotated[TopK | None, Meta(description="Sample from this many of the likeliest tokens; 0 and -1: all.")] = (
        None
    )
    min_p: Annotated[
        Share | None, Meta(description="Exclude tokens below this share of the likeliest token's probability.")
    ] = None
    seed: Annotated[Seed | None, Meta(description="The same seed samples the same tokens.")] = None
    stop: Annotated[Stops | str | None, Meta(description="Texts that end the answer and are not part of it.")] = None
    repetition_penalty: Annotated[
        RepetitionPenalty | None, Meta(description="Divides the logits of repeated tokens; 1: off.")
    ] = None
    repetition_context_size: Annotated[
        Positive | None, Meta(description="repetition_penalty applies to this many latest tokens.")
    ] = None
    presence_penalty: Annotated[
        Penalty | None, Meta(description="Subtracted from the logits of tokens that occurred.")
    ] = None
    presence_context_size: Annotated[
        Positive | None, Meta(description="presence_penalty applies to this many latest tokens.")
    ] = None
    frequency_penalty: Annotated[
        Penalty | None, Meta(description="Subtracted from a token's logit for each occurrence.")
    ] = None
    frequency_context_size: Annotated[
        Positive | None, Meta(description="frequency_penalty applies to this many latest tokens.")
    ] = None
    logit_bias: Annotated[
        dict[TokenId, Bias] | None, Meta(description="Added to the logits of tokens, by token id.")
    ] = None
    logprobs: Annotated[
        bool | None, Meta(description="Whether the answer has the log-probabilities of its tokens.")
    ] = None
    draft_model: Annotated[
        ModelNameOrEmpty | None,
        Meta(description="A smaller model with the same tokens for speculative decoding. The text stays the same."),
    ] = None
    num_draft_tokens: Annotated[
        NotNegative | None, Meta(description="Draft tokens for each step of the model; 0: no draft model.")
    ] = None
    keep_alive: Annotated[
        int | float | Duration | None,
        Meta(
            description="How long the model stays in memory after the answer: seconds or a duration. Negative: "
            "forever; 0: it is unloaded."
        ),
    ] = None
    options: Annotated[OllamaOptions | None, Meta(description="Ollama's options.")] = None
    user: Ignored = None
    format: Ignored = None
