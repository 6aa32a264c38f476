"""Interprets the request fields that all generating endpoints share, and Ollama's `options`."""

from __future__ import annotations

import msgspec

from pico_jupyter.dialects.durations import read_keep_alive
from pico_jupyter.dialects.reasoning_switch import read_reasoning, read_reasoning_limit
from pico_jupyter.dialects.request_bodies import JsonObject, known_names
from pico_jupyter.dialects.request_fields import FLOAT32_MAX, GenerationFields, OllamaOptions
from pico_jupyter.errors import InvalidRequest
from pico_jupyter.types import GenerationRequest, Prompt, SamplingParams, Structure, ToolChoice

OPENAI_FALLBACK = SamplingParams(
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    min_p=0.0,
    repetition_penalty=1.0,
    repetition_context_size=20,
    presence_penalty=0.0,
    presence_context_size=20,
    frequency_penalty=0.0,
    frequency_context_size=20,
)
OLLAMA_FALLBACK = SamplingParams(
    temperature=0.8,
    top_p=0.9,
    top_k=40,
    min_p=0.0,
    repetition_penalty=1.0,
    repetition_context_size=64,
    presence_penalty=0.0,
    presence_context_size=64,
    frequency_penalty=0.0,
    frequency_context_size=64,
)

# Stands for all tokens (repeat_last_n -1) if the request does not limit the context.
_WHOLE_CONTEXT = 2**31 - 1
# The fields of a request that are copied to SamplingParams without conversion.
_COPIED_FIELDS = tuple(name for name in SamplingParams.__struct_fields__ if name not in ("top_k", "logit_bias"))


class Options(msgspec.Struct, frozen=True):
    """Ollama's `options` in the engine's terms. None: not given. `max_tokens` -1: as many as the context holds."""

    sampling: SamplingParams = SamplingParams()
    max_tokens: int | None = None
    max_context: int | None = None
    stop: tuple[str, ...] | None = None
    draft_tokens: int | None = None


def build_request(
    fields: GenerationFields,
    *,
    request_id: str,
    model: str,
    prompt: Prompt,
    fallback: SamplingParams,
    top_logprobs: int | None,
    structure: Structure | None,
    tool_choice: ToolChoice,
    n: int = 1,
    think_requires_reasoning: bool = False,
    return_context: bool = False,
) -> GenerationRequest:
    """Build the request that generates `n` answers to `prompt`.

    `fallback` has the dialect's sampling defaults. `think_requires_reasoning`: a truthy `think` is an error if the
    model cannot reason. Raises InvalidRequest for values that fit the declared types but are invalid.
    """
    options, reasoning = read_options(fields.options), read_reasoning(fields)
    return GenerationRequest(
        id=request_id,
        model=model,
        prompt=prompt,
        sampling=read_sampling(fields, options),
        fallback_sampling=fallback,
        reasoning=reasoning.on,
        reasoning_required=reasoning.required and think_requires_reasoning,
        reasoning_effort=reasoning.effort,
        max_tokens=read_max_tokens(fields, options),
        max_context=options.max_context,
        stop=read_stop(fields, options),
        n=n,
        top_logprobs=top_logprobs,
        keep_alive=read_keep_alive(fields.keep_alive),
        return_context=return_context,
        draft_model=read_draft_model(fields),
        structure=structure,
        tool_choice=tool_choice,
        max_reasoning_tokens=read_reasoning_limit(fields),
        low_priority=(fields.priority or 0) > 0,
        draft_tokens=options.draft_tokens if fields.num_draft_tokens is None else fields.num_draft_tokens,
    )


def read_options(options: OllamaOptions | None) -> Options:
    """Convert Ollama's options to the engine's terms."""
    if options is None:
        return Options()
    num_ctx, num_predict, draft = map(_truncate, (options.num_ctx, options.num_predict, options.draft_num_predict))
    max_context = num_ctx if num_ctx is not None and num_ctx > 0 else None
    return Options(
        sampling=_options_sampling(options, max_context),
        max_tokens=num_predict if num_predict is None or num_predict > 0 else -1,
        max_context=max_context,
        stop=None if options.stop is None else _stop_texts(options.stop),
        draft_tokens=draft if draft is None else max(draft, 0),
    )


def unknown_options(raw: JsonObject) -> tuple[str, ...]:
    """Return the names in the decoded body's `options` that no version of Ollama defines. The server logs them."""
    return tuple(name for name in raw.get("options") or () if name not in known_names(OllamaOptions))


def read_sampling(fields: GenerationFields, options: Options) -> SamplingParams:
    """Return the sampling parameters. A top-level field has precedence over the option of the same meaning."""
    given = {name: getattr(fields, name) for name in _COPIED_FIELDS}
    given["top_k"] = None if fields.top_k is None else max(fields.top_k, 0)
    given["logit_bias"] = {int(token): bias for token, bias in (fields.logit_bias or {}).items()} or None
    chosen = {name: value for name, value in given.items() if value is not None}
    sampling: SamplingParams = msgspec.structs.replace(options.sampling, **chosen)
    if sampling.top_p == 0:
        # A top_p of 0 allows only the likeliest token, as a temperature of 0 does. Samplers disagree on a top_p of 0.
        return msgspec.structs.replace(sampling, temperature=0.0, top_p=1.0)
    return sampling


def read_max_tokens(fields: GenerationFields, options: Options) -> int | None:
    """Return the limit on text and reasoning tokens together. None: as many as the context holds."""
    for name in ("max_completion_tokens", "max_tokens"):
        if getattr(fields, name) == 0:
            raise InvalidRequest(f"Invalid value for '{name}': it must be at least 1.", param=name)
    given = (fields.max_completion_tokens, fields.max_tokens, options.max_tokens)
    limit = next((value for value in given if value is not None), -1)
    return None if limit == -1 else limit


def read_draft_model(fields: GenerationFields) -> str | None:
    """Return the draft model; None: the configured one. Clients of mlx_lm.server call it "default_model"."""
    return None if fields.draft_model in ("", "default_model") else fields.draft_model


def read_stop(fields: GenerationFields, options: Options) -> tuple[str, ...]:
    """Return the stop strings of `stop`, or else those of `options`."""
    return _stop_texts(fields.stop) if fields.stop is not None else (options.stop or ())


def _stop_texts(stop: list[str] | str) -> tuple[str, ...]:
    texts = [stop] if isinstance(stop, str) else stop
    return tuple(text for text in texts if text)


def _options_sampling(options: OllamaOptions, max_context: int | None) -> SamplingParams:
    """Convert the sampling options. Like Ollama, clamp numbers; a repeat_last_n of 0 turns all penalties off."""
    seed, top_k, last_n = map(_truncate, (options.seed, options.top_k, options.repeat_last_n))
    context_size = last_n or None
    if last_n is not None and last_n < 0:
        context_size = max_context or _WHOLE_CONTEXT
    return SamplingParams(
        temperature=_clamp(options.temperature, FLOAT32_MAX),
        top_p=_clamp(options.top_p, 1.0),
        min_p=_clamp(options.min_p, 1.0),
        top_k=None if top_k is None else max(top_k, 0),
        seed=None if seed == -1 else seed,
        repetition_context_size=context_size,
        presence_context_size=context_size,
        frequency_context_size=context_size,
        repetition_penalty=1.0 if last_n == 0 else _positive(options.repeat_penalty),
        presence_penalty=0.0 if last_n == 0 else options.presence_penalty,
        frequency_penalty=0.0 if last_n == 0 else options.frequency_penalty,
    )


def _truncate(value: float | None) -> int | None:
    return None if value is None else int(value)


def _clamp(value: float | None, maximum: float) -> float | None:
    return None if value is None else min(max(value, 0.0), maximum)


def _positive(value: float | None) -> float | None:
    # Logits are divided by the penalty, so 0 and less are meaningless. 1 turns it off.
    return value if value is None or value > 0 else 1.0
