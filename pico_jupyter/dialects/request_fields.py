"""Declares the request fields that several endpoints share. Bodies are decoded into these Structs.

The OpenAPI document is made from the same Structs, so a field's type, range and description are declared once.
Constraints in `extra_json_schema` are only documented here. The code that interprets the value checks them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
FLOAT32_MAX = 3.4028234663852886e38
MAX_STOPS = 64
MAX_TOP_LOGPROBS = 20

EFFORTS_OFF = ("none", "off", "low", "minimal")
EFFORTS_ON = ("medium", "high", "on", "xhigh", "max", "ultra")


def about(text: str) -> Meta:
    """Return the annotation for a field's description in the OpenAPI document."""
    return Meta(description=text)


# In the OpenAPI document, marks fields that are accepted but have no effect.
IGNORED_KEYWORD = "x-ignored"
UNUSED = Meta(extra_json_schema={IGNORED_KEYWORD: True})

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
# A JSON schema, or its JSON text.
SchemaOrText: TypeAlias = dict[str, Any] | Name
GuidedChoice: TypeAlias = Annotated[list[Name], Meta(min_length=1)]
ThinkLevel: TypeAlias = Literal["high", "medium", "low", "max"]
ThinkingType: TypeAlias = Literal["enabled", "disabled", "adaptive", "between_tools", "auto"]
ReasoningFormat: TypeAlias = Literal["auto", "parsed", "deepseek", "raw", "none", "hidden"]
TokenBudget: TypeAlias = Annotated[int, Meta(ge=-1)]
TrueOrFalse: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": ["true", "false"]})]
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


class RequestStruct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all Structs that a request body is decoded into.

    Unknown fields are ignored, or refused if `is_closed` is set. The OpenAPI document lists those in `ignored`, because
    clients are known to send them.
    """

    ignored: ClassVar[frozenset[str]] = frozenset()
    is_closed: ClassVar[bool] = False


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

    ignored = frozenset({"detail"})
    url: MediaUrl


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
    """Refused like `input_audio`."""


class FilePartFields(InputAudioPartFields, frozen=True, tag="file"):
    """Refused like `input_audio`."""


class InputFilePartFields(InputAudioPartFields, frozen=True, tag="input_file"):
    """Refused like `input_audio`."""


TextLikeFields: TypeAlias = TextPartFields | InputTextPartFields | OutputTextPartFields | RefusalPartFields
MediaPartFields: TypeAlias = ImagePartFields | InputImagePartFields | VideoPartFields | InputVideoPartFields
RefusedPartFields: TypeAlias = InputAudioPartFields | AudioPartFields | FilePartFields | InputFilePartFields
PartFields: TypeAlias = TextLikeFields | MediaPartFields | RefusedPartFields
TextContent: TypeAlias = list[TextLikeFields]
Content: TypeAlias = list[PartFields]


class CalledFunction(RequestStruct, frozen=True):
    """The function of an earlier tool call. Text in `arguments` that is not JSON is kept."""

    name: Name
    arguments: Annotated[str | dict[str, Any] | None, about("JSON text or an object.")] = None


class PastToolCall(RequestStruct, frozen=True):
    """A tool call in an earlier answer."""

    ignored = frozenset({"type"})
    function: CalledFunction
    id: Annotated[str | None, about("The tool's result refers to it as tool_call_id.")] = None


class FunctionDefinition(RequestStruct, frozen=True):
    """A function that the model may call. The model also sees members that are not listed."""

    name: Name
    description: str | None = None
    parameters: Annotated[dict[str, Any] | None, about("A JSON schema.")] = None
    strict: Annotated[bool | None, about("Whether the arguments of every call match the schema.")] = None


class ToolDefinition(RequestStruct, frozen=True):
    """A tool that the model may call. The chat template receives the object unchanged."""

    function: FunctionDefinition
    type: Literal["function"] | None = None


class FunctionName(RequestStruct, frozen=True):
    """The name of a function in `tools`."""

    name: str | None = None


class ToolReference(RequestStruct, frozen=True):
    """Refers to a tool in `tools` by its name."""

    ignored = frozenset({"type"})
    function: FunctionName | None = None


class ForcedTool(RequestStruct, frozen=True, tag_field="type", tag="function"):
    """Requires one call of one tool."""

    function: FunctionName | None = None


_MODE = Meta(
    description="required: the answer has at least one call. auto: it may have calls.",
    extra_json_schema={"enum": ["auto", "required", ""]},
)


class ToolSubset(RequestStruct, frozen=True):
    """Some of `tools`."""

    tools: list[ToolReference] | None = None
    mode: Annotated[str | None, _MODE] = None


class AllowedTools(ToolSubset, frozen=True, tag_field="type", tag="allowed_tools"):
    """Restricts the tools that the model sees and may call."""

    allowed_tools: Annotated[
        ToolSubset | None, about("If present, used instead of `tools` and `mode` of this object.")
    ] = None


ToolChoiceField: TypeAlias = Literal["none", "auto", "required"] | AllowedTools | ForcedTool


class StructuredOutputs(RequestStruct, frozen=True):
    """vLLM's way to say what the text of the answer must be. One of the members may be given."""

    ignored = frozenset({"disable_any_whitespace", "disable_fallback", "whitespace_pattern"})
    json: Annotated[SchemaOrText | None, about("A JSON schema, or its JSON text.")] = None
    regex: Annotated[Name | None, about("A regular expression, which the whole text matches.")] = None
    choice: Annotated[GuidedChoice | None, about("The texts, one of which is the answer.")] = None
    grammar: Annotated[Name | None, about("A grammar in llguidance's variant of Lark.")] = None
    json_object: Annotated[bool | None, about("true: any JSON object.")] = None
    structural_tag: Annotated[Any, about("Refused unless null.")] = None


class ReasoningField(RequestStruct, frozen=True):
    """The reasoning switch as in OpenAI's Responses API and in OpenRouter's API."""

    ignored, is_closed = frozenset({"context", "summary", "generate_summary"}), True
    mode: Annotated[Literal["standard", "pro"] | None, UNUSED] = None
    effort: Annotated[Effort | None, about("none, off, low and minimal turn reasoning off; the others on.")] = None
    enabled: Annotated[bool | None, about("Used if effort is omitted.")] = None
    max_tokens: Annotated[
        TokenBudget | None, about("Like max_thinking_tokens. As a switch, used if effort and enabled are omitted.")
    ] = None
    exclude: Annotated[bool | None, about("true: the model may reason, and the answer leaves the reasoning out.")] = (
        None
    )


class ThinkingField(RequestStruct, frozen=True):
    """The reasoning switch of Anthropic's API, which DeepSeek, GLM and Kimi also have."""

    ignored, is_closed = frozenset({"clear_thinking", "display", "keep"}), True
    type: Annotated[ThinkingType | None, about("Types other than enabled and disabled: the default.")] = None
    enabled: Annotated[bool | None, about("Used if type is omitted.")] = None
    budget_tokens: Annotated[
        TokenBudget | None, about("Like max_thinking_tokens. As a switch, used if type and enabled are omitted.")
    ] = None


class TemplateArguments(RequestStruct, frozen=True):
    """Variables for the model's chat template. Members that are not listed are passed to it unchanged."""

    enable_thinking: Annotated[bool | TrueOrFalse | None, about("The reasoning switch.")] = None
    thinking: Annotated[Any, about("true, false, on, off, enabled or disabled: the reasoning switch.")] = None
    think: Annotated[Any, about("The same as thinking.")] = None
    reasoning: Annotated[Any, about("The same as thinking.")] = None
    reasoning_effort: Annotated[
        Any, about("none, off, disabled: reasoning off. Others: passed to the template, also as the level.")
    ] = None
    thinking_budget: Annotated[Any, about("0: reasoning off. Others: passed to the template.")] = None


_BUDGET = about("0: reasoning off; more: on, and closed after this many tokens at the latest; -1: no limit.")
_REASONING_FORMAT = about("raw, none: in <think> tags in the text. parsed, deepseek: separate. hidden: left out.")
_SAME_BUDGET = about("The same as max_thinking_tokens.")
_TEMPERATURE = about("The randomness of sampling; 0: always the likeliest token. Omitted: the model's default.")
_TOP_K = about("Sample from this many of the likeliest tokens; 0 or less: from all.")
_TOP_P = about("Sample from the likeliest tokens whose probabilities add up to this; 0: only the likeliest.")
_MIN_P = about("Exclude tokens with less than this share of the likeliest token's probability.")
_SEED = about("The same seed samples the same tokens. In options, -1 is a random seed.")
_STOP = about("Texts that end the answer. The answer does not include them.")
_REPETITION = about("Rescales the logits of tokens that have occurred, to make them less likely; 1: off.")
_PRESENCE = about("Subtracted from the logits of tokens that have occurred.")
_FREQUENCY = about("Subtracted from a token's logit once for each earlier occurrence.")
_CONTEXT_SIZE = about("The number of latest tokens that the penalty considers.")
_KEEP_ALIVE = about("How long the model stays in memory: seconds or a duration. Negative: without limit; 0: unload.")
LOGPROBS = about("Whether to return the log-probabilities of the tokens.")
_DRAFT_TOKENS = about("Number of draft tokens per step; 0: no draft model.")


class OllamaOptions(RequestStruct, frozen=True):
    """Ollama's options, accepted by every endpoint that generates. Numbers out of range are clamped. A field outside
    options has precedence over the option of the same meaning. Unknown options are ignored, and the server logs them.
    """

    # Ollama removed these options, but clients still send them.
    ignored = frozenset(
        {"embedding_only", "f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta", "mirostat_tau"}
    ) | {"num_gqa", "numa", "penalize_newline", "tfs_z", "use_mlock", "vocab_only"}
    num_ctx: Annotated[Whole | None, about("Limit for the tokens of prompt and answer together.")] = None
    think: Annotated[bool | ThinkLevel | None, about("The last of the reasoning switches.")] = None
    num_predict: Annotated[Whole | None, about("Limit for the tokens of the answer; 0 or less: as many as fit.")] = None
    temperature: Annotated[Float32 | None, _TEMPERATURE] = None
    top_k: Annotated[Whole | None, _TOP_K] = None
    top_p: Annotated[Float32 | None, _TOP_P] = None
    min_p: Annotated[Float32 | None, _MIN_P] = None
    seed: Annotated[Whole | None, _SEED] = None
    stop: Annotated[Stops | str | None, _STOP] = None
    repeat_penalty: Annotated[Float32 | None, _REPETITION] = None
    repeat_last_n: Annotated[Whole | None, about("Penalties consider this many latest tokens; 0: off, -1: all.")] = None
    presence_penalty: Annotated[Float32 | None, _PRESENCE] = None
    frequency_penalty: Annotated[Float32 | None, _FREQUENCY] = None
    draft_num_predict: Annotated[Whole | None, _DRAFT_TOKENS] = None
    num_batch: Annotated[Whole | None, UNUSED] = None
    num_gpu: Annotated[Whole | None, UNUSED] = None
    main_gpu: Annotated[Whole | None, UNUSED] = None
    use_mmap: Annotated[bool | None, UNUSED] = None
    num_thread: Annotated[Whole | None, UNUSED] = None
    num_keep: Annotated[Whole | None, UNUSED] = None
    typical_p: Annotated[Float32 | None, UNUSED] = None


class GenerationFields(RequestStruct, frozen=True):
    """The fields that all generating endpoints accept."""

    # The last ones say how reasoning is shown or kept, not whether the model reasons.
    ignored = frozenset({"user", "guided_decoding_backend", "guided_whitespace_pattern"}) | {
        "clear_thinking",
        "preserve_thinking",
        "reasoning_history",
        "stream_reasoning",
    }
    model: Annotated[ModelNameOrEmpty | None, about("A name from the list of models. Omitted: default_model.")] = None
    think: Annotated[bool | ThinkLevel | None, about("Reasoning on or off. The first of the switches.")] = None
    chat_template_kwargs: Annotated[TemplateArguments | None, about("The second switch.")] = None
    enable_thinking: Annotated[bool | TrueOrFalse | None, about("The third switch.")] = None
    thinking: Annotated[ThinkingField | bool | ThinkingType | None, about("The fourth switch.")] = None
    reasoning: Annotated[ReasoningField | Effort | None, about("The fifth switch.")] = None
    reasoning_effort: Annotated[Effort | None, about("The sixth switch.")] = None
    max_thinking_tokens: Annotated[TokenBudget | None, _BUDGET] = None
    thinking_budget: Annotated[TokenBudget | None, _SAME_BUDGET] = None
    thinking_token_budget: Annotated[TokenBudget | None, _SAME_BUDGET] = None
    thinking_budget_tokens: Annotated[TokenBudget | None, _SAME_BUDGET] = None
    reasoning_budget: Annotated[TokenBudget | None, _SAME_BUDGET] = None
    max_reasoning_tokens: Annotated[TokenBudget | None, _SAME_BUDGET] = None
    include_reasoning: Annotated[bool | None, about("false: the answer leaves the reasoning out.")] = None
    separate_reasoning: Annotated[bool | None, about("false: reasoning is in the text, in <think> tags.")] = None
    reasoning_split: Annotated[bool | None, about("The same as separate_reasoning.")] = None
    reasoning_format: Annotated[ReasoningFormat | None, _REASONING_FORMAT] = None
    max_completion_tokens: Annotated[MaxTokens | None, about("Token limit for text and reasoning; -1: none.")] = None
    max_tokens: Annotated[MaxTokens | None, about("Used if max_completion_tokens is omitted; -1: as many as fit.")] = (
        None
    )
    temperature: Annotated[Temperature | None, _TEMPERATURE] = None
    top_p: Annotated[Share | None, _TOP_P] = None
    top_k: Annotated[TopK | None, _TOP_K] = None
    min_p: Annotated[Share | None, _MIN_P] = None
    seed: Annotated[Seed | None, _SEED] = None
    stop: Annotated[Stops | str | None, _STOP] = None
    repetition_penalty: Annotated[RepetitionPenalty | None, _REPETITION] = None
    repetition_context_size: Annotated[Positive | None, _CONTEXT_SIZE] = None
    presence_penalty: Annotated[Penalty | None, _PRESENCE] = None
    presence_context_size: Annotated[Positive | None, _CONTEXT_SIZE] = None
    frequency_penalty: Annotated[Penalty | None, _FREQUENCY] = None
    frequency_context_size: Annotated[Positive | None, _CONTEXT_SIZE] = None
    logit_bias: Annotated[dict[TokenId, Bias] | None, about("Added to the logits of tokens, by token id.")] = None
    guided_json: Annotated[SchemaOrText | None, about("As json in structured_outputs.")] = None
    guided_regex: Annotated[Name | None, about("As regex in structured_outputs.")] = None
    guided_choice: Annotated[GuidedChoice | None, about("As choice in structured_outputs.")] = None
    guided_grammar: Annotated[Name | None, about("As grammar in structured_outputs.")] = None
    structured_outputs: Annotated[StructuredOutputs | None, about("What the text must be, as vLLM spells it.")] = None
    draft_model: Annotated[ModelNameOrEmpty | None, about("A smaller model that proposes draft tokens.")] = None
    num_draft_tokens: Annotated[NotNegative | None, _DRAFT_TOKENS] = None
    keep_alive: Annotated[int | float | Duration | None, _KEEP_ALIVE] = None
    priority: Annotated[Seed | None, about("Above 0: starts after all waiting requests with 0, the default.")] = None
    options: Annotated[OllamaOptions | None, about("Ollama's options.")] = None
