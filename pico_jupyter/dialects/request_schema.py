"""What requests of every dialect may hold, field by field, for people and programs that ask. The parsers decide.

Values of null count as omitted, and fields that are not listed are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.fields import INT64_MAX, INT64_MIN
from pico_jupyter.dialects.options import FLOAT32_MAX, MAX_STOPS
from pico_jupyter.dialects.reasoning import EFFORTS_OFF, EFFORTS_ON, THINK_LEVELS

# What is read by nobody. Clients send it, so it is named.
IGNORED_KEYWORD = "x-ignored"
_IGNORED: dict[str, Any] = {IGNORED_KEYWORD: True}
Ignored: TypeAlias = Annotated[Any, Meta(description="Accepted and ignored.", extra_json_schema=_IGNORED)]

NotNegative: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Seed: TypeAlias = Annotated[int, Meta(extra_json_schema={"minimum": INT64_MIN, "maximum": INT64_MAX})]
Whole: TypeAlias = Annotated[float, Meta(extra_json_schema={"minimum": INT64_MIN, "maximum": INT64_MAX})]
Float32: TypeAlias = Annotated[float, Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]
ModelName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^((hf|huggingface)\.co/)?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?(:[A-Za-z0-9_.-]*)?$",
        examples=["pico-tiny"],
    ),
]
Duration: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)|[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
        max_length=64,
        examples=["5m", "1h30m", "-1"],
    ),
]
Effort: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": [*EFFORTS_OFF, *EFFORTS_ON]})]
ThinkLevel: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": [*THINK_LEVELS]})]
Stops: TypeAlias = Annotated[list[str], Meta(max_length=MAX_STOPS)]
MaxTokens: TypeAlias = Annotated[int, Meta(ge=-1, extra_json_schema={"not": {"const": 0}})]
TokenId: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
Bias: TypeAlias = Annotated[float, Meta(ge=-100, le=100)]
MediaUrl: TypeAlias = Annotated[
    str,
    Meta(
        description="A data: URL with base64, http:, https:, or jupyter: and the path of a file of the server.",
        pattern="^(?:[dD][aA][tT][aA]:|[hH][tT][tT][pP][sS]?://|[jJ][uU][pP][yY][tT][eE][rR]:)",
        examples=["data:image/png;base64,iVBORw0KGgo=", "jupyter:pictures/cat.png"],
    ),
]


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    """A stretch of text."""

    text: str


class InputTextPart(TextPart, tag_field="type", tag="input_text"):
    """The same as `text`."""


class OutputTextPart(TextPart, tag_field="type", tag="output_text"):
    """The same as `text`."""


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    """A refusal of an earlier answer, taken as text."""

    refusal: str


class MediaSource(msgspec.Struct):
    """Where a picture or a clip comes from."""

    url: MediaUrl
    detail: Ignored = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """A picture, or a clip where the data: URL says so. For models with the capability vision."""

    image_url: MediaSource | MediaUrl


class InputImagePart(ImagePart, tag_field="type", tag="input_image"):
    """The same as `image_url`."""


class VideoPart(msgspec.Struct, tag_field="type", tag="video_url"):
    """A clip. For models with the capability video."""

    video_url: MediaSource | MediaUrl


class InputVideoPart(msgspec.Struct, tag_field="type", tag="input_video"):
    """The same as `video_url`; the URL may also stand in `video`."""

    video_url: MediaSource | MediaUrl | None = None
    video: MediaSource | MediaUrl | None = None


TextContent: TypeAlias = list[TextPart | InputTextPart | OutputTextPart | RefusalPart]
Content: TypeAlias = list[
    TextPart | InputTextPart | OutputTextPart | RefusalPart | ImagePart | InputImagePart | VideoPart | InputVideoPart
]


class CalledFunction(msgspec.Struct):
    """The function of a tool call of the past."""

    name: Name
    arguments: Annotated[
        str | dict[str, Any] | None, Meta(description="JSON text, or an object. Text that is no JSON stays as it is.")
    ] = None


class PastToolCall(msgspec.Struct):
    """A tool call of an earlier answer."""

    function: CalledFunction
    id: Annotated[str | None, Meta(description="What the tool's result names as tool_call_id.")] = None
    type: Ignored = None


class FunctionDefinition(msgspec.Struct):
    """A function that the model may call."""

    name: Name
    description: Annotated[str | None, Meta(description="For the model.")] = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="A JSON schema, for the model.")] = None


class ToolDefinition(msgspec.Struct):
    """A tool that the model may call. Goes to the model's chat template as it is."""

    function: FunctionDefinition
    type: Literal["function"] | None = None


class ReasoningField(msgspec.Struct):
    """The reasoning switch as OpenAI's Responses API and OpenRouter write it."""

    effort: Annotated[Effort | None, Meta(description="none, off, low and minimal are off, the others on.")] = None
    enabled: Annotated[bool | None, Meta(description="Decides where there is no effort.")] = None
    summary: Ignored = None


class TemplateArguments(msgspec.Struct):
    """Variables of the model's chat template; members that are not listed go to it as they are."""

    enable_thinking: Annotated[
        bool | Literal["true", "false"] | None, Meta(description="The reasoning switch, as chat templates call it.")
    ] = None
    thinking: Annotated[
        Any, Meta(description="A boolean is the reasoning switch where there is no enable_thinking.")
    ] = None


class OllamaOptions(msgspec.Struct):
    """Ollama's options, taken by every endpoint that generates. Numbers out of range are moved to its edge; fields of
    the same meaning outside of options win. Options that nobody knows are ignored, with a line in the server's log.
    """

    num_ctx: Annotated[Whole | None, Meta(description="Tokens of prompt and answer together, at most.")] = None
    num_predict: Annotated[
        Whole | None, Meta(description="Tokens of the answer, reasoning included, at most; -1: as many as fit.")
    ] = None
    temperature: Annotated[Float32 | None, Meta(description="How freely tokens are drawn; 0: the most likely.")] = None
    top_k: Annotated[Whole | None, Meta(description="Draw from this many of the most likely tokens; 0: all.")] = None
    top_p: Annotated[Float32 | None, Meta(description="Draw from the most likely tokens of this much weight.")] = None
    min_p: Annotated[
        Float32 | None, Meta(description="Leave out tokens less likely than this share of the likeliest.")
    ] = None
    seed: Annotated[Whole | None, Meta(description="The same seed draws the same tokens; -1: a random one.")] = None
    stop: Annotated[Stops | str | None, Meta(description="Text that ends the answer and is left out of it.")] = None
    repeat_penalty: Annotated[
        Float32 | None, Meta(description="Divides what repeats; 1 is off, as is anything not above 0.")
    ] = None
    repeat_last_n: Annotated[
        Whole | None, Meta(description="Tokens that penalties look back on; 0: penalties are off, -1: all.")
    ] = None
    presence_penalty: Annotated[Float32 | None, Meta(description="Taken from tokens that occurred.")] = None
    frequency_penalty: Annotated[Float32 | None, Meta(description="Taken from tokens for each occurrence.")] = None
    draft_num_predict: Annotated[
        Whole | None, Meta(description="Tokens that a draft model proposes at a time; 0: no drafting.")
    ] = None
    num_batch: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    num_gpu: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    main_gpu: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    use_mmap: Annotated[bool | None, Meta(extra_json_schema=_IGNORED)] = None
    num_thread: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    num_keep: Annotated[Whole | None, Meta(extra_json_schema=_IGNORED)] = None
    typical_p: Annotated[Float32 | None, Meta(extra_json_schema=_IGNORED)] = None
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


class GenerationFields(msgspec.Struct, kw_only=True):
    """What every endpoint that generates understands."""

    model: Annotated[
        ModelName | Literal[""] | None,
        Meta(
            description="A name from the list of models; also with :latest, with its organisation, or with hf.co/ in "
            "front. Omitted: the server's default_model."
        ),
    ] = None
    think: Annotated[
        bool | ThinkLevel | None, Meta(description="The reasoning switch, as Ollama writes it. Wins over the others.")
    ] = None
    chat_template_kwargs: Annotated[
        TemplateArguments | None, Meta(description="Second in the order of reasoning switches.")
    ] = None
    reasoning: Annotated[
        ReasoningField | Effort | None, Meta(description="Third in the order of reasoning switches.")
    ] = None
    reasoning_effort: Annotated[Effort | None, Meta(description="Last in the order of reasoning switches.")] = None
    separate_reasoning: Annotated[
        bool | None,
        Meta(description="Whether thinking comes in fields of its own, or between <think> tags in the text."),
    ] = None
    include_reasoning: Annotated[bool | None, Meta(description="The same, where there is no separate_reasoning.")] = (
        None
    )
    max_completion_tokens: Annotated[
        Positive | None, Meta(description="Tokens of the answer, reasoning included, at most.")
    ] = None
    max_tokens: Annotated[
        MaxTokens | None,
        Meta(description="The same, where there is no max_completion_tokens; -1: as many as fit."),
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(description="How freely tokens are drawn; 0: always the most likely. Omitted: as the model's files say."),
    ] = None
    top_p: Annotated[
        Share | None, Meta(description="Draw from the most likely tokens of this much weight; 0: the most likely one.")
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=-1)] | None,
        Meta(description="Draw from this many of the most likely tokens; 0 and -1: all."),
    ] = None
    min_p: Annotated[
        Share | None, Meta(description="Leave out tokens less likely than this share of the likeliest.")
    ] = None
    seed: Annotated[Seed | None, Meta(description="The same seed draws the same tokens.")] = None
    stop: Annotated[Stops | str | None, Meta(description="Text that ends the answer and is left out of it.")] = None
    repetition_penalty: Annotated[
        Annotated[float, Meta(gt=0, le=FLOAT32_MAX)] | None, Meta(description="Divides what repeats; 1 is off.")
    ] = None
    repetition_context_size: Annotated[
        Positive | None, Meta(description="Tokens that repetition_penalty looks back on.")
    ] = None
    presence_penalty: Annotated[Penalty | None, Meta(description="Taken from tokens that occurred.")] = None
    presence_context_size: Annotated[
        Positive | None, Meta(description="Tokens that presence_penalty looks back on.")
    ] = None
    frequency_penalty: Annotated[Penalty | None, Meta(description="Taken from tokens for each occurrence.")] = None
    frequency_context_size: Annotated[
        Positive | None, Meta(description="Tokens that frequency_penalty looks back on.")
    ] = None
    logit_bias: Annotated[
        dict[TokenId, Bias] | None, Meta(description="For token ids, what is added to their logits.")
    ] = None
    draft_model: Annotated[
        ModelName | Literal[""] | None,
        Meta(description="A smaller model with the same tokens that drafts. The text does not change."),
    ] = None
    num_draft_tokens: Annotated[NotNegative | None, Meta(description="Tokens that are drafted at a time; 0: none.")] = (
        None
    )
    keep_alive: Annotated[
        float | Duration | None,
        Meta(description="How long the model stays in memory: seconds, or a duration. Negative: for ever; 0: not."),
    ] = None
    options: Annotated[OllamaOptions | None, Meta(description="Ollama's options.")] = None
    user: Ignored = None
    format: Ignored = None
