"""Declares the requests to v1/completions, and parses them into calls for handlers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from pico_jupyter.dialects.dialect_settings import DialectSettings
from pico_jupyter.dialects.generation_options import OPENAI_FALLBACK, build_request, unknown_options
from pico_jupyter.dialects.openai_request import Choices, StreamOptions, read_include_usage
from pico_jupyter.dialects.reasoning_switch import refuse_unknown_switches
from pico_jupyter.dialects.request_bodies import decode_fields, decode_object
from pico_jupyter.dialects.request_errors import invalid
from pico_jupyter.dialects.request_fields import UNUSED, GenerationFields, NotNegative, TopLogprobs, about
from pico_jupyter.dialects.structured_output import ResponseFormat, read_response_format, read_structure
from pico_jupyter.types import CompletionPrompt, GenerationRequest, ToolChoice

MAX_PROMPTS = 64
MAX_TOKEN_ID = 2**31 - 1
# The default of OpenAI's API. Without it, a model that was not trained on chats would fill its context.
DEFAULT_MAX_TOKENS = 16

PromptToken: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_TOKEN_ID)]
TokenLimit: TypeAlias = Annotated[int, Meta(ge=-1)]
PromptList: TypeAlias = Annotated[list[str | PromptToken | list[PromptToken]], Meta(min_length=1)]


class OpenAICompletionRequest(GenerationFields, frozen=True, kw_only=True):
    """A request to continue texts, without a chat template. Fields that are not listed are ignored; null counts as
    omitted.
    """

    ignored = frozenset({"service_tier", "store", "metadata"})
    prompt: Annotated[str | PromptList, about(f"A text or its tokens, or a list of up to {MAX_PROMPTS} of these.")]
    suffix: Annotated[str | None, about("Text after the answer, for models with the capability insert.")] = None
    echo: Annotated[bool | None, about("Whether the answer, and the list of logprobs, begin with the prompt.")] = None
    max_tokens: Annotated[TokenLimit | None, about("Default 16; -1: as many as fit; 0: an empty answer.")] = None
    n: Annotated[Choices | None, about("The number of answers to each prompt.")] = None
    best_of: Annotated[NotNegative | None, about("Refused unless it equals n.")] = None
    logprobs: Annotated[TopLogprobs | None, about("Likeliest candidates to list per token.")] = None
    add_special_tokens: Annotated[bool | None, about("false: a text gets no BOS token.")] = None
    response_format: Annotated[ResponseFormat | None, about("What the text of the answer must be.")] = None
    # The answer is plain text, so reasoning is not separated from it.
    include_reasoning: Annotated[Any, UNUSED] = None
    separate_reasoning: Annotated[Any, UNUSED] = None
    reasoning_split: Annotated[Any, UNUSED] = None
    reasoning_format: Annotated[Any, UNUSED] = None
    stream: Annotated[bool | None, about("Whether the answer is a stream of server-sent events.")] = None
    stream_options: Annotated[StreamOptions | None, about("Only for streams.")] = None


class OpenAICompletionCall(msgspec.Struct, frozen=True):
    """One request for each prompt to continue, and the form of the answer."""

    requests: tuple[GenerationRequest, ...]
    model: str
    stream: bool = False
    include_usage: bool = False
    echo: bool = False
    unknown_options: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """The number of answers to each prompt."""
        return self.requests[0].n

    @property
    def scores_prompt(self) -> bool:
        """Whether the log-probabilities of each answer begin with those of its prompt."""
        return prompt_of(self.requests[0]).logprobs


def parse_openai_completion(body: bytes, *, request_id: str, settings: DialectSettings) -> OpenAICompletionCall:
    """Parse the body of a POST to v1/completions. Raises InvalidRequest, which names the wrong field."""
    raw = decode_object(body)
    fields = decode_fields(raw, OpenAICompletionRequest)
    refuse_unknown_switches(raw, OpenAICompletionRequest)
    model = fields.model or settings.default_model
    if not model:
        raise invalid("model", "model is required", "missing_required_parameter")
    _check_combinations(fields)
    requests = _build_requests(fields, model, request_id, settings)
    stream = fields.stream is True
    include_usage = read_include_usage(fields.stream_options, stream=stream)
    return OpenAICompletionCall(requests, model, stream, include_usage, fields.echo is True, unknown_options(raw))


def _build_requests(
    fields: OpenAICompletionRequest, model: str, request_id: str, settings: DialectSettings
) -> tuple[GenerationRequest, ...]:
    prompts = list(_read_prompts(fields))
    has_no_answer = fields.max_tokens == 0 and fields.max_completion_tokens is None
    request = build_request(
        msgspec.structs.replace(fields, max_tokens=fields.max_tokens or None),
        request_id=request_id,
        model=model,
        prompt=prompts[0],
        fallback=OPENAI_FALLBACK,
        top_logprobs=fields.logprobs,
        n=fields.n or 1,
        structure=read_structure(fields, read_response_format(fields.response_format), settings),
        tool_choice=ToolChoice(),
    )
    if has_no_answer:
        request = msgspec.structs.replace(request, max_tokens=0)
    elif request.max_tokens is None and not _has_limit(fields):
        request = msgspec.structs.replace(request, max_tokens=DEFAULT_MAX_TOKENS)
    others = [
        msgspec.structs.replace(request, id=f"{request_id}-{i}", prompt=prompt)
        for i, prompt in enumerate(prompts[1:], start=1)
    ]
    return (request, *others)


def _has_limit(fields: OpenAICompletionRequest) -> bool:
    option = None if fields.options is None else fields.options.num_predict
    return any(limit is not None for limit in (fields.max_tokens, fields.max_completion_tokens, option))


def _check_combinations(fields: OpenAICompletionRequest) -> None:
    if fields.best_of is not None and fields.best_of != (fields.n or 1):
        raise invalid("best_of", "'best_of' must equal 'n': this server returns all answers.", "unsupported_value")
    if _scores_prompt(fields) and fields.suffix:
        text = "'suffix' cannot be combined with 'echo' and 'logprobs': the tokens of the prompt include the suffix."
        raise invalid("suffix", text, "unsupported_value")


def _scores_prompt(fields: OpenAICompletionRequest) -> bool:
    return fields.echo is True and fields.logprobs is not None


def _read_prompts(fields: OpenAICompletionRequest) -> Iterator[CompletionPrompt]:
    prompt = fields.prompt
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        yield _read_prompt(prompt, "prompt", fields)
        return
    if len(prompt) > MAX_PROMPTS:
        raise invalid("prompt", f"Invalid value for 'prompt': it can have at most {MAX_PROMPTS} prompts.")
    for i, item in enumerate(prompt):
        yield _read_prompt(item, f"prompt[{i}]", fields)


def _read_prompt(prompt: object, param: str, fields: OpenAICompletionRequest) -> CompletionPrompt:
    special = fields.add_special_tokens is not False
    match prompt:
        case str():
            scored = _scores_prompt(fields)
            return CompletionPrompt(prompt, suffix=fields.suffix or "", special_tokens=special, logprobs=scored)
        case list():
            tokens = tuple(token for token in prompt if isinstance(token, int))
        case _:
            tokens = ()
    if not tokens or not isinstance(prompt, list) or len(tokens) < len(prompt):
        raise invalid(param, f"Invalid value for '{param}': it is neither a text nor a list of its tokens.")
    if fields.suffix:
        raise invalid("suffix", "'suffix' needs a prompt of text.", "unsupported_value")
    return CompletionPrompt(tokens=tokens, logprobs=_scores_prompt(fields))


def prompt_of(request: GenerationRequest) -> CompletionPrompt:
    """Return the prompt of a request of parse_openai_completion()."""
    assert isinstance(request.prompt, CompletionPrompt)
    return request.prompt
